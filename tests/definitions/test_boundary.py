"""The distance to the boundary: closed form of a linear score, false certificates, independence of the batch."""

import math

import pytest
import torch
from tests.cases import LinearScore, busy_network, images, points, refused

from cgro.definitions import PGD, ThreatModel, boundary_distance, robust_error


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_boundary_distance_is_score_over_dual_norm(p: float) -> None:
    """v1, Proposition 3.1: robust at a radius iff the distance is at least that radius."""
    model, (x, y) = LinearScore().eval(), points(30)
    attack = PGD(ThreatModel(p, 3.0, None), n_steps=60)
    truth = ((y * model(x)).clamp_min(0) / attack.threat.dual_norm(model.w[None])).double().detach()
    bracket = boundary_distance(model, x, y, attack)
    near = truth < 2.9
    torch.testing.assert_close(bracket.upper[near], truth[near], rtol=2e-3, atol=1e-5)
    assert bool((bracket.upper >= truth - 1e-5).all())
    for radius in (0.05, 0.2):
        broken = robust_error(model, x, y, attack.at(radius)).wrong
        assert broken == int((truth <= radius).sum())


def test_a_false_certificate_is_refused() -> None:
    model, (x, y) = LinearScore().eval(), points(10)
    with pytest.raises(ValueError, match="false"):
        boundary_distance(model, x, y, PGD(ThreatModel("inf", 1.0, None), n_steps=40), certified=torch.full((10,), 5.0))


def test_neither_batches_nor_what_is_broken_already_change_what_an_example_draws() -> None:
    model, (x, y) = busy_network().eval(), images(12)
    attack = PGD(ThreatModel("inf", 0.3), n_steps=1)
    whole = boundary_distance(model, x, y, attack, n_radii=3).upper
    assert len(whole.unique()) > 2
    parted = boundary_distance(model, x, y, attack, n_radii=3, batch=5).upper
    torch.testing.assert_close(parted, whole, rtol=1e-4, atol=1e-6)


def test_no_radii_and_no_examples_are_refused() -> None:
    model, (x, y) = LinearScore().eval(), points(4)
    refused(lambda: boundary_distance(model, x, y, PGD(ThreatModel("inf", 1.0, None), n_steps=1), n_radii=0), "n_radii")
    refused(lambda: boundary_distance(model, x[:0], y[:0], PGD(ThreatModel("inf", 1.0, None), n_steps=1)), "examples")
