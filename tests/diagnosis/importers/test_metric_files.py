"""Folders with one file for each metric: steps, settings, several runs, and what is cut, damaged or of no step."""

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.formats import ACC, CTE, CTR, RTE, RTR, N

from cgro._check import BadRequest
from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers.metric_files import is_metric, metrics_in
from cgro.diagnosis.importers.told import parse_map

NAMES = {"train/acc": CTR, "train/robust_acc": RTR, "test/acc": CTE, "test/robust_acc": RTE}


def mlflow(run: Path, values: Mapping[str, list[float]], *, step: str = " {e}") -> Path:
    """A run in MLflow's store of files, with two settings."""
    for name, column in values.items():
        path = run / "metrics" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"17000000{e:05d} {value}" + step.format(e=e) + "\n" for e, value in enumerate(column)))
    for name, value in {"epsilon": "8/255", "attack": "pgd"}.items():
        (run / "params").mkdir(parents=True, exist_ok=True)
        (run / "params" / name).write_text(value)
    (run / "meta.yaml").write_text("status: 3\n")
    return run


def dvclive(folder: Path, values: Mapping[str, list[float]], *, timed: bool = False) -> Path:
    for name, column in values.items():
        path = folder / "plots" / "metrics" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        before = "timestamp\t" if timed else ""
        lines = [f"{before}step\t{path.stem}"]
        for e, value in enumerate(column):
            lines.append(("1700000000000\t" if timed else "") + f"{e}\t{value}")
        path.write_bytes("".join(line + "\r\n" for line in lines).encode())
    (folder / "metrics.json").write_text('{"step": 1}')
    return folder


def accuracies() -> dict[str, list[float]]:
    return {name: [round(float(value), 6) for value in ACC[curve]] for name, curve in NAMES.items()}


def read(path: Path, columns: str = "") -> Curves:
    (found,) = read_curves(path, parse_map(columns))
    return found


def assert_true(found: Curves, first: int = 0) -> None:
    assert found.epoch.tolist() == list(range(first, first + N))
    for curve in NAMES.values():
        assert np.allclose(found[curve], 1 - ACC[curve], atol=1e-6)


@pytest.mark.parametrize("step", [" {e}", " {e} train-set 7c9f"])
def test_mlflow(tmp_path: Path, step: str) -> None:
    run = mlflow(tmp_path / "mlruns" / "0" / "abc", accuracies(), step=step)
    found = read(run)
    assert_true(found)
    assert found.meta["settings"] == {"epsilon": "8/255", "attack": "pgd"}
    assert found.meta["attack"] == "pgd"
    assert "radius 8/255" in found.remarks[0]
    assert_true(read(run / "metrics"))


@pytest.mark.parametrize("timed", [False, True])
def test_dvclive(tmp_path: Path, timed: bool) -> None:
    folder = dvclive(tmp_path / "dvclive", accuracies(), timed=timed)
    assert_true(read(folder))
    assert_true(read(folder / "plots" / "metrics"))


def test_values_without_steps_are_numbered_and_those_of_other_lengths_refused(tmp_path: Path) -> None:
    """MLflow writes step 0 where a program gives none."""
    run = mlflow(tmp_path / "run", {**accuracies(), "best": [0.5]}, step=" 0")
    found = read(run)
    assert_true(found, first=1)
    assert any("'best': left out" in remark for remark in found.remarks)
    assert any("number" in remark for remark in found.remarks)
    other = {**accuracies(), "test/acc": [0.5, 0.6, 0.7]}
    refused(lambda: read(mlflow(tmp_path / "other", other, step=" 0")), "expected steps", "step=epoch")


def test_files_without_values_are_refused(tmp_path: Path) -> None:
    refused(lambda: read(dvclive(tmp_path / "a", {"test/acc": []})), "files without any")
    run = mlflow(tmp_path / "b", {"step": [0.0]})
    refused(lambda: read(run), "files without any")


def test_several_runs_are_asked_for_by_name(tmp_path: Path) -> None:
    for run in ("a", "b"):
        mlflow(tmp_path / "0" / run, accuracies())
    refused(lambda: read_curves(tmp_path), "0/a, 0/b", "name one")
    refused(lambda: read_curves(tmp_path / "0"), "a, b", "name one")
    dvclive(tmp_path / "project" / "dvclive", accuracies())
    refused(lambda: read_curves(tmp_path / "project"), "below it dvclive;")
    refused(lambda: read_curves(tmp_path / "0" / "a" / "metrics" / "test" / "acc"), "one metric of MLflow", "folder")


def test_steps_of_another_counter_are_left_out(tmp_path: Path) -> None:
    """The training accuracy of every batch beside evaluations by epoch: batch 9 is not epoch 9."""
    values = accuracies()
    values["train/acc"] = list(np.linspace(0.3, 0.9, 40 * N))
    found = read(mlflow(tmp_path / "run", values))
    assert found.epoch.tolist() == list(range(N))
    assert not found.has(CTR)
    assert np.allclose(found[RTE], 1 - ACC[RTE], atol=1e-6)
    assert any("'train/acc': left out" in remark and f"end at {N - 1}" in remark for remark in found.remarks)
    values["train/acc"] = values["train/acc"][: 2 * N]  # evaluations that ended half way are no other counter
    assert read(mlflow(tmp_path / "half", values)).has(CTR)


def test_steps_of_the_optimizer_are_asked_for(tmp_path: Path) -> None:
    run = mlflow(tmp_path / "run", accuracies(), step=" {e}00")
    refused(lambda: read(run), "epoch=step")
    assert np.allclose(read(run, "epoch=step").measured(RTE)[1], 1 - ACC[RTE], atol=1e-6)


def test_values_again_and_a_metric_called_step(tmp_path: Path) -> None:
    run = mlflow(tmp_path / "run", {**accuracies(), "step": [float(e) for e in range(N)]})
    path = run / "metrics" / "test" / "acc"
    path.write_text("1600000000000 0.01 3\n" + path.read_text())
    found = read(run)
    assert_true(found)
    assert any("1 value of the same step" in remark for remark in found.remarks)
    assert any(remark.endswith("beside their values") for remark in found.remarks)


@pytest.mark.parametrize("write", [mlflow, dvclive])
def test_a_line_without_an_end_is_left_out_and_a_damaged_one_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    run = write(tmp_path / "run", accuracies())
    (path,) = run.rglob("robust_acc*") if (run / "train").exists() else list(run.rglob("test/robust_acc*"))
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip()[:-1])
    found = read(run)
    assert not np.isfinite(found[RTE][-1])
    assert any("has no end and is left out" in remark for remark in found.remarks)
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], b"nonsense\n", *lines[6:]]))
    refused(lambda: read(run), "line 6", "nonsense")


def test_links_and_other_files_are_no_metrics(tmp_path: Path) -> None:
    run = mlflow(tmp_path / "run", accuracies())
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "metrics").symlink_to(run / "metrics")
    assert metrics_in(tmp_path / "linked") is None
    (run / "params" / "secret").symlink_to("/etc/hostname")
    (run / "metrics" / "linked_acc").symlink_to("/etc/hostname")
    found = read(run)
    assert_true(found)
    settings = found.meta["settings"]
    assert isinstance(settings, dict)
    assert "secret" not in settings
    (run / "metrics" / "notes").write_text("hello\n")
    assert metrics_in(run) is None
    assert not is_metric("epoch 3 acc 0.5")


@pytest.mark.parametrize("name", [b"a\x1b[2Jb", b"acc\xff", b"acc\n"])
def test_names_that_cannot_be_printed_are_no_metrics(tmp_path: Path, name: bytes) -> None:
    run = mlflow(tmp_path / "run", accuracies())
    (run / "metrics" / os.fsdecode(name)).write_text("1700000000000 0.5 0\n")
    assert metrics_in(run) is None


def test_more_files_than_a_run_has_are_refused(tmp_path: Path) -> None:
    mlflow(tmp_path, {f"m{k}": [0.5] for k in range(1001)})
    refused(lambda: metrics_in(tmp_path), "at most 1,000 metrics")


def test_damage_anywhere_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    chance = random.Random(0)
    for k in range(60):
        run = (mlflow, dvclive)[k % 2](tmp_path / str(k), accuracies())
        path = chance.choice([path for path in run.rglob("*") if path.is_file()])
        content = bytearray(path.read_bytes())
        place = chance.randrange(len(content))
        if k % 3:
            content[place] = chance.randrange(256)
        path.write_bytes(content if k % 3 else content[:place])
        try:
            read(run)
        except BadRequest as error:
            assert str(error).isprintable()
