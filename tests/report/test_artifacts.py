"""Results of artifacts: which are read, which are refused, and what the page shows of each."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.report.artifacts import ORDER, read, result, stored

from cgro._check import BadRequest
from cgro.report import artifacts
from cgro.results import ArtifactSummary, read_summary


def test_a_result_of_an_unknown_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"table9"):
        artifacts.in_order([read(tmp_path, artifact="table9")], ORDER)
    for name in ("runs", "table9"):
        (tmp_path / name).mkdir()
    assert artifacts.results_of(tmp_path, ORDER) == []
    (tmp_path / "table9" / "summary.json").write_text("{}")
    with pytest.raises(BadRequest, match=r"table9.*registry"):
        artifacts.results_of(tmp_path, ORDER)


def test_a_comparison_of_remedies_lies_beside_and_is_no_artifact(tmp_path: Path) -> None:
    for name, command in (("compare-mnist", "compare"), ("renamed", "compare")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"schema": 1, "command": command}))
    assert artifacts.results_of(tmp_path, ["table1"]) == []


def test_another_schema_is_refused(tmp_path: Path) -> None:
    stored(tmp_path / "table2", {**result(), "schema": 2})
    with pytest.raises(BadRequest, match="results of schema 1, got 2"):
        artifacts.results_of(tmp_path, ORDER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "huge"}, "expected a scale, one of paper, gpu, cpu, smoke, got huge"),
        ({"tables": [{"name": "t", "caption": "", "columns": ["a"], "rows": [[[1]]]}]}, "got list"),
    ],
)
def test_words_that_the_page_does_not_know_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    stored(tmp_path / "table2", result() | change)
    with pytest.raises(BadRequest, match=message):
        artifacts.results_of(tmp_path, ORDER)


def test_scales_are_named_once_the_most_telling_first(tmp_path: Path) -> None:
    shown = [read(tmp_path, scale=scale) for scale in ("smoke", "gpu", "cpu", "gpu")]
    assert artifacts.scales_of([shown[:2], shown[2:]]) == ["gpu", "cpu", "smoke"]


def test_empty_and_long_tables_and_rules_of_no_scale_are_not_shown() -> None:
    found = result()
    found["tables"] = [{**found["tables"][0], "name": "a"}, {**found["tables"][0], "rows": []}]
    found["tables"].append({**found["tables"][0], "long": True})
    claim = found["claims"][0]
    found["claims"] = [{**claim, "rule": "above 1"}, {**claim, "rule": artifacts.NO_RULE}, {**claim, "rule": "above 1"}]
    summary = read_summary(found, "", ArtifactSummary)
    assert [table.name for table in artifacts.shown_tables(summary)] == ["a"]
    assert artifacts.rules_of(summary) == ["x: above 1"]


def test_where_runs_were_made_is_one_line_each() -> None:
    found = result()
    found["provenance"][0] |= {"runs": ["a", "b"], "commit": "0123456789abcdef-dirty", "source": None}
    summary = read_summary(found, "", ArtifactSummary)
    assert artifacts.origins_of(summary) == ["2 runs on x, 1 threads; torch x, cgro x, commit 0123456789ab-dirty."]
