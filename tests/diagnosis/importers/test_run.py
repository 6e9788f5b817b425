"""Runs of cgro train, written by hand: several seeds, sizes, standard training, and other runs."""

import json
from pathlib import Path

from tests.cases import refused

from cgro.diagnosis.importers import read_run


def write_run(path: Path, config: dict, rows: list[dict]) -> Path:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(json.dumps({"command": "train", **config}))
    (path / "environment.json").write_text(json.dumps({"schema": 1}))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


CONFIG = {"eval_attack": "pgd10", "attack": "pgd7", "eval_n": 500, "seed": 0}
ROWS = [{"epoch": e, "robust_error/test": 0.5 + e / 100, "lr": 0.1, "seconds": 3.0} for e in range(12)]


def test_curves_of_a_run(tmp_path: Path) -> None:
    (found,) = read_run(write_run(tmp_path / "run", CONFIG, ROWS))
    assert found["robust_error/test"].tolist() == [row["robust_error/test"] for row in ROWS]
    assert set(found.values) == {"robust_error/test", "lr"}
    assert (found.meta["attack"], found.standard) == ("pgd7", False)


def test_a_weight_of_zero_is_standard_training(tmp_path: Path) -> None:
    for number, config in enumerate(({"robust_weight": 0}, {"attack": "none"})):
        (found,) = read_run(write_run(tmp_path / str(number), CONFIG | config, ROWS))
        assert found.standard
        assert found.has("robust_error/test")  # measured by an attack, so no copy of the clean one


def test_each_seed_is_a_training(tmp_path: Path) -> None:
    write_run(tmp_path / "run", CONFIG, [])
    for seed in (0, 1):
        write_run(tmp_path / "run" / f"seed-{seed}", CONFIG | {"seed": seed}, ROWS)
    assert [one.meta["seed"] for one in read_run(tmp_path / "run")] == [0, 1]


def test_other_runs_and_runs_without_errors_are_refused(tmp_path: Path) -> None:
    refused(lambda: read_run(write_run(tmp_path / "a", {"command": "dynamics"}, ROWS)), "a run of cgro dynamics")
    refused(
        lambda: read_run(write_run(tmp_path / "b", CONFIG, [{"epoch": 1, "lr": 0.1}])),
        "got 1 epoch without a robust error on test",
    )
