"""The ensemble against exact answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests import oracles
from tests.cases import THREATS, hidden_scores, linear_logits, points, refused
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import (
    APGD,
    PGD,
    Ensemble,
    Square,
    TargetedAPGD,
    ThreatModel,
    standard_ensemble,
    survey,
)
from cgro.definitions.attacks import precision


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


@pytest.mark.parametrize(("attacks", "words"), [
    (PGD(THREATS[0], n_steps=2), ("attacks in a tuple", "write (attack,)")),
    ("pgd10", ("attacks in a tuple", "'pgd10'")),
    (("pgd10",), ("got 'pgd10'", 'attack_by_name("pgd10", threat)')),
    ((PGD(THREATS[0], n_steps=2), lambda model, x, y: x), ("FunctionAttack(threat, function)",)),
    ((PGD,), ("the class PGD",)),
    ((), ("one or more of different names",)),
])  # fmt: skip
def test_what_is_no_ensemble_is_refused(attacks: object, words: tuple[str, ...]) -> None:
    refused(lambda: Ensemble(THREATS[0], attacks), *words)  # type: ignore[arg-type]


def test_names_print_the_same_in_every_process() -> None:
    """repr goes into summaries: no addresses."""
    assert " at 0x" not in repr(standard_ensemble(THREATS[0]))


class Adds(nn.Module):
    """As networks of experts do: under autocast it adds bfloat16 to float32, which torch refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.arange(len(x))
        return x.new_zeros(len(x), 3).index_add(0, rows, self.weigh(x.flatten(1)))


def test_a_network_that_does_not_run_in_bfloat16_is_attacked_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part alone was; the ensemble failed with torch's own error."""
    monkeypatch.setattr(precision, "bfloat16_pays", lambda device: True)
    monkeypatch.setattr(precision, "MIN_PARAMETERS", 0)
    model, x, y = Adds().eval(), torch.rand(4, 3, 2, 2), torch.arange(4) % 3
    threat = ThreatModel("inf", 0.1)
    parts = (APGD(threat, n_steps=2), Square(threat, n_queries=2))
    plain = tuple(replace(part, precision="float32") for part in parts)
    assert torch.equal(Ensemble(threat, parts)(model, x, y), Ensemble(threat, plain)(model, x, y))
    nested = Ensemble(threat, (Ensemble(threat, parts),))
    assert nested.lowest_precision == "auto"
    with pytest.raises(BadRequest, match="float32 or auto for a network that torch cannot run in bfloat16"):
        Ensemble(threat, (replace(parts[0], precision="bfloat16"),))(model, x, y)
