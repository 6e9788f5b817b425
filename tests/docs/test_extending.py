"""docs/extending.md: its example is a file that the command line runs, and its call in Python works."""

import re
from pathlib import Path

import pytest

from cgro.cli import main
from cgro.data import load
from cgro.definitions import PGD, ThreatModel
from cgro.models import build
from cgro.runs import Run

TEXT = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
REMEDY, CALL = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(COMMAND,) = re.findall(r"```sh\ncgro (.*?)\n```", TEXT, re.DOTALL)


def test_the_example_is_short() -> None:
    assert len([line for line in REMEDY.splitlines() if line.strip()]) <= 15


def test_the_remedy_runs_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("remedies.py").write_text(REMEDY)
    more = ["--n-train", "100", "--n-test", "50", "--attack", "pgd2", "--eval-attack", "pgd2", "--final-n", "50"]
    assert main([*COMMAND.split(), *more]) == 0
    run = Run(Path("runs/capped"))
    assert run.config["objective"] == "remedies:Capped:cap=1.5"
    assert all(row["train_loss"] <= 1.5 for row in run.rows())


def test_the_call_from_python() -> None:
    data = load("digits", n_train=40, n_test=20)
    names = {
        "data": data,
        "model": build("mlp", data.shape, data.n_outputs, width=8),
        "attack": PGD(ThreatModel("inf", 0.1), n_steps=2),
    }
    exec(CALL.replace("epochs=20", "epochs=1"), names)
    assert names["network"] is not names["model"]
