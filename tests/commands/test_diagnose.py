"""cgro diagnose from the shell: every kind of target, the card, and one clear line for what cannot be diagnosed."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.diagnosis.writers import four, write_log

from cgro.cli import main
from cgro.models import build
from cgro.runs import Run

TINY = ["--data", "digits", "--n-train", "120", "--n-test", "60", "--model", "mlp", "--epochs", "12", "--radius", "0.1",
        "--attack", "pgd2", "--eval-attack", "pgd2", "--eval-n", "60", "--lr", "0.005", "--device", "cpu"]  # fmt: skip
WEIGHTS = [
    "--data",
    "digits",
    "--model",
    "mlp",
    "--radius",
    "0.1",
    "--attack",
    "pgd2",
    "--n",
    "60",
    "--lint-n",
    "30",
    "--device",
    "cpu",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "output.log"
    path.write_text(write_log(four(80), rng=np.random.default_rng(0), drops=(47,), restarts=(20,)))
    return path


def fails(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["diagnose", *map(str, argv)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_a_log_gives_a_card_a_figure_and_json(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["diagnose", str(log), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("robust_overfitting: ")
    assert "Evaluation lint: not run" in text
    assert (out / "figures" / "diagnosis.png").exists()
    result = Run(out).summary
    assert result["diagnoses"][0]["rise"]["onset"] == pytest.approx(50, abs=1)
    assert result["diagnoses"][0]["aligned"] == 47
    assert main(["diagnose", str(log), "--out", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result


def test_a_table_with_mapped_columns(tmp_path: Path) -> None:
    test = four(80)["robust_error/test"]
    path = tmp_path / "x.csv"
    path.write_text("step,pgd\n" + "\n".join(f"{t},{100 - 100 * v}" for t, v in enumerate(test)))
    argv = ["diagnose", str(path), "--map", "epoch=step,robust_accuracy/test=pgd", "--out", str(tmp_path / "o")]
    assert main(argv) == 0
    assert Run(tmp_path / "o").summary["verdict"]["label"] == "robust_overfitting"


def test_runs_of_one_and_of_several_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "--seeds", "2", "--out", str(tmp_path / "r")]) == 0
    for target, n in ((tmp_path / "r", 2), (tmp_path / "r" / "seed-0", 1)):
        assert (
            main(["diagnose", str(target), "--lint-n", "30", "--out", str(tmp_path / f"d{n}"), "--device", "cpu"]) == 0
        )
        result = Run(tmp_path / f"d{n}").summary
        assert len(result["diagnoses"]) == n
        assert len(result["diagnoses"][0]["lint"]) == 14
    assert "Evaluation lint" in capsys.readouterr().out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints"
    path.mkdir()
    for epoch in range(1, 4):
        model = build("mlp", (1, 8, 8), 10, seed=epoch)
        torch.save(model.state_dict(), path / f"model_{epoch}.pth")
        torch.save({"lr": 0.1}, path / f"opt_{epoch}.pth")
    return path


def test_a_folder_of_checkpoints_and_one_checkpoint(folder: Path, tmp_path: Path) -> None:
    assert main(["diagnose", str(folder), *WEIGHTS, "--out", str(tmp_path / "o")]) == 0
    assert [row["epoch"] for row in Run(tmp_path / "o").rows()] == [1, 2, 3]
    assert main(["diagnose", str(folder / "model_3.pth"), *WEIGHTS, "--out", str(tmp_path / "one")]) == 0
    result = Run(tmp_path / "one").summary
    assert result["verdict"]["scope"] == "point"
    assert {"clean_error/test", "robust_error/train"} <= set(result["metrics"])


def test_what_cannot_be_diagnosed_is_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "prose").write_text("nothing to see\nhere\n")
    assert "got nothing" in fails(capsys, tmp_path / "empty", *WEIGHTS)
    assert "--model and --radius" in fails(capsys, folder)
    assert "does not exist" in fails(capsys, tmp_path / "missing")
    assert "a training log" in fails(capsys, tmp_path / "prose")
    assert "TARGET" in fails(capsys)
    other = [*WEIGHTS, "--width", "8"]
    assert "another network" in fails(capsys, folder, *other, "--out", tmp_path / "x")
    (folder / "model_4.pth").write_bytes(pickle.dumps({"weights": subprocess.run}))
    assert "refused" in fails(capsys, folder, *WEIGHTS, "--out", tmp_path / "y")
    torch.save(build("lenet5", (1, 28, 28), 10).state_dict(), folder / "model_4.pth")
    line = fails(capsys, folder, *WEIGHTS, "--out", tmp_path / "z")
    assert "missing 1.bias" in line


FOREIGN = '''
import torch
from types import SimpleNamespace

class Classifier(torch.nn.Module):
    """The output is an object with .logits, as in Hugging Face transformers."""
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    def forward(self, pixel_values):
        return SimpleNamespace(logits=self.net(pixel_values), loss=None)
'''


def test_a_users_own_class_with_an_output_object(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FOREIGN)
    code = "import torch, mine; torch.manual_seed(0); torch.save(mine.Classifier().state_dict(), 'w.pt')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    argv = ["diagnose", "w.pt", *WEIGHTS, "--model", "mine:Classifier", "--out", "o"]
    done = subprocess.run([sys.executable, "-m", "cgro.cli", *argv], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Evaluation lint" in done.stdout
