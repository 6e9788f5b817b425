"""Learning curves: one or several seeds of a run, and rows that others wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.runs import ERRORS, make_run, settings, training_rows

from cgro._check import BadRequest
from cgro.report.curves import (
    CLEAN_TEST,
    CURVES,
    ROBUST_TEST,
    Epoch,
    mean_over_seeds,
    read_epochs,
    read_learning_curves,
    seeds_of,
)
from cgro.runs import Run


def run_of(folder: Path, rows: list[dict[str, Any]]) -> Run:
    return Run(make_run(folder, config=settings("digits"), rows=rows))


def test_rows_of_epochs_are_read_and_others_left_out(tmp_path: Path) -> None:
    rows = [
        {"epoch": 1, "lr": 0.1, "robust_error/test": 0.5, "loss": 2.0},
        {"step": 3, "x": 1},
        {"epoch": 2, "lr": None, "robust_error/test": None, "clean_error/test": 0},
        {"epoch": 1, "part": 1, "robust_error/test": 0.9},
    ]
    found = read_epochs(run_of(tmp_path, rows))
    assert found == [Epoch(1, 0.1, {"robust_error/test": 0.5}), Epoch(2, None, {"clean_error/test": 0.0})]


@pytest.mark.parametrize("wrong", [..., None, "9", [], {}, 9.37, -0.1, True, 1e400, float("nan")])
@pytest.mark.parametrize("key", ["epoch", "robust_error/test", "clean_error/train", "lr", "part"])
def test_rows_of_another_shape(key: str, wrong: Any, tmp_path: Path) -> None:
    """A changed digit is found too: an error of 9.37 is no share. Missing numbers only leave rows out."""
    rows = [{"lr": 0.1, "part": 0, **row} for row in training_rows()]
    if wrong is ...:
        del rows[2][key]
    else:
        rows[2][key] = wrong
    run = run_of(tmp_path, rows)
    fine = wrong in (..., None) and not (key == "epoch" and wrong is None) and not (key == "part" and wrong is None)
    fine = fine or (key == "lr" and wrong in (9.37, -0.1)) or (key == "epoch" and wrong == 9.37)
    if fine:
        assert len(read_epochs(run)) == len(rows) - (key == "epoch" and wrong is ...)
        return
    with pytest.raises(BadRequest, match="metrics.jsonl"):
        read_epochs(run)


@pytest.mark.parametrize("wrong", ["9", 9.37, -0.1, True])
def test_a_wrong_error_is_refused_with_its_line(wrong: Any, tmp_path: Path) -> None:
    rows = training_rows()
    rows[2]["robust_error/test"] = wrong
    with pytest.raises(BadRequest, match=r"metrics.jsonl.*(line 3|\[2\]).*robust_error/test"):
        read_epochs(run_of(tmp_path, rows))


@pytest.mark.parametrize("line", ["[]", "3", '"x"', "null", "[[1]]"])
def test_rows_that_are_no_objects(line: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, [])
    (run.path / "metrics.jsonl").write_text(line + "\n" + line + "\n")
    with pytest.raises(BadRequest, match="metrics.jsonl"):
        read_epochs(run)


def test_the_mean_over_seeds_is_of_the_epochs_that_all_have() -> None:
    key = ROBUST_TEST.key
    first = [Epoch(1, 0.1, {key: 0.5, CLEAN_TEST.key: 0.2}), Epoch(2, 0.1, {key: 0.4}), Epoch(3, 0.1, {key: 0.3})]
    second = [Epoch(2, 0.3, {key: 0.8}), Epoch(1, 0.1, {key: 0.7})]
    found = mean_over_seeds([first, second])
    assert [one.epoch for one in found] == [1, 2]
    assert found[0].errors == {key: pytest.approx(0.6), CLEAN_TEST.key: 0.2}
    assert found[1].lr == pytest.approx(0.2)
    assert mean_over_seeds([[Epoch(1, None, {})]]) == []


def test_the_learning_curves_of_several_seeds(tmp_path: Path) -> None:
    rows = training_rows(4)
    run = run_of(tmp_path, [])
    run_of(tmp_path / "seed-0", [{"epoch": 0, "clean_error/test": 0.9}, *rows])
    run_of(tmp_path / "seed-1", rows[1:3])  # stopped early, and its first evaluation is missing
    assert [one.path.name for one in seeds_of(run)] == ["seed-0", "seed-1"]
    found = read_learning_curves(run)
    assert found.epochs.tolist() == [2, 3]
    assert set(found.errors) == {curve.key for curve in CURVES}
    for key in ERRORS:
        assert found.errors[key].tolist() == [[row[key] for row in rows[1:3]]] * 2
    assert np.isnan(found.errors["robust_error/validation"]).all()
    assert found.percent(ROBUST_TEST)[0, 0] == pytest.approx(100 * rows[1]["robust_error/test"])
    (run.path / "seed-1" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [rows[0], rows[0]]))
    with pytest.raises(BadRequest, match="expected each epoch once"):
        read_learning_curves(run)
