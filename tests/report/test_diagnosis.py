"""The figure of a diagnosis, and the sentence that is its title."""

import warnings
from pathlib import Path

import pytest
from tests.report.drawings import make_run

from cgro.report.diagnosis import diagnosis_figure, headline

FOUND = {"label": "robust_overfitting", "reason": "Robust overfitting: it rises.", "drops": [2], "rise": None}


def drawn(folder: Path, rows: list[dict], found: dict) -> Path | None:
    return diagnosis_figure(
        make_run(folder, config={"command": "diagnose"}, summary={"diagnoses": [FOUND | found]}, rows=rows)
    )


@pytest.mark.parametrize("key", ["robust_error/test", "robust_error/validation", "clean_loss/train"])
def test_a_figure_of_any_curve_warns_of_nothing(tmp_path: Path, key: str) -> None:
    rows = [{"epoch": e, key: 0.5, "valley": 0.5} if e else {"epoch": e} for e in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        path = drawn(tmp_path, rows, {"rise": {"onset": 2, "onset_interval": [1, 3]}})
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")


def test_one_point_has_no_figure(tmp_path: Path) -> None:
    assert drawn(tmp_path, [{"epoch": 0, "robust_error/test": 0.5}], {}) is None


def test_the_title_says_the_label_once_and_does_not_praise() -> None:
    assert headline("robust", "No robust gap: the error is 20%.") == "no robust gap: the error is 20%."
    assert headline("clean_overfitting", "Ordinary overfitting: it rises.") == "ordinary overfitting: it rises."
    assert headline("underfitting", "Undecided") == "underfitting: Undecided"
