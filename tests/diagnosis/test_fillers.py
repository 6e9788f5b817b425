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


LAST = np.arange(40) >= 35
"""In the last epochs every one is evaluated."""


@pytest.mark.parametrize("filler", [0.0, 1.0])
@pytest.mark.parametrize("step", [3, 5, 10])
def test_zeros_between_evaluations_that_become_denser_are_none(filler: float, step: int) -> None:
    measured = (np.arange(40) % step == step - 1) | LAST
    found, said = without_fillers({NAME: np.where(measured, FALLS, filler)})
    assert np.array_equal(np.isnan(found[NAME]), ~measured)
    assert f"0 or 100% in {np.sum(~measured)} of 40 epochs" in said[0]


@pytest.mark.parametrize("step", [4, 5, 10])
def test_values_that_stand_again_until_they_are_measured_in_every_epoch(step: int) -> None:
    measured = (np.arange(40) % step == 0) | LAST
    held = np.maximum.accumulate(np.where(measured, np.arange(40), 0))
    found, said = without_fillers({NAME: FALLS[held]})
    assert np.array_equal(np.isnan(found[NAME]), ~measured)
    assert f"the last value stands again in {np.sum(~measured)} of 40 epochs" in said[0]


def test_epochs_within_which_every_one_is_measured_may_lie_in_the_middle() -> None:
    measured = (np.arange(40) % 4 == 0) | ((np.arange(40) >= 16) & (np.arange(40) < 24))
    held = np.maximum.accumulate(np.where(measured, np.arange(40), 0))
    found, _ = without_fillers({NAME: FALLS[held]})
    assert np.array_equal(np.isnan(found[NAME]), ~measured)
    found, _ = without_fillers({NAME: np.where(measured, FALLS, 1.0)})
    assert np.array_equal(np.isnan(found[NAME]), ~measured)


@pytest.mark.parametrize("n_before", [3, 20])
def test_zeros_before_an_evaluation_that_begins_late_are_none(n_before: int) -> None:
    late = np.arange(40) >= n_before
    found, said = without_fillers({NAME: np.where(late, FALLS, 1.0)})
    assert np.array_equal(np.isnan(found[NAME]), ~late)
    assert f"in {n_before} of 40 epochs" in said[0]


@pytest.mark.parametrize(
    "values",
    [
        np.r_[np.ones(2), FALLS[:30]],  # a slow start
        np.r_[np.ones(5), np.linspace(0.99, 0.5, 30)],  # and one that grows from 0
        np.r_[
            FALLS[:10], np.tile([1.0, 1.0, 0.5], 6) + np.arange(18) / 1e3 * (np.arange(18) % 3 == 2)
        ],  # falls and rises
        np.r_[np.ones(5), FALLS[:20], np.ones(5)],  # late, and a collapse
        np.r_[np.linspace(0.2, 0, 10), np.zeros(10), 1e-4, np.zeros(5), 2e-4, np.zeros(5)],  # a training error
        np.round(FALLS, 2),  # of few digits
        np.round(0.45 + np.random.default_rng(1).normal(0, 0.004, 120), 2),
    ],
)
def test_zeros_and_equal_values_that_were_measured_stay(values: np.ndarray) -> None:
    found, said = without_fillers({NAME: values})
    assert np.array_equal(found[NAME], values)
    assert said == []
