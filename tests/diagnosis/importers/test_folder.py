"""A folder with a log in it: which file is read, and when one is asked."""

from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.formats import ACC, RTE, lightning, plain
from tests.diagnosis.importers.test_run import CONFIG, ROWS, write_run

from cgro.diagnosis import read_curves


def test_the_only_file_with_curves_is_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(lightning())
    (tmp_path / "hparams.yaml").write_text("lr: 0.1\n")
    (tmp_path / "notes.txt").write_text("nothing here\n")
    (tmp_path / "checkpoints").mkdir()
    (found,) = read_curves(tmp_path)
    assert np.allclose(found["robust_error/validation"], 1 - ACC[RTE], atol=1e-6)


@pytest.mark.parametrize("config", ["trainer:\n  max_epochs: 50\n", "defaults: [a]\n", "wandb_version: 1\n"])
def test_the_config_of_another_program_makes_no_run_of_a_folder(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.yaml").write_text(config)
    refused(lambda: read_curves(tmp_path), "expected a run directory (with a config.yaml of cgro)")
    (tmp_path / "metrics.csv").write_text(lightning())
    (found,) = read_curves(tmp_path)
    assert found.has("robust_error/validation")


def test_a_damaged_run_is_not_read_as_the_log_in_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CONFIG, ROWS)
    (run / "environment.json").unlink()
    refused(lambda: read_curves(run), "environment.json: expected a file, got none")
    (run / "environment.json").write_text('{"schema": 1, "cgro": "1.0"}')
    (run / "config.yaml").write_text("")
    refused(lambda: read_curves(run), "config.yaml: expected a YAML mapping")


def test_two_files_are_asked_for_by_name(tmp_path: Path) -> None:
    for name in ("a.csv", "b.log"):
        (tmp_path / name).write_text(plain())
    refused(lambda: read_curves(tmp_path), "a.csv", "b.log", "name one")


def test_more_files_than_are_tried_are_not_called_without_curves(tmp_path: Path) -> None:
    """Planted: the first 30 were tried, and the log among them was said to be the only one."""
    for k in range(35):
        (tmp_path / f"b{k:02d}.txt").write_text("nothing here\n")
    (tmp_path / "a_old.log").write_text(plain())
    (tmp_path / "z_train.log").write_text(plain())
    refused(lambda: read_curves(tmp_path), "at most 30 files that may be logs, got 37", "name the log")
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "z.log").write_text(plain())
    for k in range(29):
        (tmp_path / "only" / f"b{k:02d}.txt").write_text("nothing here\n")
    assert read_curves(tmp_path / "only")


def test_a_log_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,2\n")
    refused(lambda: read_curves(tmp_path), "metrics.csv", "no column could be mapped to an error or accuracy")


def test_a_folder_without_any_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("nothing\n")
    refused(lambda: read_curves(tmp_path), "expected a run directory")
