"""The table of stored networks: means over seeds, and PGD beside the ensemble on the same images."""

from pathlib import Path

import msgspec
import pytest
from tests.report.runs import COMPLETED, DATA, METRIC, MODEL, THREAT, make_run, settings, train_summary

from cgro._check import BadRequest
from cgro.report.networks import networks
from cgro.results import EvaluateSummary, Metric


def error(value: float) -> Metric:
    return msgspec.structs.replace(METRIC, value=value, wrong=round(100 * value), n=100, interval=(0.0, 1.0))


def train(folder: Path, name: str, seed: int, robust: float) -> None:
    metrics = {
        "clean_error/test": error(0.1),
        "robust_error/test": error(robust),
        "robust_error/train": error(0.0),
    }
    path = folder / "runs" / name / f"seed-{seed}"
    make_run(path, config=settings("digits"), summary=train_summary(metrics=metrics))


def evaluate(folder: Path, name: str, attack: str, robust: float) -> None:
    found = EvaluateSummary(
        command="evaluate",
        seed=0,
        threat=THREAT,
        outcome=COMPLETED,
        verdict=None,
        metrics={"robust_error/test": error(robust)},
        data=DATA,
        model=MODEL,
        evaluations={},
    )
    path = folder / "runs" / "evaluations" / f"{name}-{attack}"
    make_run(path, config=settings("digits"), summary=found)


def test_without_networks_there_is_no_section(tmp_path: Path) -> None:
    assert networks(tmp_path, "cpu") == []
    evaluate(tmp_path, "a-seed-0", "pgd", 0.5)
    assert networks(tmp_path, "cpu") == []


def test_accuracies_are_means_over_seeds_and_the_last_column_is_what_pgd_flatters(tmp_path: Path) -> None:
    for seed, robust in enumerate((0.5, 0.7)):
        train(tmp_path, "lenet", seed, robust)
    train(tmp_path, "alone", 0, 0.25)
    evaluate(tmp_path, "lenet-seed-0", "pgd", 0.5)
    evaluate(tmp_path, "lenet-seed-0", "ensemble", 0.54)
    evaluate(tmp_path, "lenet-seed-1", "pgd", 0.5)  # the ensemble is not there yet
    rows = [line for line in networks(tmp_path, "cpu") if line.startswith("| `")]
    assert rows == [
        "| `alone` | 1 | 90.00 | 75.00 | 100.00 |  |",
        "| `lenet` | 2 | 90.00 (0.00) | 40.00 (14.14) | 100.00 (0.00) | 4.00, 1 seed |",
    ]


def test_a_run_without_an_error_of_the_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "lenet" / "seed-0"
    make_run(path, config=settings("digits"), summary=train_summary())
    with pytest.raises(BadRequest, match="a run with robust_error/train"):
        networks(tmp_path, "cpu")
