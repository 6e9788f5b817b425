"""The files of a run: whole after every step of writing, and of one kind with those of `cgro train`."""

from pathlib import Path

import pytest
from tests.cases import busy_network, refused
from tests.diagnosis.monitor.cases import THREAT, TRAIN, loop, monitor_in

from cgro import runs
from cgro.diagnosis.monitor.journal import Journal, selected_of
from cgro.diagnosis.monitor.parts import parts_of
from cgro.diagnosis.monitor.settings import Settings
from cgro.results import MonitorSummary, TrainSummary
from cgro.runs import Run


def test_a_summary_like_that_of_a_training(tmp_path: Path) -> None:
    loop(monitor_in(tmp_path / "run", names=("my data", "MyNet")), 2)
    summary = Run.open(tmp_path / "run").read(TrainSummary)
    assert isinstance(summary, MonitorSummary)
    assert (summary.data.name, summary.model.name) == ("my data", "MyNet")
    assert summary.model.n_parameters == sum(p.numel() for p in busy_network().parameters())
    assert (summary.data.n_train, summary.data.n_test, list(summary.data.classes)) == (60, 40, ["0", "1", "2"])
    assert summary.outcome.kind == "interrupted"  # until the verdict is asked for
    assert summary.metrics["robust_error/test"] == summary.metrics["robust_error/test@pgd2"]


class Full(Exception):
    pass


@pytest.mark.parametrize("k", range(5))
def test_stopped_at_any_file_the_run_can_be_read_and_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    """The k-th file of an epoch cannot be written: what is there is whole, and the next process evaluates it anew."""
    monitor = monitor_in(tmp_path / "run", keep=1)
    monitor(busy_network(), 1)
    written = []
    true = runs.write_atomic

    def fails(path: Path, content: bytes) -> None:
        if len(written) == k:
            raise Full
        written.append(path)
        true(path, content)

    with monkeypatch.context() as patched:
        patched.setattr("cgro.runs.write_atomic", fails)
        patched.setattr("cgro.training.checkpoint.write_atomic", fails)
        if k < 4:
            with pytest.raises(Full):
                monitor(busy_network(seed=1), 2)
        else:
            monitor(busy_network(seed=1), 2)
    assert len(written) == k
    run = Run.open(tmp_path / "run")
    assert [row["epoch"] for row in run.rows()] in ([1], [1, 2])
    assert run.finished == (k == 4)
    again = monitor_in(tmp_path / "run", keep=1)
    again(busy_network(seed=1), 2)
    again(busy_network(seed=2), 3)
    assert [row["epoch"] for row in Run.open(tmp_path / "run").rows()] == [1, 2, 3]


def test_the_earliest_of_equals_is_selected() -> None:
    assert selected_of([{"epoch": 1, "robust_error/test": 0.1}]) is None
    rows = []
    for epoch, robust, clean in ((1, 0.5, 0.1), (2, 0.4, 0.3), (3, 0.4, 0.2), (4, 0.4, 0.2)):
        rows.append({"epoch": epoch, "robust_error/validation": robust, "clean_error/validation": clean})
    assert selected_of(rows).epoch == 3


def test_two_processes_do_not_write_into_one_run(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run")
    with Run(tmp_path / "run").locked():
        refused(lambda: monitor(busy_network(), 1), "another process")
    assert monitor(busy_network(), 1)


def test_without_a_name_each_gets_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(THREAT, n=5)
    parts = parts_of({"train": TRAIN, "test": TRAIN}, settings)
    paths = [Journal.begin(None, settings, parts, names=("a", "b")).run.path for _ in range(2)]
    assert paths[0] != paths[1]
    assert all(path.parent == Path("runs") and path.name.startswith("monitor-") for path in paths)
