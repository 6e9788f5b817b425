"""What options say of where runs are carried out."""

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cgro._check import BadRequest, CheckFailed
from cgro.commands._options import Spreading
from cgro.comparison import compare
from cgro.experiments import reproduce
from cgro.jobs.execute import Call, ThisProcess, carry_out_here
from cgro.jobs.places import Place
from cgro.jobs.workers import Workers


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


class Failing(Executor):
    """Fails the calls of a command; carries the others out here."""

    def __init__(self, command: str) -> None:
        self.command = command

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = args[0]
        assert isinstance(call, Call)
        if call.command != self.command:
            return ThisProcess().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        future.set_exception(BadRequest("planted"))
        return future


def test_a_reproduction_goes_on_without_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = reproduce.Config(names="table2,theorem47", out=str(tmp_path / "run"), threads=1, workers=2)
    with pytest.raises(BadRequest, match=r"\d+ jobs failed; the first is .*planted"):
        reproduce.run(config, Failing("dynamics"))
    said = capsys.readouterr().err
    assert "table2: not made, " in said
    assert "  failed  " in said
    assert (tmp_path / "run/theorem47/summary.json").exists()
    assert not (tmp_path / "run/table2").exists()
    assert reproduce.run(replace(config, names="theorem47"), Failing("lower-bound")).finished  # made before


def test_a_comparison_takes_any_executor_and_tells_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"data": "digits", "n_train": 60, "n_test": 30, "model": "mlp", "width": 8, "attack": "pgd2", "epochs": 1}
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"base": base, "seeds": 1, "remedies": {"plain": {}}}))
    config = compare.Config(plan=str(plan), out=str(tmp_path / "run"), device="cpu", threads=1)
    with pytest.raises(CheckFailed, match="1 jobs failed: training/plain/seed-0"):
        compare.run(config, Failing("train"))
    assert "  training/plain/seed-0  planted" in capsys.readouterr().err
