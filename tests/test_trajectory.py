"""Columns from rows, what is refused, and one outcome or several."""

import numpy as np
import pytest

from cgro.trajectory import Outcome, Trajectory

DONE = Outcome("completed", "", 3)


def test_rows_become_columns_and_gaps_become_nan() -> None:
    rows = [{"epoch": 1, "a": 1, "b": None}, {"epoch": 3, "a": 2, "b": 0.5, "name": "x"}]
    t = Trajectory.from_rows(rows, "epoch", DONE)
    assert t.steps.tolist() == [1, 3]
    assert np.isnan(t["b"][0])
    assert t.final("b") == 0.5
    assert list(t.values) == ["a", "b"]
    assert t["a"].dtype == float


def test_the_final_value_is_a_number_or_an_array() -> None:
    t = Trajectory(np.array([1, 2]), {"a": np.array([0.0, 1.5]), "b": np.arange(6).reshape(2, 3)}, (DONE,))
    assert type(t.final("a")) is float
    assert t.final("b").tolist() == [3, 4, 5]


def test_no_rows_are_a_trajectory_without_columns() -> None:
    t = Trajectory.from_rows([], "epoch", DONE, {"selected": None})
    assert not t.values
    assert len(t.steps) == 0
    assert t.meta["selected"] is None


def test_bad_trajectories_are_refused() -> None:
    with pytest.raises(ValueError, match="increasing"):
        Trajectory(np.array([2, 1]), {}, (DONE,))
    with pytest.raises(ValueError, match="2 records"):
        Trajectory(np.array([1, 2]), {"a": np.zeros(3)}, (DONE,))
    with pytest.raises(ValueError, match="one per seed"):
        Trajectory(np.array([1, 2]), {}, ())
    with pytest.raises(KeyError, match="expected one of a"):
        Trajectory(np.array([1]), {"a": np.zeros(1)}, (DONE,))["b"]


def test_the_outcome_of_one_seed_and_of_several() -> None:
    failed = Outcome("diverged", "lr", 1)
    assert DONE.ok
    assert not failed.ok
    one = Trajectory(np.array([1]), {}, (failed,))
    assert one.outcome is failed
    assert one.end is failed
    with pytest.raises(ValueError, match="got 2"):
        _ = Trajectory(np.array([1]), {}, (DONE, failed)).outcome
