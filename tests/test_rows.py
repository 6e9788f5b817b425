"""Rows of a run: what is read, what is left out after a kill, what is refused."""

import math
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.rows import check_error, read_rows


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
    ],
)
def test_what_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=message):
        read_rows(written(tmp_path, text))


@pytest.mark.parametrize("value", [0, 1, 0.25, None, [0.1, None, 0.3]])
def test_fractions_pass(value: object) -> None:
    check_error("robust_error/test@pgd20", value, "here")


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, math.inf, "0.5", [0.1, 9]])
def test_other_errors_do_not(value: object) -> None:
    with pytest.raises(BadRequest, match=r"here: clean_error/test: expected a fraction in \[0, 1\]"):
        check_error("clean_error/test", value, "here")
    check_error("loss", value, "here")
