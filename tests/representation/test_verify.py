"""Theorem 4.4 by independent checks: intervals return exactly 1, the solver agrees, planted faults are found."""

import pytest
import torch
from tests.representation.cases import case
from torch import nn

from cgro._check import BadRequest
from cgro.data import Dataset
from cgro.definitions import ThreatModel
from cgro.models import build
from cgro.representation import RobustMemorizer, interval_check, separation
from cgro.representation.verify import verify_balls


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("variant", ["box", "compact"])
def test_interval_propagation_is_exactly_one_on_every_ball(variant, n_classes):
    m, *_ = case("inf", variant, n=20, dim=9, n_classes=n_classes, seed=1)
    assert (interval_check(m) == 1).all()


def test_interval_propagation_is_exactly_one_on_every_ball_of_real_digits(digits: tuple[Dataset, nn.Module]):
    data, model = digits
    m = RobustMemorizer(model, data.train.x[:60], data.train.y[:60], ThreatModel("inf", 0.1), variant="box")
    assert (interval_check(m) == 1).all()


def test_milp_agrees_and_finds_planted_faults():
    pytest.importorskip("highspy")
    pytest.importorskip("onnxruntime")
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(10, 16, generator=g), torch.arange(10) % 2 * 2 - 1
    model = build("mlp", (16,), 1, width=4, seed=0).eval().requires_grad_(False)
    m = RobustMemorizer(model, x, y, ThreatModel("inf", 0.35 * separation(x, y, "inf").value))
    some, layers = torch.tensor([0, 3]), m.expand()
    good = verify_balls(m, some, layers=layers)
    assert good.agrees
    assert good.least == pytest.approx(1.0, abs=1e-7)
    assert good.n_binaries > 10, "the solver had something to decide"

    m.y = -m.y
    flipped = verify_balls(m, some, layers=layers)
    m.y = -m.y
    assert flipped.n_counterexamples == flipped.n_replayed == 2

    dropped = list(layers)
    bias = layers[1].bias.clone()
    bias[3 + _clean_width(m)] = -0.5  # the indicator of point 3 never answers
    dropped[1] = type(layers[1])(layers[1].weight, bias)
    wrong_there = int(y[3]) * float(model(x[3:4].float())) < 0
    found = verify_balls(m, torch.tensor([3]), layers=dropped)
    assert found.least < 1
    if wrong_there:
        assert found.n_replayed == 1

    large = verify_balls(m, some, threat=m.threat.at(0.75 * m.separation.value), layers=layers)
    assert large.n_counterexamples == large.n_replayed >= 1


def _clean_width(m: RobustMemorizer) -> int:
    """Rows of the clean branch before the indicators in the second layer."""
    return m.lowered_clean()[1].weight.shape[0]


def test_milp_on_l1_balls_gives_the_certified_one():
    pytest.importorskip("highspy")
    m, *_ = case("1", "lean", n=6, dim=5)
    assert verify_balls(m, torch.tensor([0, 1])).least == pytest.approx(1.0, abs=1e-6)
    shared, *_ = case("2", "shared", n=6, dim=5)
    with pytest.raises(BadRequest, match="p = 1 or inf"):
        verify_balls(shared, torch.tensor([0]))
