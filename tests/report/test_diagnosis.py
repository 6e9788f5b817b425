"""The figure of a diagnosis, and the sentence that is its title."""

import warnings
from pathlib import Path

import pytest
from tests.report.runs import diagnose_summary, diagnosis, make_run

from cgro.report.diagnosis import diagnosis_figure, explanation, headline


def drawn(folder: Path, rows: list[dict]) -> Path | None:
    return diagnosis_figure(
        make_run(folder, config={"command": "diagnose"}, summary=diagnose_summary(diagnosis()), rows=rows)
    )


@pytest.mark.parametrize("key", ["robust_error/test", "robust_error/validation", "clean_loss/train"])
def test_a_figure_of_any_curve_warns_of_nothing(tmp_path: Path, key: str) -> None:
    rows = [{"epoch": e, key: 0.5, "valley": 0.5} if e else {"epoch": e} for e in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        path = drawn(tmp_path, rows)
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")


def test_one_point_has_no_figure(tmp_path: Path) -> None:
    assert drawn(tmp_path, [{"epoch": 0, "robust_error/test": 0.5}]) is None


def test_the_title_says_the_label_once_and_does_not_praise() -> None:
    assert headline("robust", "No large robust gap: the error is 20%.") == "no large robust gap: the error is 20%."
    assert headline("clean_overfitting", "Ordinary overfitting: it rises.") == "ordinary overfitting: it rises."
    assert headline("underfitting", "Undecided") == "underfitting: Undecided"


def test_what_a_label_says_is_not_said_again() -> None:
    reason = "Clean generalization and robust overfitting: a gap of 20%."
    assert explanation("cgro", reason) == "a gap of 20%."
    assert explanation("robust_overfitting", "Robust overfitting: it rises.") == "it rises."
    assert explanation("collapsed", "Constant: guessing.") == "Constant: guessing."
