"""APGD, targeted APGD, Square and the ensemble against exact answers; every option; the reference adapter."""

import importlib.util
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests import oracles
from tests.cases import THREATS, LinearScore, busy_network, hidden_scores, images, linear_logits, points
from tests.definitions.test_attacks import IDS, leaves_everything_alone, prepared, same, state_of
from torch import Tensor

from cgro.definitions import (
    APGD,
    PGD,
    Attack,
    AutoAttack,
    Ensemble,
    Square,
    TargetedAPGD,
    ThreatModel,
    dlr,
    margin,
    robust_error,
    standard_ensemble,
    survey,
    targeted_dlr,
)


def linear_truth(model: LinearScore, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    gradients = (-y[:, None] * model.w).detach().double().numpy()
    worst = [
        oracles.linear_worst_case(g, row, threat.p, threat.radius, threat.box)
        for g, row in zip(gradients, x.double().numpy(), strict=True)
    ]
    return (y * model(x)).detach().double() - torch.tensor(worst, dtype=torch.float64)


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_apgd_reaches_the_closed_form_on_linear_scores(threat: ThreatModel) -> None:
    model, (x, y) = LinearScore(), points(25)
    truth = linear_truth(model, x, y, threat)
    for attack in (APGD(threat), APGD(threat, loss="dlr"), TargetedAPGD(threat)):
        reached = margin(model(attack(model, x, y)), y).detach()
        torch.testing.assert_close(reached.double(), truth, atol=2e-5, rtol=0)


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_square_comes_close_on_linear_scores_and_never_beyond(threat: ThreatModel) -> None:
    """Without gradients it cannot be exact; it must find nine tenths of what there is, and never more."""
    model, (x, y) = LinearScore(), points(25)
    truth, clean = linear_truth(model, x, y, threat), (y * model(x)).detach().double()
    reached = margin(model(Square(threat, n_queries=600)(model, x, y)), y).detach().double()
    assert bool((reached >= truth - 2e-5).all())
    share = (clean - reached) / (clean - truth)
    assert float(share.mean()) > 0.9


@pytest.mark.parametrize(("p", "radius"), [(math.inf, 0.12), (2, 0.25), (1, 0.4)])
def test_attacks_find_what_there_is_in_a_hidden_layer_and_nothing_else(p: float, radius: float) -> None:
    """Truth by enumerating activation patterns; half of the examples can be broken and half cannot."""
    model, threat = hidden_scores(), ThreatModel(p, radius)
    x = points(16)[0]
    y = torch.where(model(x) > 0, 1, -1)
    worst = [oracles.hidden_layer_worst_case(model, u, int(v), p, radius, (0.0, 1.0)) for u, v in zip(x, y)]
    breakable = np.array(worst) < -1e-6
    assert 3 <= breakable.sum() <= 13
    strong = Ensemble(threat, (APGD(threat, n_steps=50, n_restarts=5), Square(threat, n_queries=300)))
    wrong = survey(model, x, y, strong).wrong.numpy()
    assert not (wrong & ~(np.array(worst) <= 1e-6)).any()
    assert wrong.sum() >= breakable.sum() - 1


def test_the_oracle_is_no_higher_than_any_point_and_equals_the_linear_one() -> None:
    """Of the oracle itself: no random point of the ball is below it; without hidden kinks it is the closed form."""
    model = hidden_scores()
    x = points(6)[0]
    for p, radius in ((math.inf, 0.12), (2.0, 0.25), (1.0, 0.4)):
        threat = ThreatModel(p, radius)
        for u in x:
            worst = oracles.hidden_layer_worst_case(model, u, 1, p, radius, (0.0, 1.0))
            many = threat.sample(u.expand(2000, -1), torch.Generator().manual_seed(0))
            assert worst <= float(model(many).detach().min()) + 1e-6
    with torch.no_grad():
        model.b.fill_(100.0)
    w = (model.a @ model.w).detach()
    for p, radius in ((math.inf, 0.12), (2.0, 0.25), (1.0, 0.4)):
        worst = oracles.hidden_layer_worst_case(model, x[0], 1, p, radius, (0.0, 1.0))
        linear = oracles.linear_worst_case(-w.double().numpy(), x[0].double().numpy(), p, radius, (0.0, 1.0))
        assert worst == pytest.approx(float(model(x[:1]).detach()) - linear, abs=1e-4)


def test_apgd_beats_pgd_with_a_bad_step_where_ascent_needs_adapting() -> None:
    """A narrow valley: steps of fixed length jump over it, halved ones do not."""

    def model(v: Tensor) -> Tensor:
        return (100 * (v[:, 0] - 0.512)).abs() + (v[:, 1] - 0.47).abs() - 0.05

    x, y = torch.full((4, 2), 0.5), torch.ones(4, dtype=torch.long)
    threat = ThreatModel("inf", 0.1)
    assert robust_error(model, x, y, PGD(threat, n_steps=100, step_size=0.1, random_start=False)).wrong == 0
    assert robust_error(model, x, y, APGD(threat)).wrong == 4


@pytest.mark.parametrize("n_classes", [2, 3])
def test_two_and_three_classes_equal_the_truth(n_classes: int) -> None:
    """Linear logits under l_inf: wrong iff some rival's margin is at most radius * l_1 distance of the weights."""
    model, x = linear_logits(6, n_classes).eval(), points(120)[0]
    y, threat = model(x).argmax(1), ThreatModel("inf", 0.15, None)
    w = model[1].weight.detach()
    gaps = model(x).gather(1, y[:, None]) - model(x) - 0.15 * (w[y][:, None] - w[None]).abs().sum(2)
    truth = (gaps.scatter(1, y[:, None], torch.inf) <= 0).any(1)
    assert 10 < int(truth.sum()) < 110
    for attack in (TargetedAPGD(threat), standard_ensemble(threat)):
        assert torch.equal(survey(model, x, y, attack).wrong, truth), attack
    untargeted = survey(model, x, y, APGD(threat, loss="dlr")).wrong
    assert not bool((untargeted & ~truth).any())
    assert bool(untargeted.any())


def test_dlr_ignores_shift_and_scale_and_moves_for_every_number_of_classes() -> None:
    g = torch.Generator().manual_seed(0)
    for n_classes in (2, 3, 4, 10):
        z = torch.randn(50, n_classes, generator=g)
        y = z.argmax(1)
        targets = (y + 1) % n_classes
        for loss in (dlr, lambda o, y, t=targets: targeted_dlr(o, y, t)):
            v = z.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(v, y).sum(), v)
            assert bool((gradient.abs().sum(1) > 0).all()), n_classes
            if n_classes > 2:
                torch.testing.assert_close(loss(7 * z + 3, y), loss(z, y), atol=1e-5, rtol=1e-5)


def test_dlr_finds_what_a_confident_model_hides_from_cross_entropy() -> None:
    """Logits times 1e5: the gradient of cross-entropy is zero in float32, so its search never moves."""
    model, x = linear_logits(6, 3).eval(), points(60)[0]
    loud, y, threat = (lambda v: 1e5 * model(v)), model(x).argmax(1), ThreatModel("inf", 0.1, None)
    quiet = [robust_error(model, x, y, APGD(threat, loss="dlr")).wrong, robust_error(model, x, y, APGD(threat)).wrong]
    assert robust_error(loud, x, y, APGD(threat, loss="dlr")).wrong == quiet[0] == quiet[1]
    assert robust_error(loud, x, y, APGD(threat)).wrong < quiet[1]


def test_square_needs_no_gradient() -> None:
    """A model without any: gradient attacks refuse it, queries break it."""
    model, x = linear_logits(64, 3).eval(), images(30)[0]
    masked, y = (lambda v: model((v * 64).round() / 64).detach()), model((images(30)[0] * 64).round() / 64).argmax(1)
    with pytest.raises(ValueError, match="differentiable"):
        robust_error(masked, x, y, APGD(ThreatModel("inf", 0.1)))
    assert robust_error(masked, x, y, Square(ThreatModel("inf", 0.1), n_queries=300)).wrong > 15


def landscape() -> tuple[object, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    first, last = 3 * torch.randn(64, 64, generator=g), torch.randn(64, 5, generator=g)
    model = lambda v: torch.sin(v.flatten(1) @ first) @ last  # noqa: E731
    x = images(30)[0]
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize(
    ("attack", "change"),
    [(APGD, {"n_steps": 5}), (APGD, {"loss": "dlr"}), (APGD, {"loss": "margin"}),
     (APGD, {"precision": "bfloat16"}), (TargetedAPGD, {"n_targets": 1}), (Square, {"n_queries": 30}),
     (Square, {"first_share": 0.1}), (Square, {"precision": "bfloat16"})],
)  # fmt: skip
def test_every_option_has_an_effect(attack: type[Attack], change: dict) -> None:
    model, x, y = landscape()
    size = {"n_queries": 20} if attack is Square else {"n_steps": 3}
    before = attack(ThreatModel("inf", 0.002), **size)
    assert not torch.equal(before(model, x, y), replace(before, **change)(model, x, y))


@pytest.mark.parametrize(
    "attack", [PGD(ThreatModel("inf", 0.05), n_steps=3), APGD(ThreatModel("inf", 0.05), n_steps=3)]
)
def test_restarts_find_lower_points_of_a_rugged_score_that_never_breaks(attack: Attack) -> None:
    rugged, x, _ = landscape()
    y = torch.ones(len(x), dtype=torch.long)
    model = lambda v: 100 + rugged(v)[:, 0]  # noqa: E731
    once, often = (model(replace(attack, n_restarts=r)(model, x, y)) for r in (1, 4))
    assert bool((often <= once).all())
    assert int((often < once).sum()) > 10


def test_names_print_the_same_in_every_process() -> None:
    """repr goes into summaries: no addresses."""
    assert " at 0x" not in repr(standard_ensemble(THREATS[0]))


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda t: APGD(t, n_steps=0), "n_steps"), (lambda t: APGD(t, n_restarts=0), "n_restarts"),
     (lambda t: APGD(t, loss="ce2"), "one of default, dlr, margin"), (lambda t: TargetedAPGD(t, loss="dlr"), "own loss"),
     (lambda t: TargetedAPGD(t, n_targets=0), "n_targets"), (lambda t: Square(t, n_queries=0), "n_queries"),
     (lambda t: Square(t, first_share=0.0), "share"), (lambda t: Ensemble(t, ()), "one or more"),
     (lambda t: Ensemble(t, (APGD(t), APGD(t))), "different names"),
     (lambda t: Ensemble(t, (APGD(t.at(0.05)),)), "all on"), (lambda t: AutoAttack(t, version="plus"), "standard"),
     (lambda t: AutoAttack(ThreatModel("inf", 0.1, None)), "ensemble")],
)  # fmt: skip
def test_bad_settings(make, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        make(ThreatModel("inf", 0.1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("attack", [APGD(THREATS[0], n_steps=3), TargetedAPGD(THREATS[0], n_steps=3),
                                    Square(THREATS[0], n_queries=3), AutoAttack(THREATS[0])], ids=lambda a: a.name)  # fmt: skip
def test_bad_models_are_refused_in_one_line(attack: Attack) -> None:
    x, y = images()
    cases = [(lambda v: v.flatten(1)[:, :1], y, "C >= 2"), (lambda v: v.flatten(1)[:, :3] * torch.nan, y, "NaN")]
    if isinstance(attack, APGD):
        cases.append((lambda v: v.flatten(1)[:, :3] + (v.flatten(1)[:, :3] * 0).sqrt(), y, "gradient"))
    if isinstance(attack, AutoAttack):
        cases.append((lambda v: v.flatten(1)[:, :3], y, "four or more classes.*ensemble"))
    for model, labels, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            attack(model, x, labels)
        assert "\n" not in str(caught.value)


def test_more_targets_than_classes_a_constant_model_and_radius_zero() -> None:
    x, y = images()
    with pytest.raises(ValueError, match="n_targets: expected at most the 2 wrong classes, got 3"):
        TargetedAPGD(THREATS[0], n_targets=3)(busy_network().eval(), x, y)
    constant = lambda v: v.flatten(1)[:, :3] * 0 + torch.tensor([1.0, 0.0, 0.0])  # noqa: E731
    for attack in (APGD(THREATS[0], n_steps=5), TargetedAPGD(THREATS[0], n_steps=5), Square(THREATS[0], n_queries=5)):
        assert robust_error(constant, x, y, attack).wrong == int((y != 0).sum())
        assert torch.equal(attack.at(0.0)(busy_network().eval(), x, y), x)


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
