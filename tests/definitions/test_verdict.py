"""The verdict at its thresholds."""

import numpy as np
import pytest

from cgro._check import BadRequest
from cgro.definitions import (
    FOUR,
    ErrorRate,
    VerdictRule,
    cgro_verdict,
)


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


@pytest.mark.parametrize("value", [0.02, None, np.float64(0.02)])
def test_bare_numbers_are_refused_with_what_to_write(value: object) -> None:
    """A share does not say on how many examples it was counted, on which every interval rests."""
    errors = {key: ErrorRate(2, 100) for key in FOUR}
    errors["robust_error/train"] = value  # type: ignore[assignment]
    with pytest.raises(BadRequest, match=r"robust_error/train: expected an ErrorRate.*write ErrorRate\(wrong, n\)"):
        cgro_verdict(errors)


def test_a_test_error_below_the_training_error_is_called_so() -> None:
    errors = {
        "clean_error/train": ErrorRate(50, 1000, "exact"),
        "clean_error/test": ErrorRate(50, 1000, "exact"),
        "robust_error/train": ErrorRate(220, 1000, "lower"),
        "robust_error/test": ErrorRate(200, 1000, "lower"),
    }
    reason = cgro_verdict(errors).reason
    assert "20.0%, is 2.0 points [-1.6, 5.6] below the training set's 22.0%" in reason
