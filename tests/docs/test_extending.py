"""docs/extending.md: its examples are files that the command line runs, resumes, and that Python imports."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.training.cases import ATTACK
from torch import nn

from cgro.cli import main
from cgro.data import load
from cgro.models import build
from cgro.runs import Run
from cgro.training import Adversarial, Extension, Recipe, evaluated, fit
from cgro.training.checkpoint import EVALUATED

TEXT = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
REMEDY, AVERAGE, SCRIPT = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
CAPPED, AVERAGED = re.findall(r"```sh\ncgro (.*?)\n```", TEXT, re.DOTALL)
SMALLER = ["--n-train", "100", "--n-test", "50", "--attack", "pgd2", "--eval-attack", "pgd2", "--final-n", "50"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The two files of the page, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("remedies.py").write_text(REMEDY)
    Path("averaging.py").write_text(AVERAGE)
    yield tmp_path
    for name in ("remedies", "averaging"):
        sys.modules.pop(name, None)


def test_the_objective_is_short() -> None:
    assert len([line for line in REMEDY.splitlines() if line.strip()]) <= 15


def test_the_objective_runs_from_the_command_line() -> None:
    assert main([*shlex.split(CAPPED), *SMALLER]) == 0
    run = Run(Path("runs/capped"))
    assert run.config["objective"] == "remedies:Capped:cap=3.5"
    # A cap that every loss of an untrained network, ln 10 = 2.3, exceeds.
    lower = CAPPED.replace("cap=3.5", "cap=1.5").replace("runs/capped", "runs/lower")
    assert main([*shlex.split(lower), *SMALLER]) == 0
    assert all(row["train_loss"] <= 1.5 for row in Run(Path("runs/lower")).rows())
    assert any(row["train_loss"] > 1.5 for row in run.rows())


def test_the_extension_runs_from_the_command_line_and_is_resumed_only_when_it_is_trusted() -> None:
    assert main([*shlex.split(AVERAGED), *SMALLER]) == 0
    run = Run(Path("runs/averaged"))
    before = (run.path / "checkpoints" / EVALUATED).read_bytes()
    (run.path / "summary.json").unlink()
    assert main(["train", "--resume", "runs/averaged"]) == 2
    assert (
        main(["train", "--resume", "runs/averaged", "--objective", "remedies:Capped", "--extension", "averaging:SWA"])
        == 0
    )
    assert (run.path / "checkpoints" / EVALUATED).read_bytes() == before
    assert main(["evaluate", "runs/averaged", "--n", "20", "--trust"]) == 0


class Notes(Extension):
    """The weights after epochs 2 and 3."""

    def begin(self, model: nn.Module) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        if epoch >= 2:
            self.states.append({key: value.clone() for key, value in model.state_dict().items()})


def test_the_extension_averages_what_it_says() -> None:
    names: dict = {}
    exec(AVERAGE, names)
    data = load("digits", n_train=40, n_test=20)
    model = build("mlp", data.shape, 10, width=8)
    extensions = swa, notes = names["SWA"](start=2), Notes()
    fit(model, data, Adversarial(ATTACK), Recipe(epochs=3, batch_size=20, lr=0.1), extensions=extensions)
    assert len(notes.states) == 2
    for key, value in evaluated(model, (swa,)).state_dict().items():
        torch.testing.assert_close(value, (notes.states[0][key] + notes.states[1][key]) / 2)


def test_the_script_runs(capsys: pytest.CaptureFixture) -> None:
    names: dict = {}
    exec(SCRIPT, names)
    assert names["network"] is not names["model"]
    assert capsys.readouterr().out.startswith("completed 0.")
