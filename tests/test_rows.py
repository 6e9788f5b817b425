"""Rows of a run: what is read, what is left out after a kill, what is refused."""

import math
import re
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.rows import check_error, check_metrics, read_rows


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    return path


def test_no_file_has_no_rows_and_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "metrics.jsonl") == []
    path = written(tmp_path, '{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "lo')
    assert read_rows(path) == [{"epoch": 1, "loss": 0.5}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"epoch": 1}\n{"epo\n{"epoch": 3}\n', "line 2 is damaged"),
        ("[1]\n", "line 1: expected a row of named values, got list"),
        ('{"epoch": "one"}\n', "line 1: epoch: expected a number"),
        ('{"epoch": 1}\n{"epoch": 2, "robust_error/test": 37.5}\n', "line 2: robust_error/test: expected a fraction"),
        ('{"epoch": 1, "clean_error/train": true}\n', "clean_error/train: expected a fraction"),
        ('{"epoch": 1, "loss": 0.5, "loss": 0.1}\n{"epoch": 2}\n', "line 1: expected each key once, got 'loss' twice"),
        ('{"epoch": 1}\n{"epoch": 2, "x": {"a": 1, "a": 2}}\n', "line 2: expected each key once"),
        ('{"epoch": -1}\n', "line 1: epoch: expected a number from 0 on"),
        ('{"epoch": true}\n', "line 1: epoch: expected a number from 0 on"),
        ('{"epoch": NaN}\n', "line 1: epoch: expected a number from 0 on"),
        ('{"epoch": 1e308}\n', "line 1: epoch: expected a number from 0 on"),
    ],
)
def test_what_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=message):
        read_rows(written(tmp_path, text))


def test_epochs_may_be_fractions_and_numbers_may_be_infinite(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, '{"epoch": 0, "loss": Infinity}\n{"epoch": 0.5}\n'))
    assert rows == [{"epoch": 0, "loss": math.inf}, {"epoch": 0.5}]


@pytest.mark.parametrize("value", [0, 1, 0.25, None, [0.1, None, 0.3]])
def test_fractions_pass(value: object) -> None:
    check_error("robust_error/test@pgd20", value, "here")


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, math.inf, "0.5", [0.1, 9]])
def test_other_errors_do_not(value: object) -> None:
    with pytest.raises(BadRequest, match=r"here: clean_error/test: expected a fraction in \[0, 1\]"):
        check_error("clean_error/test", value, "here")
    check_error("loss", value, "here")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": 0.9}, "20 / 100 = 0.2, got 0.9"),
        ({"value": 0.21}, "20 / 100 = 0.2, got 0.21"),
        ({"wrong": 300}, "0 .. 100 wrong of 100, got 300"),
        ({"wrong": -5}, "got -5"),
        ({"n": 0, "wrong": 0}, "got 0"),
        ({"interval": [0.5, 0.9]}, "an interval in [0, 1] around 0.2"),
        ({"interval": [0.2, 0.1]}, "an interval in [0, 1] around 0.2"),
        ({"interval": [-3, 0.4]}, "an interval in [0, 1] around 0.2"),
        ({"mean": 1.7}, "a fraction in [0, 1], got 1.7"),
        ({"mean": 0.5, "per_seed": [0.1, 0.3, None]}, "the mean of its seeds, 0.2, got 0.5"),
    ],
)
def test_a_metric_that_contradicts_itself_is_refused(change: dict[str, object], words: str) -> None:
    """Planted: the numbers of a summary that was edited by hand went into the report as they stood there."""
    metric = {"value": 0.2, "wrong": 20, "n": 100, "bound": "lower", "interval": [0.1333, 0.2888]}
    check_metrics({"robust_error/test": metric}, "summary.json")
    with pytest.raises(BadRequest, match=re.escape(words)):
        check_metrics({"robust_error/test": {**metric, **change}}, "summary.json")


@pytest.mark.parametrize(
    "metric",
    [
        {"value": 3.5, "n": 20, "interval": [3.0, 4.0]},
        {"value": "inf", "wrong": 1, "n": 2},
        {"mean": 2.0, "per_seed": ["inf", 1.0]},
        {"mean": None, "per_seed": [None]},
        {"mean": 1e6 / 3, "per_seed": [0.0, 0.0, 1e6]},
        {"value": None, "wrong": 0, "n": 3},
        {"value": 1 / 3, "wrong": 1, "n": 3, "interval": [0.06, 0.79]},
    ],
)
def test_metrics_that_say_no_error_or_agree_pass(metric: dict[str, object]) -> None:
    check_metrics({"flatness/gradient": metric}, "summary.json")
