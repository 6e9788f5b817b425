"""What must hold of curves, against planted violations."""

import numpy as np
from tests.diagnosis.writers import four

from cgro.diagnosis import Curves
from cgro.diagnosis.checks import SLACK, impossible, lost_epochs, trailing_gap


def test_measured_curves_are_possible() -> None:
    assert impossible(Curves(range(60), four(60))) == []
    equal = {"clean_error/test": np.full(9, 0.9), "robust_error/test": np.full(9, 0.9)}  # a constant answer
    assert impossible(Curves(range(9), equal)) == []


def test_swapped_columns_are_found_on_every_part() -> None:
    errors = four(40)
    for part in ("train", "test"):
        names = f"clean_error/{part}", f"robust_error/{part}"
        errors[names[0]], errors[names[1]] = errors[names[1]], errors[names[0]]
    found = {one.part: one for one in impossible(Curves(range(40), errors))}
    assert set(found) == {"train", "test"}
    assert found["test"].misread
    assert found["test"].doubtful
    assert not found["train"].misread  # running means, label leaking
    assert found["train"].doubtful
    assert "40 of 40 epochs" in found["test"].sentence


def test_accuracies_given_as_errors_are_recognized() -> None:
    clean, accuracy = np.full(20, 0.6), np.full(20, 0.35)
    (found,) = impossible(Curves(range(20), {"clean_error/test": clean, "robust_error/test": accuracy}))
    assert found.as_accuracy
    assert found.misread


def test_rounding_is_no_violation_and_one_small_one_is_said_only() -> None:
    clean = np.full(20, 0.5)
    assert impossible(Curves(range(20), {"clean_error/test": clean, "robust_error/test": clean - SLACK / 2})) == []
    robust = clean + 0.1
    robust[3] = 0.47
    (found,) = impossible(Curves(range(20), {"clean_error/test": clean, "robust_error/test": robust}))
    assert (found.n, found.misread, found.doubtful) == (1, False, True)


def test_an_end_that_was_not_measured() -> None:
    values = np.r_[np.linspace(0.6, 0.4, 30), np.full(10, np.nan)]
    assert trailing_gap(Curves(range(40), {"robust_error/test": values}), "robust_error/test") == (30.0, 39.0, 10)
    rarely = np.full(40, np.nan)
    rarely[::5] = 0.5
    assert trailing_gap(Curves(range(40), {"robust_error/test": rarely}), "robust_error/test") is None
    assert trailing_gap(Curves(range(40), {}), "robust_error/test") is None


def test_lost_epochs() -> None:
    assert lost_epochs(np.arange(0, 100, 5.0)) == []  # evaluated every fifth
    assert lost_epochs(np.delete(np.arange(50.0), [7, 8, 30])) == [
        "3 epochs are missing between the first and the last, first 7"
    ]
    assert lost_epochs(np.array([1.0])) == []
    assert lost_epochs(np.array([1.0, 2, 4, 8, 16])) == []  # an irregular count
