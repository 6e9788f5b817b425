import numpy as np
import pytest

from cgro.trajectory import Outcome, Trajectory


def test_rows_become_columns_and_gaps_become_nan() -> None:
    done = Outcome("completed", "", 3)
    t = Trajectory.from_rows([{"epoch": 1, "a": 1}, {"epoch": 3, "a": 2, "b": 0.5, "name": "x"}], "epoch", done)
    assert t.steps.tolist() == [1, 3]
    assert np.isnan(t["b"][0])
    assert t.final("b") == 0.5
    assert set(t.values) == {"a", "b"}
    assert done.ok
    assert not Outcome("diverged", "", 1).ok


def test_bad_trajectories_are_refused() -> None:
    done = Outcome("completed", "", 3)
    with pytest.raises(ValueError, match="increasing"):
        Trajectory(np.array([2, 1]), {}, done)
    with pytest.raises(ValueError, match="2 records"):
        Trajectory(np.array([1, 2]), {"a": np.zeros(3)}, done)
    with pytest.raises(KeyError, match="expected one of a"):
        Trajectory(np.array([1]), {"a": np.zeros(1)}, done)["b"]
