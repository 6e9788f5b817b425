"""Seconds of jobs: written, added, and extrapolated."""

import json
from pathlib import Path

import pytest

from cgro.jobs.ledger import FILE, Ledger
from cgro.jobs.plan import Job


def job(name: str, seconds: float) -> Job:
    return Job(name, "train", {}, seconds)


def test_seconds_are_kept_beside_the_runs_and_in_the_store(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "here", tmp_path / "store")
    ledger.record(job("a", 10), 12.34, stored=True)
    ledger.record(job("b", 10), 1.0, stored=False)
    assert json.loads((tmp_path / "here" / FILE).read_text()) == {"a": 12.3, "b": 1.0}
    assert json.loads((tmp_path / "store" / FILE).read_text()) == {"a": 12.3}
    elsewhere = Ledger(tmp_path / "elsewhere", tmp_path / "store")
    assert elsewhere.total([job("a", 1), job("b", 1), job("c", 1)]) == 12.3


def test_the_time_left_follows_the_pace_once_enough_is_known(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    unfinished = [job("x", 600), job("y", 600)]
    ledger.record(job("short", 20), 200, stored=False)  # 20 expected seconds tell nothing yet
    assert ledger.left(unfinished) == "about 20 min of work left"
    ledger.record(job("long", 20), 40, stored=False)  # 240 s where 40 were expected: six times as slow
    assert ledger.left(unfinished) == "about 2.0 h of work left"


@pytest.mark.parametrize("damage", ["{", "[1]", '"a"', '{"a": "x", "b": -1, "c": true, "d": 1e999}', ""])
def test_a_damaged_ledger_fails_no_job(damage: str, tmp_path: Path) -> None:
    """A finished job counted as failed, and so did every later one."""
    (tmp_path / FILE).write_text(damage)
    ledger = Ledger(tmp_path)
    assert ledger.total([job("a", 1), job("b", 1), job("c", 1), job("d", 1)]) == 0
    ledger.record(job("new", 10), 2.0, stored=False)
    assert json.loads((tmp_path / FILE).read_text()) == {"new": 2.0}
