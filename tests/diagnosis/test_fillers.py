"""Values that a program wrote for epochs in which it did not evaluate."""

import numpy as np
import pytest

from cgro.diagnosis.fillers import without_fillers

NAME = "robust_error/test"
FALLS = 0.6 - np.arange(40) / 200


@pytest.mark.parametrize("filler", [0.0, 1.0])
@pytest.mark.parametrize("first", [0, 4])
def test_single_values_between_zeros_are_the_evaluations(filler: float, first: int) -> None:
    every_fifth = np.arange(40) % 5 == first
    found, said = without_fillers({NAME: np.where(every_fifth, FALLS, filler)})
    assert np.array_equal(np.isnan(found[NAME]), ~every_fifth)
    assert "all but every 5th epoch" in said[0]


@pytest.mark.parametrize(("step", "counted"), [(12, "12th"), (21, "21st"), (22, "22nd"), (23, "23rd")])
def test_longer_distances_are_said_as_people_count(step: int, counted: str) -> None:
    epochs = np.arange(8 * step)
    _, said = without_fillers({NAME: np.where(epochs % step == 0, 0.6 - epochs / 2000, 1.0)})
    assert f"all but every {counted} epoch" in said[0]


@pytest.mark.parametrize("step", [2, 3, 10])
def test_of_a_value_that_stands_again_the_first_counts(step: int) -> None:
    found, said = without_fillers({NAME: FALLS[np.arange(40) // step * step], "lr": np.repeat([0.1, 0.01], 20)})
    assert np.nonzero(~np.isnan(found[NAME]))[0].tolist() == list(range(0, 40, step))
    assert f"{step} epochs in a row" in said[0]
    assert not np.isnan(found["lr"]).any()


def test_zeros_before_the_first_evaluation_are_none() -> None:
    values = np.r_[np.ones(4), np.repeat(FALLS[:6], 5)]
    found, _ = without_fillers({NAME: values})
    assert np.nonzero(~np.isnan(found[NAME]))[0].tolist() == [4, 9, 14, 19, 24, 29]


@pytest.mark.parametrize(
    "values",
    [
        FALLS,
        np.full(40, 0.9),  # one answer to all
        np.r_[FALLS[:20], np.ones(20)],  # catastrophic overfitting
        np.r_[FALLS[:10], np.ones(3), FALLS[:5], np.ones(7), FALLS[:5], np.ones(10)],  # and again
        np.round(FALLS, 2)[np.random.default_rng(0).permutation(40)],
        np.r_[0.5, 0.5, 0.4, 0.4, 0.3],
        np.r_[0.5, 0.5, 0.4, 0.4, 0.4, 0.3, 0.3, 0.2, 0.2, 0.2, 0.1],
    ],
)
def test_any_other_curve_stays(values: np.ndarray) -> None:
    found, said = without_fillers({NAME: values})
    assert np.array_equal(found[NAME], values)
    assert said == []
