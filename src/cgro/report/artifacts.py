"""Results of artifacts: their summaries in a folder, in the order of the page, and what the page shows of each.

A results folder is ROOT/SCALE/ARTIFACT, or one reproduction's DIR/ARTIFACT; see docs/decisions.md, Experiments. The
order of the artifacts is the caller's: it lists them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cgro._check import BadRequest, bad
from cgro.reading import read_json_object
from cgro.report.markdown import line_of
from cgro.results import ArtifactSummary, MachineRecord, TableRecord, read_summary
from cgro.runs import SCHEMA, Run

SCALES = ("paper", "gpu", "cpu", "smoke")
"""The most telling first."""
UNTESTED = "cannot be tested at this scale"
UNDECIDED = "cannot be told"
"""The verdict on a claim whose limit lies inside the interval of what was measured."""
DERIVED = "derived"
"""The verdict on a claim that follows from our own derivation: evaluating it can refute the code, not the claim."""
VERDICTS = ("reproduced", DERIVED, "partly", UNDECIDED, "not reproduced", UNTESTED)
NO_RULE = "none at this scale"
"""The rule of a claim that a scale cannot judge."""
SHORT_COMMIT = 12
"""Characters of a commit on the page."""


@dataclass(frozen=True)
class Result:
    """An artifact's summary and the folder that it lies in."""

    summary: ArtifactSummary
    path: Path


def results_of(folder: Path, order: Sequence[str]) -> list[Result]:
    """Read the summaries of the artifacts in a folder.

    Args:
        folder: of one scale, or of one call of `cgro reproduce`.
        order: names of all artifacts, in the order of the page.

    Returns:
        The summaries, in that order. Comparisons of remedies, which lie beside them, have a page of their own.

    Raises:
        BadRequest: one is of another version, damaged, of another shape, or of an artifact that is not in `order`;
            names the file.
    """
    there = [path.parent.name for path in sorted(folder.glob("*/summary.json"))]
    for name in there:
        if name not in order and not _is_comparison(folder / name):
            raise _unknown(name, folder / name, order)
    return [_result(folder / name) for name in order if name in there]


def _is_comparison(folder: Path) -> bool:
    """Whether `cgro compare` wrote it; see docs/what_now.md."""
    return read_json_object(folder / "summary.json").get("command") == "compare"


def _result(folder: Path) -> Result:
    Run(folder).check_version()
    path = folder / "summary.json"
    found = read_json_object(path)
    if found.get("schema") != SCHEMA:
        remedy = "make them again with this cgro"
        raise bad(str(folder), expected=f"results of schema {SCHEMA}", got=found.get("schema"), remedy=remedy)
    summary = read_summary(found, str(path), ArtifactSummary)
    _check_words(summary, path)
    return Result(summary, folder)


def _check_words(summary: ArtifactSummary, path: Path) -> None:
    """What the page looks up must be known: the scale, verdicts; and cells must be plain values."""
    if summary.scale not in SCALES:
        raise bad(str(path), expected="a scale, one of " + ", ".join(SCALES), got=summary.scale)
    for claim in summary.claims:
        if claim.verdict not in VERDICTS:
            raise bad(str(path), expected="a verdict, one of " + ", ".join(VERDICTS), got=claim.verdict)
    for table in summary.tables:
        for row in table.rows:
            for value in row:
                if isinstance(value, list | dict):
                    raise bad(str(path), expected="text and numbers in tables", got=type(value).__name__)


def _unknown(artifact: str, where: Path, order: Sequence[str]) -> BadRequest:
    remedy = "move other results elsewhere, or add a new artifact to experiments/registry.py"
    return bad(str(where), expected="results of one of " + ", ".join(order), got=artifact, remedy=remedy)


def in_order(results: Iterable[Result], order: Sequence[str]) -> list[list[Result]]:
    """Results of each artifact together.

    Args:
        results: at any scales.
        order: names of all artifacts, in the order of the page.

    Returns:
        One list per artifact that has results, the most telling scale first.

    Raises:
        BadRequest: a result of an artifact that is not in `order`, which would have no place on the page.
    """
    groups: dict[str, list[Result]] = {name: [] for name in order}
    for result in sorted(results, key=lambda result: SCALES.index(result.summary.scale)):
        name = result.summary.artifact
        if name not in groups:
            raise _unknown(name, result.path, order)
        groups[name].append(result)
    return [group for group in groups.values() if group]


def scales_of(groups: Iterable[Sequence[Result]]) -> list[str]:
    """The scales of results, the most telling first.

    Args:
        groups: as from `in_order`.

    Returns:
        Each once.
    """
    found: set[str] = set()
    for group in groups:
        found.update(result.summary.scale for result in group)
    return sorted(found, key=SCALES.index)


def shown_tables(summary: ArtifactSummary) -> list[TableRecord]:
    """The tables that the page shows.

    Args:
        summary: of an artifact.

    Returns:
        All that have rows and are not called long.
    """
    return [table for table in summary.tables if table.rows and table.long is not True]


def rules_of(summary: ArtifactSummary) -> list[str]:
    """The rules by which the claims were judged.

    Args:
        summary: of an artifact.

    Returns:
        One line per claim that was.
    """
    rules = {}
    for claim in summary.claims:
        if claim.rule != NO_RULE:
            rules[line_of(f"{claim.name}: {claim.rule}")] = None
    return list(rules)


def origins_of(summary: ArtifactSummary) -> list[str]:
    """Where the runs of an artifact were made.

    Args:
        summary: of an artifact.

    Returns:
        One line per machine and version.
    """
    rows = summary.provenance
    if not isinstance(rows, Sequence):
        return []
    return [line_of(_origin(row)) for row in rows]


def _origin(row: MachineRecord) -> str:
    runs = "1 run" if len(row.runs) == 1 else f"{len(row.runs)} runs"
    commit = row.commit or "none"
    digits, dash, remark = commit.partition("-")
    short = digits[:SHORT_COMMIT] + dash + remark
    line = f"{runs} on {row.machine}, {row.threads} threads; torch {row.torch}, cgro {row.cgro}, commit {short}"
    if row.source:
        line += f"; from {row.source}: {', '.join(row.runs)}"
    return line + "."
