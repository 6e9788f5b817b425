"""Which part is held out, and the errors at the end."""

import numpy as np
import pytest

from cgro.diagnosis import CurveRule, Curves, diagnose
from cgro.diagnosis.held_out import LIKELY_N, held_out, last_errors


def test_validation_stands_in_only_where_nothing_robust_was_tested() -> None:
    both = {"clean_error/test": [0.2, 0.1], "robust_error/validation": [0.6, 0.5], "clean_error/validation": [0.3, 0.2]}
    curves, part = held_out(Curves([1, 2], both, {"n/test": 9, "n/validation": 7}), 10)
    assert part == "validation"
    assert curves["clean_error/test"].tolist() == [0.3, 0.2]
    assert curves.meta["n/test"] == 7
    tested = {**both, "robust_error/test": [0.7, 0.6]}
    assert held_out(Curves([1, 2], tested), 10)[1] == "test"


@pytest.mark.parametrize(
    ("n_test", "n_validation", "part"),
    [(1, 12, "validation"), (9, 10, "validation"), (10, 12, "test"), (1, 9, "test"), (12, 12, "test")],
)
def test_a_curve_on_validation_is_judged_where_the_test_set_has_a_few_points(
    n_test: int, n_validation: int, part: str
) -> None:
    """Planted: a log that tests once, at its end, was judged by that point, and its validation curve was not."""

    def last(n: int, value: float) -> np.ndarray:
        values = np.full(12, np.nan)
        values[12 - n :] = value
        return values

    values = {"robust_error/test": last(n_test, 0.7), "robust_error/validation": last(n_validation, 0.6)}
    curves, found = held_out(Curves(range(12), values), 10)
    assert found == part
    assert curves["robust_error/test"][-1] == (0.7 if part == "test" else 0.6)


def test_the_few_test_errors_are_said_beside_the_verdict() -> None:
    epochs = np.arange(40.0)
    validation = np.where(epochs < 20, 0.6 - 0.005 * epochs, 0.5 + 0.004 * (epochs - 20))
    tested = np.full(40, np.nan)
    tested[-1] = 0.612
    values = {"robust_error/test": tested, "robust_error/validation": validation}
    found = diagnose(Curves(epochs, values), rule=CurveRule(n_boot=199))
    assert found.label == "robust_overfitting"
    assert "measured on a test set only once (last 61.20% at epoch 39)" in found.reason
    assert "robust validation error rises" in found.reason


def test_the_end_is_the_mean_of_five_as_a_count() -> None:
    values = np.linspace(0.6, 0.5, 11)
    found = last_errors(Curves(range(11), {"robust_error/test": values, "clean_error/train": values}, {"n/test": 200}))
    assert found["robust_error/test"].n == 200
    assert found["robust_error/test"].wrong == round(200 * values[-5:].mean())
    assert found["clean_error/train"].n == LIKELY_N
    assert set(found) == {"robust_error/test", "clean_error/train"}
