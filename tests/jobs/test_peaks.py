"""Peak memory: of this process since it was reset, and of a worker process, by what they were made to hold."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cgro.jobs.execute import Call
from cgro.jobs.peaks import CLEAR, FILE, Peaks, peak, read_peaks, reset_peak
from cgro.jobs.workers import LOOK_EVERY, Workers, begin_anew

MANY = 200 << 20
"""Bytes that a job holds; other things need far fewer meanwhile."""


def hold(call: Call) -> float:
    """A job that writes to `MANY` bytes, which are given back at its end."""
    assert np.ones(MANY, np.uint8)[-1] == 1
    return 1.0


def rest(call: Call) -> float:
    """A job that needs nothing."""
    return 1.0


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux resets the peak of a process")
def test_each_job_has_the_peak_of_its_own(tmp_path: Path) -> None:
    for name, carry in (("first", rest), ("much", hold), ("little", rest)):
        assert Peaks(carry, tmp_path)(Call(name, "train", {}, tmp_path)) == 1.0
    found = read_peaks(tmp_path)
    assert found["much"] - found["first"] > 0.9 * MANY
    assert found["much"] - found["little"] > 0.9 * MANY


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux resets the peak of a process")
def test_without_a_reset_the_earlier_peak_would_stay() -> None:
    """The planted fault."""
    reset_peak()
    before = peak()
    hold(Call("", "", {}, Path()))
    after = peak()
    assert before is not None
    assert after is not None
    assert after - before > 0.9 * MANY


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux tells the peak of another process")
def test_the_peak_of_a_worker_is_that_of_its_process(tmp_path: Path) -> None:
    """It holds the memory until its standard input, which is empty, was waited for twice as long as a look takes."""
    for name, n in (("few", 0), ("many", MANY)):
        text = f"import select; a = b'1' * {n}; select.select([], [], [], {2 * LOOK_EVERY})"
        workers = Workers(0, partial(begin_anew, prefix=(sys.executable, "-c", text)))
        Peaks(workers, tmp_path, workers.peaks)(Call(name, "train", {}, tmp_path / "run"))
    found = read_peaks(tmp_path)
    assert found["few"] < MANY  # this process, of which a worker begins as a copy, holds more
    assert found["many"] - found["few"] > 0.9 * MANY


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    assert read_peaks(tmp_path) == {}
    (tmp_path / FILE).write_text('{"a": 3, "b": "many"')
    assert read_peaks(tmp_path) == {}
    (tmp_path / FILE).write_text('{"a": 3, "b": "many"}')
    assert read_peaks(tmp_path) == {"a": 3}
