"""cgro diagnose from the shell: every kind of target, the card, and one clear line for what cannot be diagnosed."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.diagnosis.formats import lightning, mart
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


def test_a_folder_with_one_log_is_that_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As Lightning leaves it; what was read as what stands on the card, with its unit and its missing values."""
    folder = tmp_path / "version_0"
    folder.mkdir()
    (folder / "hparams.yaml").write_text("lr: 0.1\n")
    (folder / "metrics.csv").write_text(lightning().replace("0.1,", "0.2,", 1))
    assert main(["diagnose", str(folder), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "metrics.csv is read" in said.err
    assert "- robust error, validation: 1 - column 'val_robust_acc', an accuracy as a fraction" in said.out
    (folder / "again.csv").write_text(lightning())
    assert "name one" in fails(capsys, folder)
    (folder / "again.csv").unlink()
    (folder / "epoch=1.ckpt").touch()
    assert "--model" in fails(capsys, folder)  # its checkpoints may be what is meant


def test_the_output_of_mart_is_read_as_it_says_and_the_card_says_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.out"
    path.write_text("Namespace(model='wideresnet', epsilon=0.031, num_steps=10)\n" + mart())
    assert main(["diagnose", str(path), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "the log says of itself: radius 0.031, attack steps 10, network wideresnet" in text
    assert "- robust error, test: 1 - column 'robust_acc', an accuracy as a fraction" in text


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
        assert len(result["diagnoses"][0]["lint"]) == 16
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
    assert "expected a run, checkpoints, a table or a log, got nothing" in fails(capsys, tmp_path / "empty")
    (tmp_path / "hf" / "checkpoint-500").mkdir(parents=True)
    (tmp_path / "hf" / "checkpoint-500" / "model.safetensors").touch()
    (tmp_path / "hf" / "checkpoint-500" / "log.csv").write_text(lightning())
    assert "--model and --radius" in fails(capsys, tmp_path / "hf")
    (tmp_path / "hf" / "checkpoint-500" / "model.safetensors").unlink()
    assert "below it checkpoint-500/log.csv; name one" in fails(capsys, tmp_path / "hf")
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


def test_checkpoints_that_store_other_epochs_than_their_names_are_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epoch in (1, 2, 3):
        path = folder / f"model_{epoch}.pth"
        torch.save({"net": torch.load(path, weights_only=True), "epoch": 40 - 10 * epoch}, path)
    assert "epoch 30 in model_1.pth" in fails(capsys, folder, *WEIGHTS, "--out", tmp_path / "x")
    told = [*WEIGHTS, "--pattern", "model_{epoch}*", "--out", str(tmp_path / "o")]
    assert main(["diagnose", str(folder), *told]) == 0


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


def test_a_text_by_patterns(tmp_path: Path) -> None:
    path = tmp_path / "train.out"
    lines = [f"Epoch {t}/80, PGD accuracy = {100 - 100 * v:.4f}%" for t, v in enumerate(four(80)["robust_error/test"])]
    path.write_text("\n".join(lines))
    columns = r"epoch=/Epoch (\d+)/,robust_accuracy/test=/PGD accuracy = ([\d.]+)/"
    assert main(["diagnose", str(path), "--map", columns, "--out", str(tmp_path / "o")]) == 0
    assert Run(tmp_path / "o").summary["verdict"]["label"] == "robust_overfitting"


@pytest.mark.parametrize(
    ("checks", "code", "said"),
    [
        (["--fail-on", "robust_overfitting"], 1, "the label is robust_overfitting"),
        (["--fail-on", "collapsed,robust_overfitting"], 1, "the label is robust_overfitting"),
        (["--fail-on", "collapsed", "--fail-on", "cgro"], 0, ""),
        (["--max", "robust_error/test=0.3"], 1, "robust_error/test is"),
        (["--max", "robust_error/test=0.9", "--max", "rise/robust_error/test=0.01"], 1, "rise/robust_error/test is"),
        (["--max", "robust_error/test=0.9"], 0, ""),
        (["--max", "accuracy=0.9"], 2, "robust_error/test@last_five"),
        (["--max", "0.9"], 2, "KEY=VALUE"),
        (["--fail-on", "overfitting"], 2, "robust_overfitting"),
    ],
)
def test_checks_for_continuous_integration(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], checks: list[str], code: int, said: str
) -> None:
    assert main(["diagnose", str(log), "--json", "--out", str(tmp_path / "o"), *checks]) == code
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == (code > 0)
    if code < 2:  # who fails the build also reads why
        assert json.loads(out)["verdict"]["label"] == "robust_overfitting"


def test_a_number_just_above_what_is_allowed_is_not_printed_as_it(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", str(log), "--json", "--out", str(tmp_path / "o")]) == 0
    entry = json.loads(capsys.readouterr().out)["metrics"]["robust_error/test@last_five"]
    found = next(entry[name] for name in ("value", "mean") if entry.get(name) is not None)
    allowed = f"robust_error/test@last_five={found - 1e-7!r}"
    assert main(["diagnose", str(log), "--json", "--out", str(tmp_path / "p"), "--max", allowed]) == 1
    shown, most = re.search(r"is (\S+), above (\S+) ", capsys.readouterr().err).groups()
    assert shown != most


def test_seeds_in_one_table_are_several_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, lines = tmp_path / "seeds.csv", ["seed,epoch,test_robust_acc"]
    for seed in range(3):
        test = four(80, gap=0.0 if seed == 1 else 0.06, seed=seed)["robust_error/test"]
        lines += [f"{seed},{t},{1 - v}" for t, v in enumerate(test)]
    path.write_text("\n".join(lines))
    assert main(["diagnose", str(path), "--out", str(tmp_path / "o"), "--fail-on", "too_little_evidence"]) == 1
    assert "robust_overfitting: 2 of 3 seeds" in capsys.readouterr().out
    assert len(Run(tmp_path / "o").summary["diagnoses"]) == 3


def test_training_without_an_attack_says_so_everywhere(tmp_path: Path) -> None:
    argv = [*TINY, "--attack", "none", "--epochs", "30", "--n-train", "500", "--radius", "0.3"]
    assert main(["train", *argv, "--out", str(tmp_path / "r")]) == 0
    assert Run(tmp_path / "r").summary["verdict"]["label"] == "standard_training"
    assert main(["diagnose", str(tmp_path / "r"), "--lint-n", "0", "--out", str(tmp_path / "d")]) == 0
    assert Run(tmp_path / "d").summary["verdict"]["label"] == "standard_training"


def test_a_figure_without_a_known_curve_warns_of_nothing(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"loss": [1.0] * 20, "val_accuracy": [0.5] * 20}))
    assert main(["diagnose", str(path), "--out", str(tmp_path / "o")]) == 0
    assert not [one for one in recwarn if "matplotlib" in str(one.filename)]


def test_a_folder_says_how_it_was_read_and_asks_for_averages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for e in (1, 2, 3):
        weights = build("mlp", (1, 8, 8), 10, seed=e).state_dict()
        average = build("mlp", (1, 8, 8), 10, seed=9).state_dict()
        torch.save({"net": weights, "ema": average}, tmp_path / f"ckpt_{e}_acc{90 - 7.25 * e}.pth")
    torch.save(weights, tmp_path / "best.pth")
    assert "--weights" in fails(capsys, tmp_path, *WEIGHTS)
    (tmp_path / "best.pth").unlink()
    assert "net, ema" in fails(capsys, tmp_path, *WEIGHTS)
    out = tmp_path / "o"
    assert main(["diagnose", str(tmp_path), *WEIGHTS, "--weights", "ema", "--out", str(out)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert "3 checkpoints ckpt_{epoch}_accN, epochs 1 to 3" in said
    assert [line for line in said if "under ema" in line] == ["ckpt_1_acc82.75.pth: the weights under ema are used"]
    errors = [row["clean_error/test"] for row in Run(out).rows()]
    assert len(set(errors)) == 1
