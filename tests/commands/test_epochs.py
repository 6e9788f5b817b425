"""The curve of robust error over kept checkpoints."""

import json
import shutil
from pathlib import Path

import pytest

from cgro.cli import main

TINY = ["--data", "digits", "--n-train", "120", "--n-test", "60", "--model", "mlp", "--epochs", "2", "--radius", "0.1",
        "--attack", "pgd2", "--eval-attack", "pgd3", "--lr", "0.005", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def with_epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluate") / "epochs"
    assert main(["train", *TINY, "--epochs", "4", "--keep-every", "2", "--out", str(out)]) == 0
    return out


def test_the_curve_over_kept_checkpoints_is_that_of_each_alone(with_epochs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(with_epochs, tmp_path / "run"))
    assert main(["evaluate", str(run), "--attack", "apgd", "--parts", "test", "--n", "40", "--per-epoch"]) == 0
    (curves,) = json.loads((run / "summary.json").read_text())["curves"].values()
    assert [(r["epoch"], r["complete"]) for r in curves["test"]] == [(2, True), (4, True)]
    assert (run / "figures" / "robust_error_by_epoch.svg").exists()
    for row in curves["test"]:
        weights = run / "checkpoints" / f"epoch-{row['epoch']:04d}.safetensors"
        words = ["--data", "digits", "--model", "mlp", "--radius", "0.1", "--attack", "apgd", "--device", "cpu"]
        out = tmp_path / f"alone-{row['epoch']}"
        assert main(["evaluate", str(weights), *words, "--parts", "test", "--n", "40", "--out", str(out)]) == 0
        alone = json.loads((out / "summary.json").read_text())["metrics"]["robust_error/test"]
        assert row["wrong"] >= alone["wrong"]
        assert row["wrong"] <= alone["wrong"] + 2
        assert sum(row["broken_by"].values()) == row["wrong"]
