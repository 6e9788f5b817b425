"""Memorizers: the power of N D, and what is built."""

from pathlib import Path

import numpy as np
from benchmarks.mnist_as_runs import as_run
from msgspec.structs import replace
from tests.experiments.test_theorem44 import sizes

from cgro.experiments import memorizers
from cgro.jobs.workspace import Workspace


def test_the_power_of_what_further_points_cost_takes_off_what_does_not_depend_on_n() -> None:
    """With a cost of 1,000 + c N D the power is 1; with one in N^2 it is 2 at one dimension."""
    linear = [replace(size, generic=1000 + 7 * size.n * size.dim) for size in sizes() if size.p == "2"]
    assert np.isclose(memorizers.power(linear), 1.0)
    square = [replace(size, generic=(size.n - 50) ** 2 + 1) for size in sizes() if (size.p, size.dim) == ("2", 64)]
    assert np.isclose(memorizers.power(square), 2.0)


def test_all_of_mnist_is_built_at_every_scale_but_smoke() -> None:
    names = [job.name for job in memorizers.tasks("cpu")]
    assert {"memorize-mnist-inf", "memorize-mnist-2"} < set(names)
    assert not any("mnist-" in job.name for job in memorizers.tasks("smoke"))


def test_the_law_is_measured_at_two_dimensions_in_three_norms() -> None:
    jobs = memorizers.law("cpu")
    assert len(jobs) == 2 * 3 * len(memorizers.SIZES["cpu"])
    assert {job.settings["data"] for job in jobs} == set(memorizers.DIMS)


def test_stored_measurements_of_all_of_mnist_are_read_as_runs(tmp_path: Path) -> None:
    """`benchmarks/mnist_as_runs.py` writes what `cgro memorize` would have, had it been run."""
    jobs = [memorizers.mnist("inf"), memorizers.mnist("2")]
    home = Workspace(tmp_path, jobs)
    for job in jobs:
        as_run(str(job.settings["p"]), home.folder(job))
        task = memorizers.read_task(home.read(job), job)
        assert (task.n_train, task.holds, task.is_whole) == (60_000, [True], True)
        assert task.certified_error == [0.0]
        assert task.robust_low[0] < task.robust_high[0]
