"""Theorem 4.4 by independent checks: intervals return exactly 1, the solver agrees, planted faults are found.

The faults leave y F positive: a check that asks for the sign alone agrees with every one of them.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.representation.cases import VARIANTS, case
from torch import nn

from cgro._check import BadRequest
from cgro.bounds import Layer, evaluate
from cgro.data import Dataset
from cgro.definitions import ThreatModel, margin
from cgro.models import build
from cgro.representation import RobustMemorizer, certify, interval_check, separation
from cgro.representation.verify import margins_by_milp, sphere_check, verify_balls


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


FAULTS: dict[str, Callable[[RobustMemorizer], list[Layer]]] = {
    "indicator dropped": lambda m: _shifted(m, _closing(m), -100.0),
    "indicator too narrow": lambda m: _shifted(m, _closing(m), -0.2),
    "memory scaled": lambda m: _scaled(m, 0.9, rows=slice(-2, None)),
    "memory against the label": lambda m: _scaled(m, -1.0, rows=slice(-2, None)),
}


def _closing(m: RobustMemorizer) -> tuple[int, int]:
    """Layer and row of 1 - z / gap of point 0."""
    number = 2 if m.variant == "lean" else m.supports.depth + 2 if m.variant == "shared" else 1
    return number, m.expand()[number].n_out - m.n_memorized


def _shifted(m: RobustMemorizer, place: tuple[int, int], by: float) -> list[Layer]:
    layers = list(m.expand())
    number, row = place
    bias = layers[number].bias.clone()
    bias[row] += by
    layers[number] = Layer(layers[number].weight, bias)
    return layers


def _scaled(m: RobustMemorizer, by: float, rows: slice) -> list[Layer]:
    """The sums of the indicators of both labels multiplied: the rows before the overriding layers."""
    layers = list(m.expand())
    number = _closing(m)[0] + 1
    weight = layers[number].weight.to_dense()
    weight[rows] *= by
    layers[number] = Layer(weight.to_sparse().coalesce(), layers[number].bias)
    return layers


def _wrong_everywhere(p: str, variant: str) -> RobustMemorizer:
    """Six points; the clean model gives a positive score below 1 everywhere, hence the wrong sign on half."""
    m, x, y, _ = case(p, variant, n=6, dim=5)
    clean = nn.Sequential(nn.Linear(5, 1), nn.Flatten(0)).double().eval().requires_grad_(False)
    for parameter, value in zip(clean.parameters(), (0.0, 0.4), strict=True):
        parameter.fill_(value)
    return RobustMemorizer(clean, x, y, m.threat, variant=variant)


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize(("p", "variant"), [("inf", "box"), ("inf", "compact"), ("1", "lean")])
def test_the_solver_contradicts_the_certificate_where_the_layers_do_not_keep_its_margin(p, variant, fault):
    pytest.importorskip("highspy")
    pytest.importorskip("onnxruntime")
    m = _wrong_everywhere(p, variant)
    every = torch.arange(len(m.y))
    good = verify_balls(m, every)
    assert good.agrees
    assert (good.n_below, good.claimed) == (0, 1.0)
    found = verify_balls(m, every, layers=FAULTS[fault](m))
    assert not found.agrees, found.least
    assert found.n_below
    if fault in ("indicator too narrow", "memory scaled"):
        assert found.n_counterexamples == 0
        assert 0 < found.least < 0.95, "the sign alone agrees with this fault"


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_points_on_spheres_find_the_same_faults_in_every_norm(p, variant, fault):
    m = _wrong_everywhere(p, variant)
    every = torch.arange(len(m.y))
    good = sphere_check(m, every)
    assert good.agrees
    assert good.least == pytest.approx(1.0, abs=1e-9)
    assert good.n_points == 64 * len(every)
    found = sphere_check(m, every, layers=FAULTS[fault](m))
    assert not found.agrees
    assert found.found < found.claimed == 1.0


def test_a_margin_below_one_is_held_against_what_is_claimed():
    pytest.importorskip("highspy")
    m, x, y, _ = case("inf", "box", n=6, dim=5)
    wide = RobustMemorizer(m.clean_model, x, y, m.threat, variant="box", ramp=1.2 * m.threat.radius)
    certificate = certify(wide)
    assert 0 < certificate.min_margin < 1
    every = torch.arange(len(y))
    assert verify_balls(wide, every).agrees
    assert sphere_check(wide, every).agrees
    overstated = replace(certificate, margin=certificate.margin + 0.5)
    assert not verify_balls(wide, every, certificate=overstated).agrees


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


@pytest.mark.parametrize("part", [1.0, 1.6])
def test_of_several_classes_the_least_margin_is_that_of_a_grid(part: float) -> None:
    """Against every other class, above and below the label in number; beyond the core the margin falls."""
    pytest.importorskip("highspy")
    m, _, y, _ = case("inf", "compact", n=6, dim=2, n_classes=3)
    threat = m.threat.at(part * m.threat.radius)
    layers = m.expand()
    side = torch.linspace(-threat.radius, threat.radius, 301, dtype=torch.float64)
    offsets = torch.cartesian_prod(side, side)
    for position in (0, 1, 2):
        found = margins_by_milp(m, layers, position, threat)
        center = m.points(torch.tensor([position]))[0]
        grid = (center + offsets).clamp(0, 1)
        label = y[position].expand(len(grid))
        lowest = float(margin(evaluate(layers, grid), label).min()) / 2
        if lowest > -0.1:
            assert found.value == pytest.approx(lowest, abs=0.05)
            assert found.value <= lowest + 1e-6
        else:  # any counterexample will do
            assert found.value <= -0.1 + 1e-6
        if part == 1:
            assert found.value == pytest.approx(1.0, abs=1e-6)
        at = margin(evaluate(layers, found.x[None]), y[position, None])
        assert float(at) / 2 == pytest.approx(found.value, abs=1e-5)
