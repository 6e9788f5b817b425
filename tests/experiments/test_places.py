"""What options say of where runs are carried out."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.commands._options import Spreading
from cgro.experiments.execute import ThisProcess, carry_out_here
from cgro.experiments.places import Place
from cgro.experiments.workers import Workers


def test_local_runs_share_the_threads_and_those_of_slurm_do_not() -> None:
    cores = os.cpu_count() or 1
    assert Place.of(Spreading(), None).threads is None
    assert Place.of(Spreading(), 3).threads == 3
    two = Place.of(Spreading(workers=2), None)
    assert (two.at_once, two.threads) == (2, max(1, cores // 2))
    assert Place.of(Spreading(workers=2), 8).threads == 4
    assert Place.of(Spreading(workers=99), 8).threads == 1
    slurm = Place.of(Spreading(executor="slurm"), None)
    assert (slurm.at_once, slurm.threads, slurm.options) == (100, 1, {"cpus-per-task": "1"})
    cpus = Place.of(Spreading(executor="slurm", workers=5, slurm_options="cpus-per-task=4 time=60"), None)
    assert (cpus.at_once, cpus.threads, cpus.options) == (5, 4, {"cpus-per-task": "4", "time": "60"})
    assert Place.of(Spreading(executor="slurm"), 2).options == {"cpus-per-task": "2"}


def test_what_carries_runs_out(tmp_path: Path) -> None:
    here = Place.of(Spreading(), None)
    assert here.is_here
    assert not here.is_elsewhere
    with here.opened(tmp_path) as (executor, carry):
        assert isinstance(executor, ThisProcess)
        assert carry is carry_out_here
    with Place.of(Spreading(workers=2), None).opened(tmp_path) as (_, carry):
        assert isinstance(carry, Workers)
    with ThreadPoolExecutor(1) as own:
        place = Place.of(Spreading(workers=3), None, own)
        assert place.is_elsewhere
        assert place.at_once == 3
        with place.opened(tmp_path) as (executor, carry):
            assert executor is own
            assert carry is carry_out_here


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Spreading(executor="ray"), "--executor: expected .*local.*slurm.*, got 'ray'"),
        (Spreading(slurm_options="time=60"), "--slurm-options: expected --executor slurm beside it, got local"),
        (Spreading(workers=0), "--workers"),
    ],
)
def test_what_does_not_fit_is_refused(options: Spreading, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        Place.of(options, None)


def test_slurm_is_looked_for_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadRequest, match="no sbatch"), Place.of(Spreading(executor="slurm"), None).opened(tmp_path):
        pass
