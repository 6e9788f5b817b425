"""The results page, Markdown and HTML: each artifact's claims, tables and figures, from result directories alone."""

import base64
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from cgro._check import bad
from cgro.reading import read_bytes
from cgro.report.artifacts import (
    DERIVED,
    SCALES,
    UNDECIDED,
    UNTESTED,
    VERDICTS,
    Result,
    in_order,
    origins_of,
    results_of,
    rules_of,
    scales_of,
    shown_tables,
)
from cgro.report.markdown import anchor, line_of, paragraph, table_of
from cgro.report.networks import networks
from cgro.report.page import beside, csp_hash, templates
from cgro.results import ClaimRecord
from cgro.runs import write_atomic

ABOUT = {
    "smoke": "tiny networks and few seeds: it tests the machinery and judges only what is exact",
    "cpu": "real MNIST and CIFAR-10 (JPEG mirror), smaller networks than the paper's, about ten hours on two cores "
    "with bfloat16, summed over sittings",
    "gpu": "real MNIST and CIFAR-10 (JPEG mirror), whole data sets, in slices of minutes of one GPU",
    "paper": "the paper's networks, data and radii",
}
MARKS = {
    "reproduced": "**reproduced**",
    DERIVED: DERIVED,
    "partly": "**partly**",
    UNDECIDED: UNDECIDED,
    "not reproduced": "**NOT REPRODUCED**",
    UNTESTED: UNTESTED,
}
"""Verdicts as Markdown; bold are those that a measurement led to."""
PLAIN = tuple(verdict for verdict, mark in MARKS.items() if verdict == mark)
"""Verdicts that are not set off, in HTML as in Markdown."""
CLAIM_COLUMNS = ("the paper says", "paper", "ours", "verdict", "why")
SMOKE = (
    "Smoke: a few images of mnist5k stand in for the paper's data, two seeds at most. Numbers and figures of this "
    "section show that the machinery works and say nothing about the paper."
)
SIDE_BY_SIDE = "The same claims at every scale that has been made, side by side:"
LONGEST_FIGURE = 16 << 20
"""Bytes of a figure that is put into the page. A choice; ours have some 100,000."""
HEAD = (
    "# The paper, reproduced\n"
    "\n"
    "Written by `make reproduction` from [results](../results); do not edit. Paper: Li and Li, ICML 2025. The\n"
    "tolerance of a verdict comes from the spread over seeds, by the rule that stands below each artifact:\n"
    "\n"
    "- `reproduced`: measured, and it could have come out otherwise; `partly`: only the mean, only some of several\n"
    "  checks, or a reading that says less than the claim.\n"
    "- `not reproduced`: the 95% interval lies beyond the limit; `cannot be told`: it contains the limit, which is no\n"
    "  evidence against the claim.\n"
    "- `derived`: our own derivation, evaluated; `cannot be tested at this scale`: the rule needs more seeds, or\n"
    "  networks as large as the paper's.\n"
    "\n"
    "Robust errors under attack are lower bounds; settings called calibrated were fitted to the paper's numbers and\n"
    "are no evidence. `cgro reproduce NAME --scale SCALE` makes any of it again."
)


def markdown(groups: Sequence[Sequence[Result]], start: Path, *, head: str = "") -> str:
    """The page as Markdown. Figures are linked relative to `start`, the folder of the page.

    An artifact with results at several scales is shown in full at the most telling one, with the claims of all side by
    side.

    Args:
        groups: as from `in_order`.
        start: the folder of the page.
        head: what the page begins with.

    Returns:
        The text.
    """
    lines = [head, ""] if head else []
    lines += _overview(groups)
    for group in groups:
        lines += _section(group, start)
    return "\n".join(lines).rstrip() + "\n"


def _overview(groups: Sequence[Sequence[Result]]) -> list[str]:
    """Verdicts by artifact and scale, and what the scales are."""
    rows = []
    for group in groups:
        for result in group:
            title = result.summary.title
            link = f"[{line_of(title)}](#{anchor(title)})"
            rows.append([link, result.summary.scale, *_counts(result.summary.claims)])
    lines = table_of(["artifact", "scale", *VERDICTS], rows)
    for scale in scales_of(groups):
        lines.append(f"- `{scale}`: {ABOUT[scale]}.")
    return [*lines, ""]


def _counts(claims: Sequence[ClaimRecord]) -> list[str]:
    """Claims with each verdict; empty for none."""
    verdicts = [claim.verdict for claim in claims]
    return [str(verdicts.count(verdict) or "") for verdict in VERDICTS]


def _section(group: Sequence[Result], start: Path) -> list[str]:
    """One artifact: claims, figures, tables, rules, and who made it."""
    result = group[0]
    summary = result.summary
    lines = [f"## {line_of(summary.title)}", "", f"`cgro reproduce {summary.artifact} --scale {summary.scale}`", ""]
    if summary.scale == "smoke":
        lines += [f"**{SMOKE}**", ""]
    rows = []
    for claim in summary.claims:
        rows.append([claim.statement, claim.paper, claim.ours, MARKS[claim.verdict], claim.reason])
    lines += table_of(CLAIM_COLUMNS, rows)
    if len(group) > 1:
        lines += [SIDE_BY_SIDE, "", *table_of(scale_columns(group), claims_by_scale(group))]
    for figure in summary.figures:
        link = Path(os.path.relpath(result.path / figure.file, start)).as_posix()
        caption = line_of(figure.caption)
        lines += [f"![{caption}]({line_of(link)})", "", f"*{caption}*", ""]
    for table in shown_tables(summary):
        lines += [paragraph(table.caption), "", *table_of(table.columns, table.rows)]
    rules = rules_of(summary)
    if rules:
        lines += ["Rules of the verdicts:", "", *(f"- {rule}." for rule in rules), ""]
    return [*lines, *(f"- Made by {origin}" for origin in origins_of(summary)), ""]


def scale_columns(group: Sequence[Result]) -> list[str]:
    """The columns of `claims_by_scale`.

    Args:
        group: results of one artifact at several scales.

    Returns:
        The paper's value, and ours with its verdict at each scale.
    """
    columns = ["claim", "paper"]
    for result in group:
        columns += [f"ours, {result.summary.scale}", f"verdict, {result.summary.scale}"]
    return columns


def claims_by_scale(group: Sequence[Result]) -> list[list[str]]:
    """The claims of one artifact at all of its scales, one row a claim.

    Args:
        group: results of one artifact, the most telling scale first.

    Returns:
        Cells in the order of `scale_columns`; empty where a scale has no such claim.
    """
    by_scale: list[dict[str, ClaimRecord]] = []
    names: dict[str, str] = {}
    for result in group:
        own = {claim.name: claim for claim in result.summary.claims}
        by_scale.append(own)
        for name, claim in own.items():
            names.setdefault(name, claim.paper)
    rows = []
    for name, paper in names.items():
        row = [name.partition("/")[2] or name, paper]
        for own in by_scale:
            claim = own.get(name)
            row += ["", ""] if claim is None else [claim.ours, claim.verdict]
        rows.append(row)
    return rows


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
    jinja = templates()
    jinja.filters.update(line=line_of, anchor=anchor, counts=_counts)
    jinja.globals.update(about=ABOUT, verdicts=VERDICTS, plain=PLAIN, claim_columns=CLAIM_COLUMNS, smoke=SMOKE)
    jinja.globals.update(side_by_side=SIDE_BY_SIDE, scale_columns=scale_columns, claims_by_scale=claims_by_scale)
    jinja.globals.update(shown_tables=shown_tables, rules_of=rules_of, origins_of=origins_of)
    style = beside("reproduction.css")
    return jinja.get_template("reproduction.html").render(
        groups=groups,
        pictures={str(group[0].path): _pictures(group[0], start) for group in groups},
        scales=scales_of(groups),
        style=Markup(style),
        style_hash=csp_hash(style),
        title=line_of(title),
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
