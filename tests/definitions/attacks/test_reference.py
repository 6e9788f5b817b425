"""The adapter to the published AutoAttack."""

import importlib.util
import sys

import pytest
import torch
from tests.cases import images, linear_logits
from tests.definitions.attack_cases import leaves_everything_alone, prepared, same, state_of
from torch import Tensor

from cgro.definitions import (
    APGD,
    AutoAttack,
    Square,
    TargetedAPGD,
    ThreatModel,
    standard_ensemble,
    survey,
)


@pytest.mark.skipif(importlib.util.find_spec("pyautoattack") is None, reason="needs the extra `autoattack`")
class TestAutoAttack:
    """The adapter to the published package."""

    def setup_class(self) -> None:
        self.model, self.threat = linear_logits(64, 5).eval(), ThreatModel("inf", 0.02)
        self.x = images(12)[0]
        self.y = self.model(self.x).argmax(1)

    def test_agrees_with_the_truth_and_with_ours(self) -> None:
        w = self.model[1].weight.detach()
        near = ThreatModel("inf", 0.02, (0.0, 1.0))
        wrong = survey(self.model, self.x, self.y, AutoAttack(near, version="apgd-ce")).wrong
        ours = survey(self.model, self.x, self.y, standard_ensemble(near)).wrong
        free = self.model(self.x).gather(1, self.y[:, None]) - self.model(self.x)
        bound = (free - 0.02 * (w[self.y][:, None] - w[None]).abs().sum(2)).scatter(1, self.y[:, None], torch.inf)
        assert not bool((ours & (bound > 0).all(1)).any())
        assert bool((ours | ~wrong).all())

    @pytest.mark.parametrize("attack", [AutoAttack, APGD, TargetedAPGD, Square, standard_ensemble])
    def test_an_interruption_leaves_everything_alone_too(self, attack) -> None:
        class Interrupted(torch.nn.Sequential):
            calls = 0

            def forward(self, x: Tensor) -> Tensor:
                self.calls += 1
                if self.calls == 4:
                    raise KeyboardInterrupt
                return super().forward(x)

        model = prepared(Interrupted(*linear_logits(64, 5)), train=True)
        before, trace = state_of(model), sys.gettrace()
        with pytest.raises(KeyboardInterrupt):
            attack(self.threat)(model, self.x, self.y)
        assert same(before, state_of(model))
        assert sys.gettrace() is trace

    def test_leaves_the_process_as_it_was(self) -> None:
        trace = lambda *_: None  # noqa: E731
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            model = prepared(linear_logits(64, 5), train=True)
            assert leaves_everything_alone(
                model, lambda: AutoAttack(self.threat, version="apgd-ce")(model, self.x, self.y)
            )
            kept = sys.gettrace() is trace
        finally:
            sys.settrace(before)
        assert kept

    @pytest.mark.parametrize("version", ["apgd-t", "fab-t"])
    @pytest.mark.parametrize(("p", "radius", "n_classes"), [("inf", 0.02, 4), (2, 0.2, 7), (1, 0.6, 9)])
    def test_fewer_than_ten_classes_have_fewer_targets(
        self, version: str, p: float | str, radius: float, n_classes: int
    ) -> None:
        """What it finds is possible: the exact margin of a linear network at that radius, without the box, is lower."""
        model = linear_logits(64, n_classes).eval()
        threat = ThreatModel(p, radius)
        x = images(8)[0]
        y = model(x).argmax(1)
        wrong = survey(model, x, y, AutoAttack(threat, version=version)).wrong
        w = model[1].weight.detach()
        differences = w[y][:, None] - w[None]
        falls = radius * threat.dual_norm(differences.flatten(0, 1)).view(8, n_classes)
        logits = model(x).detach()
        lowest = logits.gather(1, y[:, None]) - logits - falls
        breakable = (lowest.scatter(1, y[:, None], torch.inf) <= 0).any(1)
        assert not bool((wrong & ~breakable).any())
        assert bool(wrong.any()) or not bool(breakable.any())
