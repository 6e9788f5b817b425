"""Run directories: atomic, versioned, resumable, and refused in one line when they are not what they should be."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from cgro import runs
from cgro._check import BadRequest
from cgro.runs import Run, dump_json, over_seeds, plain, summary, write_atomic

CONFIG = {"seed": 3, "radius": "8/255", "parts": ("a", "b")}


def result(**more: object) -> dict:
    return summary(
        "train", seed=3, threat=None, outcome={"kind": "completed", "reason": ""}, verdict=None, metrics={}, **more
    )


def test_life_of_a_run(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "r", "train", CONFIG)
    assert not run.finished
    assert run.config == {"command": "train", "seed": 3, "radius": "8/255", "parts": ["a", "b"]}
    run.write_rows([{"epoch": 1, "loss": np.float64(0.5)}, {"epoch": 2, "loss": float("nan")}])
    assert run.rows() == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}]
    assert Run.start(tmp_path / "r", "train", CONFIG) == run  # taken up again
    run.finish(result())
    assert Run.open(tmp_path / "r").summary["schema"] == runs.SCHEMA
    with pytest.raises(ValueError, match="--overwrite"):
        Run.start(tmp_path / "r", "train", CONFIG)
    assert not Run.start(tmp_path / "r", "train", CONFIG, overwrite=True).finished


def test_refusals(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "r", "train", CONFIG)
    for call, words in (
        (lambda: Run.start(tmp_path / "r", "train", {**CONFIG, "seed": 4}), "other settings"),
        (lambda: run.summary, "unfinished"),
        (lambda: Run.open(tmp_path / "nothing"), "config.yaml"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="expected"):
            Run.start(tmp_path / "mine", "train", CONFIG, overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.tex").exists()
    write_atomic(run.path / "environment.json", dump_json({"schema": 99}))
    with pytest.raises(ValueError, match="schema 1"):
        Run.open(run.path)
    (run.path / "environment.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Run.open(run.path)


def test_two_processes_on_one_run(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "r", "train", CONFIG)
    with run.locked(), pytest.raises(ValueError, match="another process"), Run(run.path).locked():
        pass
    with run.locked():
        pass


def test_a_full_disk_keeps_the_old_file_and_leaves_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runs.os, "fsync", full)
    with pytest.raises(ValueError, match="the disk is full") as caught:
        write_atomic(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_rows_cut_short_by_a_kill_are_recognised(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "r", "train", CONFIG)
    (run.path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo')
    assert run.rows() == [{"epoch": 1}]
    (run.path / "metrics.jsonl").write_text('{"epo\n{"epoch": 1}\n')
    with pytest.raises(ValueError, match="line 1"):
        run.rows()


def test_json_is_strict() -> None:
    text = dump_json({"p": np.inf, "gap": np.nan, "u": np.array([1.0, -np.inf]), "n": np.int64(3)})
    assert json.loads(text, parse_constant=lambda c: pytest.fail(c)) == {
        "p": "inf",
        "gap": None,
        "u": [1.0, "-inf"],
        "n": 3,
    }
    assert plain(Path("a") / "b") == "a/b"


def test_spread_over_seeds() -> None:
    m = over_seeds([{"metrics": {"e": {"value": v}, **extra}} for v, extra in ((0.1, {}), (0.3, {"x": {"value": 1}}))])
    assert list(m) == ["e"]
    assert m["e"]["sd"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert over_seeds([{"metrics": {"e": {"value": None}}}])["e"] == {"mean": None, "sd": None, "per_seed": [None]}


def test_a_finished_run_has_its_figures_whenever_it_is_killed(tmp_path: Path) -> None:
    """Killed while it draws a run is unfinished; the figures see the summary that is to come."""
    run, seen = Run.start(tmp_path / "r", "train", {"seed": 0}), []
    result = summary("train", seed=0, threat=None, outcome={}, verdict=None, metrics={})

    def dies(path: Path) -> None:
        seen.append(Run(path).result)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.finish(result, dies)
    assert not run.finished
    with pytest.raises(BadRequest, match="unfinished"):
        _ = run.summary
    run.finish(result, lambda path: seen.append(Run(path).finished))
    assert seen == [result, False]
    assert run.finished
    assert not list(run.path.glob(".summary*"))


def test_the_environment_names_the_instructions_and_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = runs.environment()["machine"]
    assert machine["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert ("gpu" in machine) == torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert runs.environment()["machine"]["gpu"] == "a GPU"
