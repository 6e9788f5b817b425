"""Summaries are read strictly, and written as they were read."""

import json
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.results import (
    Summary,
    TrainSummary,
    plain_summary,
    read_summary,
)

STORED = sorted((Path(__file__).parents[2] / "results").rglob("summary.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: "/".join(path.parts[-4:-1]))
def test_stored_results_are_read_and_written_unchanged(path: Path) -> None:
    found = json.loads(path.read_text())
    assert plain_summary(read_summary(found, str(path), Summary)) == found


def a_summary(**more: object) -> dict:
    outcome = {"kind": "completed", "reason": "done"}
    return {"schema": 1, "command": "quickstart", "seed": 0, "threat": None, "outcome": outcome, "verdict": None,
            "metrics": {}, "parts": {}, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parts": 3}, "expected `object` at parts, got `int`"),
        ({"outcome": {"kind": "completed"}}, "missing required field `reason`"),
        ({"colour": "red"}, "unknown field `colour`"),
        ({"metrics": {"e": {"value": "half"}}}, r"metrics\[...\].value"),
        ({"metrics": {"e": {"value": None, "ratio": 1}}}, "unknown field `ratio`"),
    ],
)
def test_another_shape_is_refused_with_its_place(change: dict, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_summary(a_summary(**change), "summary.json", Summary)


def test_the_summary_of_another_command_is_refused() -> None:
    with pytest.raises(BadRequest, match="the summary of a train run, got that of a quickstart run"):
        read_summary(a_summary(), "summary.json", TrainSummary)
