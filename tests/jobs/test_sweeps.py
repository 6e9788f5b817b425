"""Seeds and phase diagrams carried out elsewhere end in the files of the plain command."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from tests.data.samples import class_folders

from cgro._check import BadRequest, CheckFailed
from cgro.commands import dynamics, train
from cgro.jobs import sweeps
from cgro.jobs.execute import Call, ThisProcess
from cgro.runs import Run

TINY: dict[str, Any] = {
    "data": "digits",
    "n_train": 60,
    "n_test": 30,
    "model": "mlp",
    "width": 8,
    "epochs": 1,
    "attack": "pgd2",
    "eval_attack": "pgd2",
    "device": "cpu",
    "threads": 1,
    "seeds": 2,
}
SWEEP: dict[str, Any] = {
    "n_steps": 100,
    "n_test": 50,
    "threads": 1,
    "sweep": "radius_ratio=0.5:2:2,robust_weight=0.2:0.8:3",
}


class Watched(Executor):
    """This process, with a note of every call; those that `fails` names fail."""

    def __init__(self, fails: str = "") -> None:
        self.names: list[str] = []
        self.fails = fails

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = args[0]
        assert isinstance(call, Call)
        self.names.append(call.name)
        if call.name == self.fails:
            future: Future[Any] = Future()
            future.set_exception(BadRequest("planted"))
            return future
        return ThisProcess().submit(fn, *args, **kwargs)


def weights(path: Path) -> list[bytes]:
    return [(path / f"seed-{seed}/checkpoints/last.safetensors").read_bytes() for seed in (0, 1)]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds by the plain command."""
    return train.run(train.Config(**TINY, out=str(tmp_path_factory.mktemp("plain") / "run"))).path or Path()


def test_a_seed_that_fails_stops_no_other_and_is_tried_again(
    seeds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = train.Config(**TINY, out=str(tmp_path / "run"))
    with pytest.raises(CheckFailed, match="1 of 2 runs failed: seed-0; the others are finished"):
        sweeps.run("train", config, Watched(fails="seed-0"))
    assert "failed  because\n  seed-0  planted" in capsys.readouterr().err
    assert not Run(tmp_path / "run").finished
    again = Watched()
    sweeps.run("train", config, again)
    assert again.names == ["seed-0"]
    assert weights(tmp_path / "run") == weights(seeds)
    assert Run(tmp_path / "run").summary["metrics"] == Run(seeds).summary["metrics"]
    assert Run(tmp_path / "run").config == Run(seeds).config


def test_seeds_on_data_that_are_streamed_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their runs say `stream: yes` where the command said auto."""
    monkeypatch.setattr("cgro.data.storage.SHARE_OF_MEMORY", 0.0)
    own = {**TINY, "data": class_folders(tmp_path / "own"), "n_train": None, "n_test": None, "final_n": 4}
    config = train.Config(**own, out=str(tmp_path / "run"))
    watched = Watched()
    assert sweeps.run("train", config, watched).finished
    assert watched.names == ["seed-0", "seed-1"]
    assert Run(tmp_path / "run" / "seed-1").config["stream"] == "yes"


def test_processes_of_the_library_carry_seeds_out(seeds: Path, tmp_path: Path) -> None:
    """As docs/clusters.md shows it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        sweeps.run("train", train.Config(**TINY, out=str(tmp_path / "run")), executor)
    assert weights(tmp_path / "run") == weights(seeds)


def test_every_run_that_fails_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = train.Config(**{**TINY, "data": str(tmp_path / "nothing.npz")}, out=str(tmp_path / "run"))
    with pytest.raises(CheckFailed, match="2 of 2 runs failed: seed-0, seed-1"):
        sweeps.run("train", config, ThisProcess())
    assert "nothing.npz" in capsys.readouterr().err


def test_a_phase_diagram_has_the_rows_of_the_plain_command(tmp_path: Path) -> None:
    dynamics.run(dynamics.Config(**SWEEP, out=str(tmp_path / "plain")))
    executor = Watched()
    sweeps.run("dynamics", dynamics.Config(**SWEEP, out=str(tmp_path / "run")), executor)
    assert executor.names == ["cells-0", "cells-3"]  # one run per value of the first parameter
    for name in ("metrics.jsonl", "config.yaml", "figures/phase.svg"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_rows_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    config = dynamics.Config(**SWEEP, out=str(tmp_path / "run"))
    sweeps.run("dynamics", config, Watched())
    rows = Run(tmp_path / "run").rows()
    (tmp_path / "run/summary.json").unlink()
    Run(tmp_path / "run").write_rows(rows[:4])
    executor = Watched()
    sweeps.run("dynamics", config, executor)
    assert executor.names == []  # the second part has its own run
    assert Run(tmp_path / "run").rows() == rows


@pytest.mark.parametrize(
    ("command", "config", "message"),
    [
        ("train", train.Config(**{**TINY, "seeds": 1}), "expected several --seeds"),
        ("train", train.Config(**TINY, resume="run"), "--resume: expected none"),
        ("train", train.Config(**{**TINY, "radius": "-1"}), "radius"),
        ("dynamics", dynamics.Config(), "expected a whole --sweep"),
        ("dynamics", dynamics.Config(**SWEEP, cells="0:2"), "expected a whole --sweep"),
        ("dynamics", dynamics.Config(sweep="lr=-1:2:2"), "lr"),
    ],
)
def test_what_is_no_sweep_is_refused_before_any_run(command: str, config: Any, message: str, tmp_path: Path) -> None:
    config.out = str(tmp_path / "run")
    with pytest.raises(BadRequest, match=message):
        sweeps.run(command, config, Watched())
    assert not list(tmp_path.glob("run/seed-*"))


@pytest.mark.parametrize("text", ["3", "4:2", "0:7", "a:b", "2:2", "-1:2"])
def test_other_cells_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="--cells: expected first:end within 0:6"):
        dynamics.run(dynamics.Config(**SWEEP, cells=text, out=str(tmp_path / "run")))
