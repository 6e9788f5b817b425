"""Theorem 4.4, robust training error 0: certificates against attacks and rational arithmetic, and planted faults."""

import math

import pytest
import torch
from tests.representation.cases import VARIANTS, case, pixel_case
from torch import nn

from cgro._check import BadRequest
from cgro.data import Dataset
from cgro.definitions import PGD, ThreatModel, margin
from cgro.representation import RobustMemorizer, certify, small_margin_points


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
