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
    ("errors", "share", "label"),
    [
        (four(0, 0, 0.005, 0.30), 1.0, "too_little_evidence"),  # all examples of one class, all answers right
        (four(0, 0, 0.005, 0.30), [0.0, 1.0], "too_little_evidence"),
        (four(0, 0, 0.005, 0.30), 0.995, "cgro"),  # never wrong, so five in a thousand are another answer
        (four(0, 1, 0.005, 1.0, n=1), 1.0, "too_little_evidence"),  # one example has one answer
        (four(0.5, 0.5, 0.5, 0.5), 1.0, "collapsed"),
        (four(0, 0.001, 0.005, 0.30), 1.0, "collapsed"),
    ],
)
def test_one_answer_says_something_only_where_it_may_be_wrong(errors: dict, share, label: str) -> None:
    assert cgro_verdict(errors, prediction_share=share).label == label


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


@pytest.mark.parametrize(
    ("errors", "label", "begins", "numbers"),
    [
        ((0.001, 0.02, 0.005, 0.30), "cgro", "Clean generalization and robust overfitting", ["0.5%", "30.0%", "29.5%"]),
        ((0, 0.02, 0.005, 0.05), "robust", "No large robust gap", ["5.0%", "4.5 points", "above", "0.5%", "10 points"]),
        ((0, 0.02, 0.99, 0.98), "standard_training", "Standard training", ["2.0%", "99.0%", "98.0%"]),
        ((0.4, 0.42, 0.6, 0.62), "underfitting", "Underfitting", ["40.0%", "60.0%"]),
        ((0.01, 0.30, 0.1, 0.9), "clean_overfitting", "Ordinary overfitting", ["1.0%", "30.0%"]),
        ((0, 0.01, 0.01, 0.13), "too_little_evidence", "Undecided", ["12.0%", "1.0%", "10%", "25%"]),
    ],
)
def test_each_label_has_its_sentence(errors: tuple, label: str, begins: str, numbers: list[str]) -> None:
    verdict = cgro_verdict(four(*errors))
    assert verdict.label == label
    assert verdict.reason.startswith(begins)
    assert not [number for number in numbers if number not in verdict.reason], verdict.reason


@pytest.mark.parametrize(
    ("robust", "attacked", "label"),
    [
        ((0.89, 0.95), None, "underfitting"),  # below 0.9 on one set
        ((0.90, 0.95), None, "standard_training"),
        ((0.90, 0.95), True, "underfitting"),
        ((0.10, 0.30), False, "standard_training"),
        ((0.15, 0.24), False, "robust"),  # both below half of guessing: it defends all the same
    ],
)
def test_what_is_known_of_the_training_decides_between_none_and_a_failed_defense(
    robust: tuple[float, float], attacked: bool | None, label: str
) -> None:
    assert cgro_verdict(four(0.0, 0.02, *robust), attacked=attacked).label == label


def test_the_number_of_classes_is_taken_from_their_shares() -> None:
    """Without any the strictest reading, of two classes: learned is an error below 0.25."""
    assert VerdictRule().good_enough == 0.25
    assert VerdictRule(n_classes=10).good_enough == pytest.approx(0.45)
    errors = four(0.28, 0.30, 0.10, 0.60)
    for n, expected in ((2, 2), (10, 10)):
        verdict = cgro_verdict(errors, prediction_share=[1 / n] * n)
        assert verdict.evidence["rule"]["n_classes"] == expected
        assert verdict.evidence["prediction_share"] == 1 / n
        assert (verdict.label == "cgro") == (n == 10)
    asked = cgro_verdict(errors, prediction_share=[0.1] * 10, rule=VerdictRule(n_classes=5))
    assert asked.evidence["rule"]["n_classes"] == 5
