"""The results page: every artifact's claims, tables and figures, from result directories alone, as Markdown and HTML.

A results folder is ROOT/SCALE/ARTIFACT, or one reproduction's DIR/ARTIFACT; see docs/decisions.md, Experiments. The
order of the artifacts is the caller's: it lists them.
"""

import base64
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cgro._check import BadRequest, bad, one_line
from cgro.reading import read_bytes, read_json_object
from cgro.report.page import csp_hash
from cgro.results import (
    ArtifactSummary,
    ClaimRecord,
    EvaluateSummary,
    MachineRecord,
    Measured,
    Summary,
    TableRecord,
    TrainSummary,
    read_summary,
)
from cgro.results.records import Json
from cgro.runs import SCHEMA, Run, write_atomic

SCALES = ("paper", "gpu", "cpu", "smoke")
"""The most telling first."""
ABOUT = {
    "smoke": "tiny networks and few seeds: it tests the machinery and judges only what is exact",
    "cpu": "real MNIST and CIFAR-10 (JPEG mirror), smaller networks than the paper's, about five hours on two cores "
    "with bfloat16, summed over sittings",
    "gpu": "one GPU, whole data sets, networks between",
    "paper": "the paper's networks, data and radii",
}
UNTESTED = "cannot be tested at this scale"
VERDICTS = ("reproduced", "partly", "not reproduced", UNTESTED)
MARKS = {
    "reproduced": "**reproduced**",
    "partly": "**partly**",
    "not reproduced": "**NOT REPRODUCED**",
    UNTESTED: UNTESTED,
}
"""Verdicts as Markdown."""
NO_RULE = "none at this scale"
"""The rule of a claim that a scale cannot judge."""
CLAIM_COLUMNS = ("the paper says", "paper", "ours", "verdict", "why")
SMOKE = (
    "Smoke: a few images of mnist5k stand in for the paper's data, two seeds at most. Numbers and figures of this "
    "section show that the machinery works and say nothing about the paper."
)
LONGEST_TEXT = 100_000
"""Characters of one text of the page. A choice; the list of two hundred runs has some thousands."""
LONGEST_FIGURE = 16 << 20
"""Bytes of a figure that is put into the page. A choice; ours have some 100,000."""
MARKDOWN = ("!", "#", "-", "|", "*", "+", ">", "`", "<", "[", "=")
"""What begins another form of Markdown than a paragraph."""
SHORT_COMMIT = 12
"""Characters of a commit on the page."""

HEAD = (
    "# The paper, reproduced\n"
    "\n"
    "Written by `make reproduction` from [results](../results); do not edit. Paper: Li and Li, ICML 2025. A verdict is "
    "`reproduced`,\n"
    "`partly`, `not reproduced` or `cannot be tested at this scale`; its tolerance comes from the spread over seeds, "
    "by the rule that\n"
    "stands below each artifact. Robust errors under attack are lower bounds; settings called calibrated were fitted "
    "to the paper's\n"
    "numbers and are no evidence. `cgro reproduce NAME --scale SCALE` makes any of it again."
)


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
        The summaries, in that order.

    Raises:
        BadRequest: one is of another version, damaged, of another shape, or of an artifact that is not in `order`;
            names the file.
    """
    there = [path.parent.name for path in sorted(folder.glob("*/summary.json"))]
    for name in there:
        if name not in order:
            raise _unknown(name, folder / name, order)
    return [_result(folder / name) for name in order if name in there]


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


def markdown(groups: Sequence[Sequence[Result]], start: Path, *, head: str = "") -> str:
    """The page as Markdown. Figures are linked relative to `start`, the folder of the page.

    An artifact with results at several scales is shown in full at the most telling one, and named in the overview at
    all.

    Args:
        groups: as from `in_order`.
        start: the folder of the page.
        head: what the page begins with.

    Returns:
        The text.
    """
    lines = [head, ""] if head else []
    lines += _overview(groups)
    for most_telling, *_ in groups:
        lines += _section(most_telling, start)
    return "\n".join(lines).rstrip() + "\n"


def _overview(groups: Sequence[Sequence[Result]]) -> list[str]:
    """Verdicts by artifact and scale, and what the scales are."""
    rows = []
    for group in groups:
        for result in group:
            title = result.summary.title
            link = f"[{_line(title)}](#{anchor(title)})"
            rows.append([link, result.summary.scale, *_counts(result.summary.claims)])
    lines = _table(["artifact", "scale", *VERDICTS], rows)
    for scale in scales_of(groups):
        lines.append(f"- `{scale}`: {ABOUT[scale]}.")
    return [*lines, ""]


def _counts(claims: Sequence[ClaimRecord]) -> list[str]:
    """Claims with each verdict; empty for none."""
    verdicts = [claim.verdict for claim in claims]
    return [str(verdicts.count(verdict) or "") for verdict in VERDICTS]


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


def _line(text: object) -> str:
    """Text of a result on one line: it starts no line of its own, and so no heading and no image."""
    return one_line(str(text), LONGEST_TEXT)


def _paragraph(text: str) -> str:
    """Text of a result on a line of its own, which Markdown reads as nothing else."""
    line = _line(text)
    if line.startswith(MARKDOWN):
        return "\\" + line
    return line


def anchor(title: str) -> str:
    """The link of a heading, as GitHub and our HTML make it.

    Args:
        title: of the section.

    Returns:
        Small letters, digits and hyphens.

    Example:
        >>> anchor("Figure 2(a, b): the effect of capacity")
        'figure-2a-b-the-effect-of-capacity'
    """
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _section(result: Result, start: Path) -> list[str]:
    """One artifact: claims, figures, tables, rules, and who made it."""
    summary = result.summary
    lines = [f"## {_line(summary.title)}", "", f"`cgro reproduce {summary.artifact} --scale {summary.scale}`", ""]
    if summary.scale == "smoke":
        lines += [f"**{SMOKE}**", ""]
    rows = []
    for claim in summary.claims:
        rows.append([claim.statement, claim.paper, claim.ours, MARKS[claim.verdict], claim.reason])
    lines += _table(CLAIM_COLUMNS, rows)
    for figure in summary.figures:
        link = Path(os.path.relpath(result.path / figure.file, start)).as_posix()
        caption = _line(figure.caption)
        lines += [f"![{caption}]({_line(link)})", "", f"*{caption}*", ""]
    for table in shown_tables(summary):
        lines += [_paragraph(table.caption), "", *_table(table.columns, table.rows)]
    rules = rules_of(summary)
    if rules:
        lines += ["Rules of the verdicts:", "", *(f"- {rule}." for rule in rules), ""]
    return [*lines, *(f"- Made by {origin}" for origin in origins_of(summary)), ""]


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
            rules[_line(f"{claim.name}: {claim.rule}")] = None
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
    return [_line(_origin(row)) for row in rows]


def _origin(row: MachineRecord) -> str:
    runs = "1 run" if len(row.runs) == 1 else f"{len(row.runs)} runs"
    commit = row.commit or "none"
    short = commit[:SHORT_COMMIT]
    if commit.endswith("-dirty"):
        short += "-dirty"
    line = f"{runs} on {row.machine}, {row.threads} threads; torch {row.torch}, cgro {row.cgro}, commit {short}"
    if row.source:
        line += f"; from {row.source}: {', '.join(row.runs)}"
    return line + "."


def _table(columns: Sequence[object], rows: Iterable[Sequence[Json]]) -> list[str]:
    """A table as lines of Markdown, with an empty one behind."""
    lines = [_row(columns), "| " + " | ".join("---" for _ in columns) + " |"]
    lines += [_row(row) for row in rows]
    return [*lines, ""]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in cells) + " |"


def html(groups: Sequence[Sequence[Result]], start: Path, *, title: str) -> str:
    """The page as one HTML file that needs nothing beside it.

    What the results hold is text: nothing of it becomes a link or markup, an image is an SVG below `start`, and the
    policy of the page allows no script at all.

    Args:
        groups: as from `in_order`.
        start: the folder of the page: figures of other folders are left out.
        title: of the window and of the page.

    Returns:
        The whole file.

    Raises:
        BadRequest: a figure is missing, cannot be read, or is larger than `LONGEST_FIGURE`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("cgro.report", ".")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters.update(line=_line, anchor=anchor, counts=_counts)
    jinja.globals.update(about=ABOUT, verdicts=VERDICTS, untested=UNTESTED, claim_columns=CLAIM_COLUMNS, smoke=SMOKE)
    jinja.globals.update(shown_tables=shown_tables, rules_of=rules_of, origins_of=origins_of)
    style, _, _ = loader.get_source(jinja, "reproduction.css")
    return jinja.get_template("reproduction.html").render(
        groups=groups,
        pictures={str(group[0].path): _pictures(group[0], start) for group in groups},
        scales=scales_of(groups),
        style=Markup(style),
        style_hash=csp_hash(style),
        title=_line(title),
    )


def _pictures(result: Result, start: Path) -> list[str]:
    """Every figure of a result as the address of its data; empty for one that lies elsewhere."""
    return [_picture(result.path / figure.file, start) for figure in result.summary.figures]


def _picture(path: Path, start: Path) -> str:
    # A page that is sent to others must not take along files of whoever made it.
    if path.suffix != ".svg" or not path.resolve().is_relative_to(start.resolve()):
        return ""
    data = read_bytes(path, limit=LONGEST_FIGURE, follow=False)
    return f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}"


def write(folder: Path, results: Iterable[Result], order: Sequence[str], title: str) -> None:
    """`index.md` and `index.html` in a folder.

    Args:
        folder: of the reproduction.
        results: its artifacts.
        order: names of all artifacts, in the order of the page.
        title: of the page.
    """
    groups = in_order(results, order)
    write_atomic(folder / "index.md", markdown(groups, folder, head=f"# {title}").encode())
    write_atomic(folder / "index.html", html(groups, folder, title=title).encode())


def document(root: Path, target: Path, order: Sequence[str]) -> str:
    """docs/reproduction.md from results/SCALE/ARTIFACT and results/SCALE/runs.

    Args:
        root: the results.
        target: the page, for its links.
        order: names of all artifacts, in the order of the page.

    Returns:
        The text.

    Raises:
        BadRequest: there are no results, or some are damaged.
    """
    results: list[Result] = []
    stored: list[str] = []
    for scale in SCALES:
        results += results_of(root / scale, order)
        stored += networks(root / scale, scale)
    if not results:
        raise bad(str(root), expected="results/SCALE/ARTIFACT/summary.json", got="none")
    text = markdown(in_order(results, order), target.parent, head=HEAD)
    if stored:
        text += "\n".join(["", *stored])
    return text


_ACCURACIES = {
    "clean test": "clean_error/test",
    "robust test": "robust_error/test",
    "robust train": "robust_error/train",
}


def networks(folder: Path, scale: str) -> list[str]:
    """Every stored network, whether or not its artifacts are complete: mean (sd) over the seeds that are there.

    Args:
        folder: results/SCALE.
        scale: its name.

    Returns:
        Lines of Markdown; none without networks.
    """
    found: dict[str, list[Run]] = {}
    for path in sorted((folder / "runs").glob("*/seed-*/summary.json")):
        run = Run(path.parent)
        if isinstance(run.read(), TrainSummary):
            found.setdefault(path.parts[-3], []).append(run)
    if not found:
        return []
    rows = [_network(folder, name, runs) for name, runs in found.items()]
    columns = ["network", "seeds", *(f"{name} %" for name in _ACCURACIES), "PGD minus ensemble, points"]
    return [
        f"## Networks at scale {scale}, as far as they are trained",
        "",
        "Accuracies, mean (sd) over seeds; robust ones under the recipe's PGD, so upper bounds. Last column: how "
        "much lower the strong ensemble is on the first test images of the same seeds. Settings and curves are in "
        f"the folder of each, `results/{scale}/runs`.",
        "",
        *_table(columns, rows),
    ]


def _network(folder: Path, name: str, runs: Sequence[Run]) -> list[str | int]:
    """The row of one network."""
    summaries = [run.read(TrainSummary) for run in runs]
    cells = []
    for key in _ACCURACIES.values():
        cells.append(cell([100 - 100 * _error(summary, key) for summary in summaries]))
    strong = Measured.of(_beside(folder, run.path) for run in runs)
    beside = cell(strong.values)
    if strong.n == 1:
        beside += ", 1 seed"
    elif strong.n:
        beside += f", {strong.n} seeds"
    return [f"`{name}`", len(runs), *cells, beside]


def _beside(folder: Path, trained: Path) -> float | None:
    """PGD's robust accuracy minus the ensemble's, on the same images, if both are stored."""
    name = "-".join(trained.parts[-2:])
    strong = Run(folder / "runs" / "evaluations" / f"{name}-ensemble")
    weak = Run(folder / "runs" / "evaluations" / f"{name}-pgd")
    if not strong.finished or not weak.finished:
        return None
    key = "robust_error/test"
    return 100 * (_error(strong.read(EvaluateSummary), key) - _error(weak.read(EvaluateSummary), key))


def _error(summary: Summary, key: str) -> float:
    metric = summary.metrics.get(key)
    found = None if metric is None else metric.typical
    if found is None:
        raise bad(f"cgro {summary.command}", expected=f"a run with {key}", got="none")
    return found


def cell(values: Iterable[float | None], digits: int = 2) -> str:
    """Mean and sample standard deviation for a table.

    Args:
        values: one per seed; None is left out.
        digits: behind the point.

    Returns:
        Text; empty without values.

    Example:
        >>> cell([1.0, 2.0, 3.0]), cell([1.0, None]), cell([])
        ('2.00 (1.00)', '1.00', '')
    """
    known = Measured.of(values)
    if known.n == 0:
        return ""
    if known.n == 1:
        return f"{known.mean:.{digits}f}"
    return f"{known.mean:.{digits}f} ({known.sd:.{digits}f})"
