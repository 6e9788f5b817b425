"""Which part is held out, and the errors at the end."""

import numpy as np

from cgro.diagnosis import Curves
from cgro.diagnosis.held_out import LIKELY_N, held_out, last_errors


def test_validation_stands_in_only_where_nothing_robust_was_tested() -> None:
    both = {"clean_error/test": [0.2, 0.1], "robust_error/validation": [0.6, 0.5], "clean_error/validation": [0.3, 0.2]}
    curves, part = held_out(Curves([1, 2], both, {"n/test": 9, "n/validation": 7}))
    assert part == "validation"
    assert curves["clean_error/test"].tolist() == [0.3, 0.2]
    assert curves.meta["n/test"] == 7
    tested = {**both, "robust_error/test": [0.7, 0.6]}
    assert held_out(Curves([1, 2], tested))[1] == "test"


def test_the_end_is_the_mean_of_five_as_a_count() -> None:
    values = np.linspace(0.6, 0.5, 11)
    found = last_errors(Curves(range(11), {"robust_error/test": values, "clean_error/train": values}, {"n/test": 200}))
    assert found["robust_error/test"].n == 200
    assert found["robust_error/test"].wrong == round(200 * values[-5:].mean())
    assert found["clean_error/train"].n == LIKELY_N
    assert set(found) == {"robust_error/test", "clean_error/train"}
