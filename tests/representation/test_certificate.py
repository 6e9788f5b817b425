"""Theorem 4.4, robust training error 0: certificates against attacks and rational arithmetic, and planted faults."""

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from tests.representation.cases import VARIANTS, case, pixel_case
from torch import nn

from cgro._check import BadRequest
from cgro.bounds import Layer, evaluate
from cgro.data import Dataset
from cgro.definitions import PGD, ThreatModel, margin
from cgro.models import build
from cgro.representation import RobustMemorizer, certified_robust, certify, separation, small_margin_points


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_no_attack_goes_below_the_certified_margin(p, variant, n_classes):
    m, x, y, _ = case(p, variant, n_classes=n_classes, seed=7)
    certificate = certify(m)
    assert certificate.holds
    assert certificate.min_margin == 1.0
    x_adv = PGD(m.threat, n_steps=40, n_restarts=3)(m, x, y)
    found = margin(m(x_adv), y) / (1 if n_classes == 1 else 2)
    assert (found >= certificate.margin - 1e-9).all()


@pytest.mark.parametrize("p", ["inf", "1", "2"])
def test_rationals_agree_with_floats_and_hold_close_to_half_the_separation(p):
    m = pixel_case(p)
    exact, rough = certify(m, exact=True), certify(m)
    assert exact.holds
    assert "exact rational" in exact.method
    assert exact.min_margin == rough.min_margin == 1.0
    assert m.pixels is not None
    edge = RobustMemorizer(m.clean_model, m.pixels, m.y, m.threat.at(0.4999 * m.separation.value))
    assert certify(edge, exact=True).holds


@pytest.mark.parametrize("p", ["inf", "1", "2"])
def test_wide_ramps_are_certified_by_what_overlaps(p):
    """A': with a ramp too wide for A the margin falls, and an attack towards the other class confirms the direction."""
    m = pixel_case(p, n=12, dim=6)
    assert m.pixels is not None
    ramp = 1.3 * float(m.supports.ramp.max()) + m.threat.radius
    wide = RobustMemorizer(m.clean_model, m.pixels, m.y, m.threat, ramp=ramp)
    exact, rough = certify(wide, exact=True), certify(wide)
    assert "A'" in exact.method
    assert exact.min_margin < 1
    assert torch.allclose(exact.margin, rough.margin, atol=1e-6)
    assert (rough.margin <= exact.margin + 1e-12).all()
    x = wide.points(torch.arange(12)).float()
    found = margin(wide(PGD(wide.threat, n_steps=60, n_restarts=5)(wide, x, wide.y)), wide.y)
    assert (found.double() >= exact.margin - 1e-5).all()


def test_planted_faults_are_found_by_the_certificate():
    m = pixel_case("inf")
    assert not certify(m, threat=m.threat.at(1.2 * m.supports.inner)).holds, "radius too large"
    m.y[4] *= -1
    m.classes[4] = 1 - m.classes[4]
    assert certify(m).holds, "still right about the label it was given"
    m.y[4] *= -1
    m.classes = (m.y + 1) // 2
    m.supports.memorized = m.supports.memorized.clone()
    m.supports.memorized[4] = 5
    fault = certify(m)
    assert not fault.holds or fault.margin[4] < 1, "an indicator was dropped"


def test_small_margin_points_alone_suffice(digits: tuple[Dataset, nn.Module]):
    data, model = digits
    x, y, threat = data.train.x, data.train.y, ThreatModel("inf", 0.02)
    whole = RobustMemorizer(model, x, y, threat)
    mask = small_margin_points(whole)
    assert 0 < int(mask.sum()) < len(y)
    few = RobustMemorizer(model, x, y, threat, memorize=mask)
    certificate = certify(few)
    assert certificate.holds
    assert certificate.method.startswith("A+B")
    assert few.parameters_of(measure=False).generic < whole.parameters_of(measure=False).generic
    x_adv = PGD(threat, n_steps=20)(few, x, y)
    assert (margin(few(x_adv), y).double() >= certificate.margin - 1e-6).all()
    dropped = RobustMemorizer(model, x, y, threat, memorize=torch.nonzero(mask).squeeze(1)[1:])
    assert not certify(dropped).holds, "one that was needed is missing"


def test_certify_refuses_what_it_cannot_answer():
    m, *_ = case("inf", "box")
    with pytest.raises(BadRequest, match="pixels"):
        certify(m, exact=True)
    with pytest.raises(BadRequest, match="p = inf"):
        certify(m, threat=ThreatModel(2, 0.1))
    assert math.isinf(m.threat.p)


@pytest.mark.parametrize(("score", "proved"), [(1e-9, False), (1e-6, True)])
def test_a_clean_margin_within_the_rounding_of_a_touching_support_proves_nothing(score, proved):
    """The ball ends where the support of the point 0.2, of the other class, does."""
    clean = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)).double().eval().requires_grad_(False)
    for parameter, value in zip(clean.parameters(), (0.0, score), strict=True):
        parameter.fill_(value)
    x = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    m = RobustMemorizer(clean, x, torch.tensor([-1, 1]), ThreatModel("inf", 0.05), ramp=0.05)
    end = 0.2 + float(m.supports.reach[0])
    touching = torch.tensor([[end + 0.05]], dtype=torch.float64)
    assert bool(certified_robust(m, touching, torch.tensor([1]))) == proved
    assert bool(certified_robust(m, touching + 0.01, torch.tensor([1])))


def _exactly(layers: Sequence[Layer], x: list[Fraction]) -> Fraction:
    """The written-out network with its stored weights, in rational arithmetic: no rounding but that of the weights."""
    z = x
    for number, layer in enumerate(layers):
        if number:
            z = [max(value, Fraction(0)) for value in z]
        sums = [Fraction(float(b)) for b in layer.bias]
        rows, cols = layer.weight.indices().tolist()
        for row, col, weight in zip(rows, cols, layer.weight.values().tolist(), strict=True):
            sums[row] += Fraction(weight) * z[col]
        z = sums
    (score,) = z
    return score


def _rim(p: str) -> list[tuple[Fraction, ...]]:
    """Rational vectors of p-norm 1 in three dimensions: corners and faces, vertices, points of the sphere."""
    one, none, half = Fraction(1), Fraction(0), Fraction(1, 2)
    axes = [(s, none, none) for s in (one, -one)] + [(none, s, none) for s in (one, -one)] + [(none, none, one)]
    signs = [(a, b, c) for a in (one, -one) for b in (one, -one) for c in (one, -one)]
    if p == "inf":
        return signs + axes + [(one, half, -one)]
    if p == "1":
        return axes + [(a / 3, b / 3, c / 3) for a, b, c in signs] + [(half, -half, none)]
    thirds = [(a / 3, b * Fraction(2, 3), c * Fraction(2, 3)) for a, b, c in signs]
    return axes + thirds + [(Fraction(3, 5), none, Fraction(-4, 5)), (none, Fraction(5, 13), Fraction(12, 13))]


@pytest.mark.parametrize("box", [(0.0, 1.0), None])
@pytest.mark.parametrize("part", [0.05, 0.3, 0.4999])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_written_out_weights_keep_the_margin_in_rational_arithmetic(p, variant, part, box):
    """At the rational centers k / 255 and at radius times each vector of `_rim`, cut at the box."""
    g = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (6, 3), generator=g).to(torch.uint8)
    pixels[0] = torch.tensor([0, 255, 1])  # a corner of the box and a point beside a face
    y = torch.arange(6) % 2 * 2 - 1
    model = build("mlp", (3,), 1, width=4, seed=0).double().eval().requires_grad_(False)
    radius = part * separation(pixels, y, p).value
    m = RobustMemorizer(model, pixels, y, ThreatModel(p, radius, box), variant=variant)
    assert certify(m, exact=True).min_margin > 1 - 1e-10  # square roots are rounded down at p = 2
    layers = m.expand()
    for i in range(6):
        center = [Fraction(k, 255) for k in pixels[i].tolist()]
        for vector in _rim(p):
            point = [c + Fraction(radius) * v for c, v in zip(center, vector, strict=True)]
            if box is not None:
                point = [min(max(value, Fraction(0)), Fraction(1)) for value in point]
            assert int(y[i]) * _exactly(layers, point) >= 1 - Fraction(1, 10**9)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_where_the_ball_is_wider_than_the_core_the_margin_is_that_of_a_grid(part):
    """One coordinate, every point of the ball: the own value falls below 1, and the clean model, wrong, comes through."""
    clean = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)).double().eval().requires_grad_(False)
    for parameter, value in zip(clean.parameters(), (0.0, 1.0), strict=True):
        parameter.fill_(value)
    x, y = torch.tensor([[0.2], [0.8]], dtype=torch.float64), torch.tensor([-1, 1])
    m = RobustMemorizer(clean, x, y, ThreatModel("inf", 0.05), ramp=0.08)
    radius = m.supports.inner + part * 0.08
    certificate = certify(m, threat=ThreatModel("inf", radius))
    grid = torch.linspace(-radius, radius, 4001, dtype=torch.float64)[:, None]
    lowest = [float((label * m(point + grid)).min()) for point, label in zip(x, y.tolist(), strict=True)]
    assert float(certificate.margin[0]) == pytest.approx(lowest[0], abs=1e-6)
    assert float(certificate.margin[1]) <= lowest[1], "where the clean model is right the bound is not sharp"
    assert certificate.holds == (lowest[0] > 0)
    assert lowest[0] < 1 - part / 2


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_what_is_certified_outside_of_the_range_of_the_data_is_what_the_layers_answer(p, variant):
    """Without a box 74 of 461 certified inputs were answered wrongly by the layers at their very center."""
    m, x, _, g = case(p, variant, n=12, dim=3, box=None)
    q = 0.5 + torch.randn(300, 3, generator=g, dtype=torch.float64)
    y = torch.where(m.clean_model(q) > 0, 1, -1)
    proved = certified_robust(m, q, y)
    outside = ((q < x.min()) | (q > x.max())).any(1)
    assert (proved & outside).sum() > 30
    direction = torch.randn(40, 3, generator=g, dtype=torch.float64)
    direction /= torch.linalg.vector_norm(direction, ord=m.threat.p, dim=1, keepdim=True)
    for step in torch.cat([direction, 0 * direction[:1]]):
        answers = evaluate(m.expand(), q + m.threat.radius * step)[:, 0]
        assert (answers * y > 0)[proved].all()


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_nothing_is_certified_of_a_ball_that_leaves_the_box_of_the_network(p, variant):
    m, x, y, _ = case(p, variant, n=12, dim=3)
    low, high = float(x.min()), float(x.max())  # of points on both faces, and of points inside
    tight = ThreatModel(p, m.threat.radius, (low, high))
    m = RobustMemorizer(m.clean_model, x, y, tight, variant=variant)
    wider = ThreatModel(p, m.threat.radius, None)
    leaves = ((x - wider.radius < low) | (x + wider.radius > high)).any(1)
    assert 0 < int(leaves.sum()) < 12
    assert certified_robust(m, x, y).all()
    assert torch.equal(certified_robust(m, x, y, wider), ~leaves)
    assert torch.equal(certify(m, threat=wider).margin == -math.inf, leaves)
    narrower = ThreatModel(p, m.threat.radius, (low, high - 1e-3))
    assert certified_robust(m, x, y, narrower).all()


def test_certified_robust_refuses_another_norm_and_labels_that_do_not_fit():
    m, x, y, _ = case("2", "shared")
    with pytest.raises(BadRequest, match="threat: expected p = 2, got inf"):
        certified_robust(m, x, y, ThreatModel("inf", m.threat.radius))
    with pytest.raises(BadRequest, match=r"labels: expected -1 or \+1"):
        certified_robust(m, x, (y + 1) // 2)
