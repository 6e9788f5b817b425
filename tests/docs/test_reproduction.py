"""docs/reproduction.md is what the stored results say."""

from pathlib import Path

from cgro.experiments.artifact import claims_of
from cgro.experiments.findings import FILE, read_findings
from cgro.experiments.registry import ARTIFACTS, names
from cgro.report.artifacts import results_of
from cgro.report.reproduction import document

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reproduction.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == document(ROOT / "results", PAGE, names()), "run make reproduction"


def test_the_theory_artifacts_are_complete_at_cpu_scale() -> None:
    found = {result.summary.artifact for result in results_of(ROOT / "results" / "cpu", names())}
    assert {"table2", "figure2c", "theorem44", "theorem47", "hierarchy"} <= found


def test_every_figure_and_link_exists() -> None:
    figures = [line for line in PAGE.read_text().splitlines() if line.startswith("![")]
    assert figures
    for line in figures:
        assert (PAGE.parent / line.rsplit("(", 1)[1].rstrip(")")).exists(), line


def test_claims_of_stored_findings_are_what_the_code_says_today() -> None:
    by_name = {artifact.NAME: artifact for artifact in ARTIFACTS}
    for scale in sorted((ROOT / "results").iterdir()):
        for result in results_of(scale, names()):
            artifact = by_name[result.summary.artifact]
            claims = claims_of(artifact, read_findings(result.path / FILE, artifact.Findings))
            stored = [(c.name, c.verdict, c.ours) for c in result.summary.claims]
            assert [(c.name, c.verdict, c.ours) for c in claims] == stored, result.path
