"""Errors against closed forms; intervals against published values; the verdict at its thresholds."""

import math

import pytest
import torch
from scipy.stats import binomtest
from tests import oracles
from tests.cases import THREATS, LinearScore, busy_network, images, points

from cgro.definitions import (
    FOUR,
    PGD,
    ErrorRate,
    NoAttack,
    ThreatModel,
    VerdictRule,
    boundary_distance,
    cgro_verdict,
    clean_error,
    predicted_shares,
    robust_error,
)


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (10, 100), (37, 37), (500, 1000)])
def test_wilson_interval(wrong: int, n: int) -> None:
    low, high = ErrorRate(wrong, n).interval
    truth = binomtest(wrong, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((truth.low, truth.high), abs=1e-12)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_robust_error_is_the_closed_form_on_linear_scores(threat: ThreatModel) -> None:
    model, (x, y) = LinearScore().eval(), points(120)
    slopes = (-y[:, None] * model.w).detach().double().numpy()
    worst = [
        float(m) - oracles.linear_worst_case(g, row, threat.p, threat.radius, threat.box)
        for m, g, row in zip((y * model(x)).tolist(), slopes, x.double().numpy(), strict=True)
    ]
    exact = sum(m <= 0 for m in worst)
    found = robust_error(model, x, y, PGD(threat, n_steps=60))
    assert found.bound == "lower"
    assert found.wrong == exact
    weak = robust_error(model, x, y, PGD(threat, n_steps=1, step_size=threat.radius / 10))
    assert clean_error(model, x, y).wrong <= weak.wrong <= exact
    assert 0 < exact < len(x)


def test_clean_error_counts_ties_and_equals_no_attack() -> None:
    x, y = torch.tensor([[0.0], [1.0], [0.5]]), torch.tensor([1, 1, -1])
    assert clean_error(lambda v: v[:, 0] - 0.0, x, y).wrong == 2  # sgn 0 is wrong
    assert robust_error(lambda v: v[:, 0], x, y, NoAttack()).wrong == 2
    assert clean_error(lambda v: v[:, 0], x, y).bound == "exact"


def test_batch_size_changes_nothing() -> None:
    model, (x, y) = busy_network().eval(), images(50)
    attack = PGD(ThreatModel("inf", 0.02), n_steps=4, random_start=False)
    assert len({robust_error(model, x, y, attack, batch=b) for b in (7, 50, 256)}) == 1


def test_bad_sets_are_refused() -> None:
    x, y = images()
    attack = PGD(THREATS[0], n_steps=1)
    for call, words in (
        (lambda: robust_error(busy_network().train(), x, y, attack), "train mode"),
        (lambda: clean_error(busy_network().train(), x, y), "train mode"),
        (lambda: robust_error(busy_network().eval(), x[:0], y[:0], attack), "at least one"),
        (lambda: robust_error(busy_network().eval(), x * 255, y, attack), "divide by 255"),
        (lambda: robust_error(busy_network().eval(), x, y[:2], attack), "one per example"),
        (lambda: robust_error(busy_network().eval(), x, y + 7, attack), "labels"),
        (lambda: robust_error(busy_network().eval(), x, y, PGD(ThreatModel(2, 9), n_steps=1)), "diameter"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_nan_weights_are_refused() -> None:
    model, (x, y) = busy_network().eval(), images()
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(ValueError, match="NaN"):
        robust_error(model, x, y, PGD(THREATS[0], n_steps=1))


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


def four(clean_train: float, clean_test: float, robust_train: float, robust_test: float, n: int = 1000) -> dict:
    values = (clean_train, clean_test, robust_train, robust_test)
    return {k: ErrorRate(round(v * n), n) for k, v in zip(FOUR, values, strict=True)}


@pytest.mark.parametrize(
    ("errors", "label"),
    [
        ((0, 0.02, 0.005, 0.30), "cgro"),
        ((0, 0.02, 0.005, 0.05), "robust"),
        ((0, 0.02, 0.99, 0.99), "standard_training"),
        ((0.4, 0.42, 0.6, 0.62), "underfitting"),
        ((0, 0.30, 0.1, 0.9), "clean_overfitting"),
        ((0, 0.01, 0.01, 0.13), "too_little_evidence"),  # the gap's lower end is below 0.10
        ((0, 0.10, 0.005, 0.30), "too_little_evidence"),  # the gap is not three clean gaps
        ((0, 0.26, 0.005, 0.99), "clean_overfitting"),
    ],
)
def test_verdict_at_one_point(errors: tuple, label: str) -> None:
    verdict = cgro_verdict(four(*errors))
    assert verdict.label == label, verdict
    assert "\n" not in verdict.reason
    assert verdict.evidence["rule"]["min_gap"] == 0.10


def test_verdict_needs_enough_examples_and_sees_collapse() -> None:
    assert cgro_verdict(four(0, 0.02, 0, 0.4, n=40)).label == "too_little_evidence"
    assert cgro_verdict({}).label == "too_little_evidence"
    assert cgro_verdict(four(0, 0.02, 0.005, 0.30), prediction_share=0.995).label == "collapsed"
    assert cgro_verdict({}, prediction_share=[0.0, 1.0]).label == "collapsed"
    assert cgro_verdict(four(0, 0.02, 0.005, 0.30), prediction_share=[0.1] * 10).label == "cgro"


@pytest.mark.parametrize(
    "change",
    [{"min_gap": 0.5}, {"gap_ratio": 99.0}, {"chance_fraction": 0.01}, {"min_n": 5000}, {"collapse_share": 0.0}],
)
def test_every_threshold_of_the_rule_has_an_effect(change: dict) -> None:
    errors = four(0, 0.02, 0.005, 0.30)
    assert cgro_verdict(errors, prediction_share=0.3).label == "cgro"
    assert cgro_verdict(errors, prediction_share=0.3, rule=VerdictRule(**change)).label != "cgro"


def test_number_of_classes_moves_chance() -> None:
    errors = four(0.28, 0.30, 0.10, 0.60)
    assert cgro_verdict(errors).label != "cgro"
    assert cgro_verdict(errors, rule=VerdictRule(n_classes=10)).label == "cgro"


def test_predicted_shares() -> None:
    assert predicted_shares(lambda v: v, torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.3], [1.0, 0.0]])) == [0.75, 0.25]
    assert predicted_shares(lambda v: v[:, 0] - 0.5, torch.tensor([[0.9], [0.1]])) == [0.5, 0.5]
