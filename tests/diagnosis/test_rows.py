"""One value per epoch: joined rows, repetitions, restarts, and several trainings in one file."""

import math

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis.rows import merge


def rows_of(*passes: tuple[range, float]) -> list[dict[str, float]]:
    """Rows of epochs, each pass with values of its own."""
    return [{"epoch": float(e), "a": start + e / 1000} for epochs, start in passes for e in epochs]


def test_rows_of_one_epoch_with_other_curves_are_joined_without_a_remark() -> None:
    found = merge([{"epoch": 1, "a": 0.5}, {"epoch": 1, "b": 0.4}, {"epoch": 0, "a": 0.6}], "x")
    assert found.epoch.tolist() == [0, 1]
    assert found.values["a"].tolist() == [0.6, 0.5]
    assert math.isnan(found.values["b"][0])
    assert found.remarks == ()


def test_equal_records_are_said_to_be_equal() -> None:
    found = merge(rows_of((range(20), 0.5), (range(15, 30), 0.5)), "x")
    assert found.remarks == ("5 epochs were recorded more than once, with equal values",)
    assert len(found.epoch) == 30


def test_a_resumed_training_goes_on_and_the_last_record_counts() -> None:
    found = merge(rows_of((range(20), 0.5), (range(15, 30), 0.6)), "x")
    assert found.remarks == ("5 epochs were recorded more than once; the last record counts",)
    assert np.allclose(found.values["a"], np.r_[0.5 + np.arange(15) / 1000, 0.6 + np.arange(15, 30) / 1000])


def test_a_false_start_is_no_training() -> None:
    found = merge(rows_of((range(3), 0.5), (range(20), 0.6)), "x")
    assert np.allclose(found.values["a"], 0.6 + np.arange(20) / 1000)


def test_seeds_below_each_other_and_beside_each_other_are_refused() -> None:
    refused(lambda: merge(rows_of((range(20), 0.5), (range(20), 0.6), (range(20), 0.7)), "x"), "3 trainings", "seed")
    refused(lambda: merge(rows_of((range(20), 0.5), (range(25), 0.6)), "x"), "2 trainings")  # one stopped earlier
    beside = [{"epoch": e, "a": 0.5 + s} for e in range(20) for s in (0.0, 0.1)]
    refused(lambda: merge(beside, "x"), "several rows with other values in 20 of 20 epochs")


def test_steps_of_an_epoch_are_no_seeds() -> None:
    steps = [{"epoch": e, "a": 0.5 + s} for e in range(20) for s in (0.2, 0.1)]
    assert np.allclose(merge(steps, "x", steps=True).values["a"], 0.6)


def test_a_training_that_does_not_get_as_far_as_before_is_refused() -> None:
    for end in (12, 19):
        again = range(5, end)
        refused(lambda again=again: merge(rows_of((range(20), 0.5), (again, 0.6)), "x"), "epochs up to 19")


def test_of_appended_trainings_the_last_is_taken_whole_and_that_is_a_caveat() -> None:
    first = [{**row, "b": 1.0} for row in rows_of((range(20), 0.5))]
    found = merge([*first, *rows_of((range(20), 0.6))], "x", appended=True)
    assert found.caveats == ("the file holds 2 trainings of these epochs; this is the last one",)
    assert set(found.values) == {"a"}  # nothing of the first one is mixed in
    shorter = [*first, *rows_of((range(12), 0.6))]
    assert merge(shorter, "x", appended=True).epoch.max() == 11


def test_the_newest_row_may_come_first() -> None:
    found = merge(rows_of((range(20), 0.5))[::-1], "x")
    assert found.epoch.tolist() == list(range(20))
    assert found.remarks == ()


def test_a_false_start_is_named_with_both_epochs() -> None:
    for appended in (False, True):
        found = merge(rows_of((range(4), 0.5), (range(20), 0.6)), "x", appended=appended)
        assert found.remarks[0].startswith("a start that ended at epoch 3 is followed by another from epoch 0")
    twice = merge(rows_of((range(4), 0.5), (range(2), 0.4), (range(20), 0.6)), "x")
    assert [remark.split(" is followed")[0] for remark in twice.remarks[:2]] == [
        "a start that ended at epoch 3",
        "a start that ended at epoch 1",
    ]


def test_a_resumption_is_no_false_start() -> None:
    found = merge(rows_of((range(5), 0.5), (range(3, 20), 0.6)), "x")
    assert not any("a start" in remark for remark in found.remarks)


def interleaved(lag: int, n: int = 30) -> list[dict[str, float]]:
    """Two trainings written at once, the second so many epochs behind the first."""
    rows = []
    for e in range(n + lag):
        if e < n:
            rows.append({"epoch": float(e), "a": 0.5 + e / 1000})
        if e >= lag:
            rows.append({"epoch": float(e - lag), "a": 0.7 + e / 1000})
    return rows


@pytest.mark.parametrize("appended", [False, True])
@pytest.mark.parametrize("lag", [0, 1, 2, 5, 9, 15])
def test_two_trainings_at_once_are_none(lag: int, appended: bool) -> None:
    """The later one stood for both, beside a false start that there was not."""
    refused(lambda: merge(interleaved(lag), "x", appended=appended), "one training")


def test_a_training_that_is_resumed_often_is_one() -> None:
    passes = [(range(start, start + 6), 0.5 + start / 1000) for start in range(0, 40, 4)]
    found = merge(rows_of(*passes), "x")
    assert found.epoch.tolist() == list(range(42))
    every_fifth = merge([row | {"epoch": 5 * row["epoch"]} for row in rows_of(*passes)], "x")
    assert every_fifth.epoch.tolist() == list(range(0, 210, 5))
