"""docs/reproduction.md is what the stored results say."""

import json
from pathlib import Path

from cgro.report.reproduction import document, results_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reproduction.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == document(ROOT / "results", PAGE), "run make reproduction"


def test_the_theory_artifacts_are_complete_at_cpu_scale() -> None:
    names = {r["artifact"] for r in results_of(ROOT / "results" / "cpu")}
    assert {"table2", "figure2c", "theorem44", "theorem47", "hierarchy"} <= names


def test_every_figure_and_link_exists() -> None:
    for line in PAGE.read_text().splitlines():
        if line.startswith("!["):
            assert (PAGE.parent / line.rsplit("(", 1)[1].rstrip(")")).exists(), line


def test_verdicts_of_stored_findings_are_what_the_code_says_today() -> None:
    from cgro.experiments.reproduce import ARTIFACTS

    for scale in sorted(p.name for p in (ROOT / "results").iterdir()):
        for result in results_of(ROOT / "results" / scale):
            artifact, folder = ARTIFACTS[result["artifact"]], Path(result["path"])
            claims = artifact.check(json.loads((folder / "findings.json").read_text()), artifact.PAPER)
            assert [c.to_dict()["verdict"] for c in claims] == [c["verdict"] for c in result["claims"]], folder
