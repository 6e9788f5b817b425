"""The upper bounds against the search, against linear models, and against a bound that forgets slopes."""

import math

import pytest
import torch
from tests.cases import busy_network, images
from torch import nn

from cgro._check import BadRequest
from cgro.bounds import Interval, product
from cgro.definitions import ThreatModel
from cgro.flatness import flatness, upper, upper_bound
from cgro.models import build

RADII = (0.02, 0.05, 0.1, 0.2)


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_curves_never_fall_and_the_search_stays_below_the_upper_bound(p: float) -> None:
    model = build("mlp", (1, 3, 3), 3, width=8, seed=1).eval()
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(20, 1, 3, 3, generator=g), torch.randint(0, 3, (20,), generator=g)
    found = flatness(model, x, y, RADII, p=p)
    for values in (found.gradient, found.rise):
        assert bool((values.diff(dim=1) >= 0).all())
    assert bool((found.gradient >= found.slope[:, None]).all())
    for k, radius in enumerate(RADII):
        bound = upper_bound(model, x, y, ThreatModel(p, radius))
        assert bool((found.gradient[:, k] <= bound.gradient * (1 + 1e-5)).all())
        assert bool((found.rise[:, k] <= bound.rise + 1e-5).all())
    tiny = upper_bound(model, x, y, ThreatModel(p, 1e-7))
    torch.testing.assert_close(tiny.gradient, found.slope, rtol=0.05, atol=1e-4)


def test_an_upper_bound_that_forgets_half_of_its_slopes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: slopes read as 0 where they may be 1 make the 'bound' fall below what was found."""
    model = build("mlp", (1, 3, 3), 3, width=8, seed=1).eval()
    x, y = torch.rand(20, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(20, dtype=torch.long)
    found = flatness(model, x, y, [0.2])

    def forgetful(gradient: Interval, slope: Interval) -> Interval:
        return product(gradient, Interval(slope.low, slope.low))

    monkeypatch.setattr(upper, "product", forgetful)
    assert bool((found.gradient[:, 0] > upper_bound(model, x, y, ThreatModel("inf", 0.2)).gradient).any())


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_of_a_linear_network_the_bound_is_the_value(p: float) -> None:
    """Softmax of two classes is a logistic score: the gradient's norm grows as the margin falls, both in closed form."""
    g = torch.Generator().manual_seed(0)
    w = torch.randn(2, 5, generator=g)
    net = nn.Sequential(nn.Linear(5, 2, bias=False)).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.copy_(w)
    x, y = torch.rand(20, 5, generator=g), torch.arange(20) % 2
    threat = ThreatModel(p, 0.1, None)
    bound = upper_bound(net, x, y, threat)
    rows = w[y] - w[1 - y]
    norm = threat.dual_norm(rows)
    worst = (rows * x).sum(1) - 0.1 * norm if p == math.inf else (rows * x).sum(1) - 0.1 * rows.abs().sum(1)
    truth = norm * torch.sigmoid(-worst)
    torch.testing.assert_close(bound.gradient, truth.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
@pytest.mark.parametrize("margin", [0.0, 10.0, 30.0, 45.0, 200.0])
def test_of_a_confident_network_the_bound_keeps_its_digits(n_outputs: int, margin: float) -> None:
    """1 - P_y of a margin of 30 is 1e-13: as a difference from 1 it has no digits, and above 37 it is 0."""
    features = nn.Linear(1, n_outputs, bias=False).requires_grad_(False)
    features.weight.copy_(torch.tensor([[margin], [0.0], [0.0]])[:n_outputs])
    net = nn.Sequential(features, nn.Flatten(0)) if n_outputs == 1 else nn.Sequential(features)
    y = torch.tensor([1]) if n_outputs == 1 else torch.tensor([0])
    bound = upper_bound(net.eval(), torch.ones(1, 1), y, ThreatModel("inf", 1e-12, None))
    rivals = max(1, n_outputs - 1) * math.exp(-margin)
    assert float(bound.gradient) >= margin * rivals / (1 + rivals)
    assert math.isclose(float(bound.gradient), margin * rivals / (1 + rivals), rel_tol=1e-8)


def test_convolutions_are_bounded_and_other_layers_refused_by_name() -> None:
    x, y = images()
    net = busy_network().eval()
    found = flatness(net, x, y, [0.05])
    assert bool((found.gradient[:, 0] <= upper_bound(net, x, y, ThreatModel("inf", 0.05)).gradient * (1 + 1e-5)).all())
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)).eval()
    with pytest.raises(BadRequest, match="MaxPool2d"):
        upper_bound(pooled, x, y, ThreatModel("inf", 0.05))
