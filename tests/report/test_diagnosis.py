"""The figure of a diagnosis, and the sentence that is its title."""

import warnings
from pathlib import Path

import pytest
from tests.report.runs import make_run

from cgro.report.diagnosis import diagnosis_figure, headline
from cgro.results import DiagnoseSummary, DiagnosisRecord, OutcomeRecord, RiseRecord, VerdictRecord

RISE = RiseRecord(
    size=0.1,
    interval=(0.05, 0.15),
    naive=0.1,
    bias=0.0,
    p_value=0.001,
    onset=2.0,
    onset_interval=(1.0, 3.0),
    final=0.5,
    lowest=0.4,
    noise=0.01,
    rho=0.0,
)


def drawn(folder: Path, rows: list[dict], rise: RiseRecord | None) -> Path | None:
    found = DiagnosisRecord(
        label="robust_overfitting",
        scope="curve",
        reason="Robust overfitting: it rises.",
        training="adversarial",
        findings=[],
        remedies=[],
        drops=[2.0],
        aligned=None,
        opened=None,
        evidence={},
        lint=[],
        rise=rise,
        clean_rise=None,
        selection=None,
        point=None,
    )
    result = DiagnoseSummary(
        command="diagnose",
        seed=0,
        threat=None,
        outcome=OutcomeRecord(kind="completed", reason="5 epochs"),
        verdict=VerdictRecord(label=found.label, reason=found.reason, scope=found.scope),
        metrics={},
        diagnoses=[found],
    )
    return diagnosis_figure(make_run(folder, config={"command": "diagnose"}, summary=result, rows=rows))


@pytest.mark.parametrize("key", ["robust_error/test", "robust_error/validation", "clean_loss/train"])
def test_a_figure_of_any_curve_warns_of_nothing(tmp_path: Path, key: str) -> None:
    rows = [{"epoch": e, key: 0.5, "valley": 0.5} if e else {"epoch": e} for e in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        path = drawn(tmp_path, rows, RISE)
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")


def test_one_point_has_no_figure(tmp_path: Path) -> None:
    assert drawn(tmp_path, [{"epoch": 0, "robust_error/test": 0.5}], None) is None


def test_the_title_says_the_label_once_and_does_not_praise() -> None:
    assert headline("robust", "No robust gap: the error is 20%.") == "no robust gap: the error is 20%."
    assert headline("clean_overfitting", "Ordinary overfitting: it rises.") == "ordinary overfitting: it rises."
    assert headline("underfitting", "Undecided") == "underfitting: Undecided"
