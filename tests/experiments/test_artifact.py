"""Every artifact: findings in which the paper is right, planted wrong values, swapped results; what a new one costs."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace
from tests.experiments.cases import Cases, cases_of, judged

from cgro.experiments import findings
from cgro.experiments.artifact import Artifact, claims_of, judge_again, produce
from cgro.experiments.claims import NOT_REPRODUCED, REPRODUCED, UNTESTED, Statement, above
from cgro.experiments.findings import read_findings
from cgro.experiments.registry import ARTIFACTS, chosen, names
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job
from cgro.jobs.workspace import Workspace
from cgro.report import artifacts, reproduction
from cgro.report.style import figure
from cgro.results import ArtifactSummary, Measured, Summary
from cgro.results.keys import CLEAN_TEST
from cgro.runs import Run

every = pytest.mark.parametrize("artifact", ARTIFACTS, ids=names())
WRONG = [(artifact, wrong) for artifact in ARTIFACTS for wrong in cases_of(artifact).wrong]


@every
def test_a_world_in_which_the_paper_is_right(artifact: Artifact) -> None:
    cases = cases_of(artifact)
    for name, claim in judged(artifact, cases.right).items():
        assert name.startswith(f"{artifact.NAME}/")
        assert claim.verdict == cases.expected.get(name, REPRODUCED), (name, claim.reason)
        assert claim.rule
        assert claim.reason
        assert claim.ours


@pytest.mark.parametrize(("artifact", "wrong"), WRONG, ids=lambda v: getattr(v, "claim", None) or v.NAME)
def test_a_wrong_paper_value_is_noticed(artifact: Artifact, wrong: Any) -> None:
    claim = judged(artifact, cases_of(artifact).right, wrong.paper)[wrong.claim]
    assert claim.verdict == wrong.verdict
    assert claim.reason.startswith(wrong.reason)


@every
def test_a_swapped_result_is_not_reproduced(artifact: Artifact) -> None:
    cases = cases_of(artifact)
    assert judged(artifact, cases.swapped)[cases.notices].verdict == NOT_REPRODUCED


@every
def test_smoke_judges_nothing_that_was_trained(artifact: Artifact) -> None:
    verdicts = {claim.verdict for claim in claims_of(artifact, replace(cases_of(artifact).right, scale="smoke"))}
    assert (verdicts == {UNTESTED}) == artifact.NEEDS_TRAINING


@every
def test_findings_come_back_as_they_were_written(artifact: Artifact, tmp_path: Path) -> None:
    right = cases_of(artifact).right
    (tmp_path / "findings.json").write_bytes(findings.encode(right))
    assert read_findings(tmp_path / "findings.json", artifact.Findings) == right


@every
def test_tables_and_figures(artifact: Artifact, tmp_path: Path) -> None:
    cases = cases_of(artifact)
    assert all(table.rows for table in artifact.tables(cases.right))
    artifact.draw(cases.right, tmp_path, Workspace(tmp_path))
    assert {path.stem for path in tmp_path.glob("*.svg")} == cases.drawn
    assert cases.drawn <= set(artifact.CAPTIONS)


class TinyFindings(findings.Findings, frozen=True, kw_only=True):
    """One number per seed."""

    errors: list[float]


def tiny() -> Artifact:
    """An artifact as a module would be: one training on digits, one claim, one table, one figure."""
    job = Job(
        "tiny/seed-0",
        "train",
        {"data": "digits", "n_train": 60, "n_test": 30, "model": "mlp", "epochs": 1, "attack": "none", "device": "cpu"},
    )

    def run(scale: Any, workspace: Workspace) -> TinyFindings:
        error = workspace.read(job).read(Summary).number(CLEAN_TEST)
        return TinyFindings(scale=scale, errors=[error, error + 0.01, error + 0.02])

    def check(found: TinyFindings, paper: float) -> list[Any]:
        return [
            above(
                Statement("tiny/error", "nothing is learned in an epoch", paper="above"),
                Measured.of(found.errors),
                limit=paper,
            )
        ]

    def tables(found: TinyFindings) -> list[Table]:
        table = Table("errors", "Tiny errors.", ["seed", "error"])
        for seed, error in enumerate(found.errors):
            table.add(seed, error)
        return [table]

    def draw(found: TinyFindings, folder: Path, workspace: Workspace) -> None:
        with figure(folder / "bars", 3, 2) as drawing:
            drawing.subplots().bar(range(3), found.errors)

    module = SimpleNamespace(
        NAME="tiny",
        TITLE="A tiny artifact",
        NEEDS_TRAINING=False,
        PAPER=0.05,
        CAPTIONS={"bars": "Tiny bars."},
        Findings=TinyFindings,
        jobs=lambda scale: [job],
        run=run,
        check=check,
        tables=tables,
        draw=draw,
    )
    return cast(Artifact, module)


def test_a_new_artifact_is_a_module_and_a_line_of_the_registry(tmp_path: Path) -> None:
    """Registered, its job carried out, judged, drawn, and on the page in its place; nothing else knows of it."""
    from cgro.jobs.execute import ThisProcess, carry_out_here, execute

    artifact = tiny()
    registered = (*ARTIFACTS[:3], artifact, *ARTIFACTS[3:])
    assert chosen("tiny", registered) == [artifact]
    assert artifact in chosen("theory", registered)
    assert names(registered).index("tiny") == 3

    workspace = Workspace(tmp_path, artifact.jobs("smoke"))
    execute(artifact.jobs("smoke"), workspace, ThisProcess(), carry_out_here)
    summary = produce(artifact, "smoke", workspace)
    assert [(claim.name, claim.verdict) for claim in summary.claims] == [("tiny/error", REPRODUCED)]
    assert Run(tmp_path / "tiny").summary["artifact"] == "tiny"
    assert (tmp_path / "tiny/tables/errors.csv").read_text().startswith("seed,error\n0,")
    assert len(json.loads((tmp_path / "tiny/findings.json").read_text())["errors"]) == 3

    order = names(registered)
    reproduction.write(tmp_path, artifacts.results_of(tmp_path, order), order, "Tiny")
    text = (tmp_path / "index.md").read_text()
    assert "## A tiny artifact" in text
    assert "![Tiny bars.](tiny/figures/bars.svg)" in text
    assert "| nothing is learned in an epoch | above |" in text
    page = (tmp_path / "index.html").read_text()
    assert 'src="data:image/svg' in page
    assert "nothing is learned in an epoch" in page


def test_stored_findings_are_judged_and_drawn_again_without_runs(tmp_path: Path) -> None:
    """A changed limit, words and figure reach the results; findings and provenance stay, figures of old code go."""
    from cgro.jobs.execute import ThisProcess, carry_out_here, execute

    artifact = tiny()
    workspace = Workspace(tmp_path, artifact.jobs("smoke"))
    execute(artifact.jobs("smoke"), workspace, ThisProcess(), carry_out_here)
    before = produce(artifact, "smoke", workspace)
    folder = tmp_path / "tiny"
    findings_before = (folder / "findings.json").read_bytes()
    shutil.rmtree(workspace.runs)
    old = folder / "figures" / "old.svg"
    old.write_text("<svg/>")

    changed: Any = artifact
    changed.PAPER = 1.5  # errors are at most 1: no longer above
    changed.TITLE = "Another title"
    after = judge_again(artifact, folder, Workspace(tmp_path))
    assert [claim.verdict for claim in after.claims] == [NOT_REPRODUCED]
    assert (before.title, after.title) == ("A tiny artifact", "Another title")
    assert (after.provenance, after.seconds, after.outcome) == (before.provenance, before.seconds, before.outcome)
    assert Run(folder).read(ArtifactSummary) == after
    assert (folder / "findings.json").read_bytes() == findings_before
    assert [path.name for path in (folder / "figures").iterdir()] == ["bars.svg"]

    changed.PAPER = 0.05
    changed.TITLE = "A tiny artifact"
    assert judge_again(artifact, folder, Workspace(tmp_path)) == before


def test_no_artifact_lacks_cases() -> None:
    for artifact in ARTIFACTS:
        cases = cases_of(artifact)
        assert isinstance(cases, Cases)
        assert isinstance(cases.right, artifact.Findings)
        if artifact.NAME != "figure2ab":  # orders: the paper gives no values for them
            assert cases.wrong
