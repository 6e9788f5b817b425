"""The results page: every artifact's claims, tables and figures, from result directories alone, as Markdown and HTML.

    python -m cgro.report.reproduction results docs/reproduction.md     (make reproduction)

A results folder is ROOT/SCALE/ARTIFACT, or one reproduction's DIR/ARTIFACT; see docs/decisions.md, Experiments.
"""

import base64
import html
import os
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cgro._check import BadRequest, bad, one_line
from cgro.reading import read_bytes, read_json_object
from cgro.report.page import csp_hash
from cgro.report.shape import SHALLOW, SHARE, TEXT, Kind, Maybe, require
from cgro.runs import SCHEMA, Run, write_atomic

SCALES = ("paper", "gpu", "cpu", "smoke")
"""The most telling first."""
ORDER = (
    "table1",
    "table2",
    "figure1",
    "figure2ab",
    "figure2c",
    "figure3",
    "figure4",
    "bound",
    "memory",
    "theorem44",
    "theorem47",
    "hierarchy",
)
ABOUT = {
    "smoke": "tiny networks and few seeds: it tests the machinery and judges only what is exact",
    "cpu": "real MNIST and CIFAR-10 (JPEG mirror), smaller networks than the paper's, about five hours on two cores with bfloat16, summed over sittings",
    "gpu": "one GPU, whole data sets, networks between",
    "paper": "the paper's networks, data and radii",
}
MARKS = {"reproduced": "**reproduced**", "partly": "**partly**", "not reproduced": "**NOT REPRODUCED**",
         "cannot be tested at this scale": "cannot be tested at this scale"}  # fmt: skip

LONGEST_TEXT = 100_000
"""Characters of one text of the page. A choice; the list of two hundred runs has some thousands."""
LONGEST_FIGURE = 16 << 20
"""Bytes of a figure that is put into the page. A choice; ours have some 100,000."""

_CLAIM = {
    "verdict": Kind("one of " + ", ".join(MARKS), lambda value: value in list(MARKS)),
    **dict.fromkeys(("name", "statement", "paper", "ours", "reason", "rule"), TEXT),
}
_PROVENANCE = {
    "runs": [TEXT], "commit": Maybe(TEXT), "source": Maybe(TEXT), "machine": SHALLOW, "threads": SHALLOW,
    "torch": SHALLOW, "cgro": SHALLOW,
}  # fmt: skip
_RESULT = {
    "artifact": Kind("one of " + ", ".join(ORDER), lambda value: value in ORDER), "title": TEXT,
    "scale": Kind("one of " + ", ".join(SCALES), lambda value: value in SCALES), "claims": [_CLAIM],
    "provenance": [_PROVENANCE],
    "figures": [{"file": TEXT, "caption": TEXT}],
    "tables": [{"caption": TEXT, "columns": [SHALLOW], "rows": [[SHALLOW]], "long": Maybe(SHALLOW)}],
}  # fmt: skip

Result = dict[str, Any]


def results_of(folder: Path) -> list[Result]:
    """Read the summaries of the artifacts in a folder, in the paper's order.

    Args:
        folder: of one scale, or of one call of `cgro reproduce`.

    Returns:
        The summaries, each with its own folder under `path`.

    Raises:
        BadRequest: one is of another version, damaged, of another shape, or of an artifact that is not in `ORDER`;
            names the file.
    """
    found = []
    for name in sorted(path.parent.name for path in folder.glob("*/summary.json")):
        if name not in ORDER:
            raise _unknown(name, str(folder / name))
    for name in ORDER:
        if (folder / name / "summary.json").exists():
            Run(folder / name).check_version()
            result = read_json_object(folder / name / "summary.json")
            if result.get("schema") != SCHEMA:
                raise bad(str(folder / name), expected=f"results of schema {SCHEMA}", got=result.get("schema"),
                          remedy="make them again with this cgro")  # fmt: skip
            require(result, _RESULT, str(folder / name / "summary.json"))
            found.append({**result, "path": str(folder / name)})
    return found


def _unknown(artifact: str, where: str) -> BadRequest:
    remedy = "move other results elsewhere, or add a new artifact to ORDER in report/reproduction.py"
    return bad(where, expected="results of one of " + ", ".join(ORDER), got=artifact, remedy=remedy)


def page(results: Sequence[Result], start: Path, *, head: str = "") -> str:
    """The page as Markdown. Figures are linked relative to `start`, the folder of the page.

    An artifact with results at several scales is shown in full at the most telling one, and named in the overview at all.

    Raises:
        BadRequest: a result of an artifact that is not in `ORDER`, which would have no place on the page.
    """
    groups = _by_artifact(results)
    lines = [*([head, ""] if head else []), *_overview(groups)]
    for most_telling, *_ in groups.values():
        lines += _section(most_telling, start)
    return "\n".join(lines).rstrip() + "\n"


def _by_artifact(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of each artifact, artifacts in the page's order, the most telling scale first."""
    groups: dict[str, list[Result]] = {name: [] for name in ORDER}
    for result in sorted(results, key=lambda r: SCALES.index(r["scale"])):
        name = result["artifact"]
        if name not in groups:
            raise _unknown(name, str(result["path"]))
        groups[name].append(result)
    return {name: group for name, group in groups.items() if group}


def _overview(groups: Mapping[str, Sequence[Result]]) -> list[str]:
    lines = [
        "| artifact | scale | reproduced | partly | not reproduced | cannot be tested at this scale |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for group in groups.values():
        for r in group:
            counts = [sum(c["verdict"] == v for c in r["claims"]) for v in MARKS]
            lines.append(
                f"| [{_line(r['title'])}](#{_anchor(r['title'])}) | {r['scale']} | "
                + " | ".join(str(n or "") for n in counts)
                + " |"
            )
    scales = sorted({r["scale"] for group in groups.values() for r in group}, key=SCALES.index)
    return [*lines, "", *(f"- `{s}`: {ABOUT[s]}." for s in scales), ""]


def _line(text: object) -> str:
    """Text of a result on one line of Markdown: it starts no line of its own, and so no heading and no image."""
    return one_line(str(text), LONGEST_TEXT)


def _anchor(title: str) -> str:
    """The link of a heading, as GitHub and our HTML make it.

    >>> _anchor("Figure 2(a, b): the effect of capacity")
    'figure-2a-b-the-effect-of-capacity'
    """
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _section(result: Result, start: Path) -> list[str]:
    lines = [f"## {_line(result['title'])}", "", f"`cgro reproduce {result['artifact']} --scale {result['scale']}`", ""]
    if result["scale"] == "smoke":
        lines += ["**Smoke: a few images of mnist5k stand in for the paper's data, two seeds at most. Numbers and figures of this "
                  "section show that the machinery works and say nothing about the paper.**", ""]  # fmt: skip
    rows = [[c["statement"], c["paper"], c["ours"], MARKS[c["verdict"]], c["reason"]] for c in result["claims"]]
    lines += _table(["the paper says", "paper", "ours", "verdict", "why"], rows)
    for figure in result["figures"]:
        link = os.path.relpath(Path(result["path"]) / figure["file"], start)
        caption = _line(figure["caption"])
        lines += [f"![{caption}]({_line(Path(link).as_posix())})", "", f"*{caption}*", ""]
    for table in result["tables"]:
        if not table.get("long") and table["rows"]:
            lines += [_line(table["caption"]), "", *_table(table["columns"], table["rows"])]
    judged = [c for c in result["claims"] if c["rule"] != "none at this scale"]
    rules = dict.fromkeys(_line(f"{c['name']}: {c['rule']}") for c in judged)
    if rules:
        lines += ["Rules of the verdicts:", "", *(f"- {rule}." for rule in rules), ""]
    return [*lines, *(_line(f"- Made by {p}") for p in _provenance(result)), ""]


def _provenance(result: Result) -> Iterator[str]:
    for p in result["provenance"]:
        n = len(p["runs"])
        commit = p.get("commit") or "none"
        short = commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")
        source = f"; from {p['source']}" if p.get("source") else ""
        names = f": {', '.join(p['runs'])}" if source else ""
        yield (f"{n} run{'s' if n > 1 else ''} on {p['machine']}, {p['threads']} threads; torch {p['torch']}, cgro {p['cgro']}, "
               f"commit {short}{source}{names}.")  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(_line(c).replace("|", "\\|") for c in cells) + " |"

    return [line(columns), "| " + " | ".join("---" for _ in columns) + " |", *(line(r) for r in rows), ""]


def to_html(markdown: str, start: Path, title: str) -> str:
    """The page as one HTML file that needs nothing beside it: the few forms of Markdown that `page` writes.

    What the results hold is text: a link leads to a relative path, a heading or an http address, and to nothing else; an
    image is an SVG below `start`; and the policy of the page allows no script at all.

    Args:
        markdown: of `page`.
        start: the folder of the page, to which links are relative.
        title: of the window.

    Returns:
        The whole file.

    Raises:
        BadRequest: a figure is missing, cannot be read, or is larger than `LONGEST_FIGURE`.
    """
    body, lines, at = [], markdown.split("\n"), 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("|"):
            block = []
            while at < len(lines) and lines[at].startswith("|"):
                block.append(lines[at])
                at += 1
            body.append(_html_table(block))
            continue
        if line.startswith("- "):
            items = []
            while at < len(lines) and lines[at].startswith("- "):
                items.append(f"<li>{_inline(lines[at][2:])}</li>")
                at += 1
            body.append(f"<ul>{''.join(items)}</ul>")
            continue
        body.append(_html_line(line, start))
        at += 1
    return _FRAME.format(
        policy=f"default-src 'none'; style-src '{csp_hash(_STYLE)}'; img-src data:; base-uri 'none'; form-action 'none'",
        title=html.escape(_line(title)), style=_STYLE, body="\n".join(b for b in body if b),
    )  # fmt: skip


def _html_line(line: str, start: Path) -> str:
    if (heading := re.match(r"(#+) (.*)", line)) is not None:
        level = len(heading[1])
        return f'<h{level} id="{_anchor(heading[2])}">{_inline(heading[2])}</h{level}>'
    if (image := re.match(r"!\[(.*)\]\((.*)\)$", line)) is not None:
        path = start / image[2]
        # A page that is sent to others must not take along files of whoever made it.
        if path.suffix != ".svg" or not path.resolve().is_relative_to(start.resolve()):
            return f"<p>{_inline(image[1])} (no figure below this page)</p>"
        data = base64.b64encode(read_bytes(path, limit=LONGEST_FIGURE, follow=False)).decode()
        return f'<img alt="{html.escape(image[1])}" src="data:image/svg+xml;base64,{data}">'
    return f"<p>{_inline(line)}</p>" if line else ""


def _html_table(block: Sequence[str]) -> str:
    rows = [[c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block]
    head = "".join(f"<th>{_inline(c)}</th>" for c in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{_inline(c)}</td>" for c in row) + "</tr>" for row in rows[2:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _inline(text: str) -> str:
    text = html.escape(text, quote=False)
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"^\*(.+)\*$", r"<i>\1</i>", text)
    return re.sub(r"\[([^\]]*)\]\(([^)]*)\)", _link, text)


def _link(found: re.Match[str]) -> str:
    """A link to a relative path, a heading or an http address; anything else stays the text it is."""
    text, target = found.groups()
    # A scheme ends at a colon before the first slash; // and backslashes lead to another host.
    relative = re.match(r"(?![/\\]{2})[^:\\\s]*(?:$|[/?#][^\\\s]*$)", target)
    if not (relative or re.match(r"https?://[^\s]+$", target)):
        return found[0]
    return f'<a href="{target.replace(chr(34), "&quot;")}">{text}</a>'


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block; overflow-x: auto; }
th, td { border: 1px solid #ccc; padding: .3rem .5rem; text-align: left; vertical-align: top; }
th { background: #f3f3f3; } img { max-width: 100%; } code { background: #f3f3f3; }
"""

_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title><style>{style}</style></head><body>
{body}
</body></html>
"""


def write(folder: Path, results: Sequence[Result], title: str) -> None:
    """`index.md` and `index.html` in a folder."""
    text = page(results, folder, head=f"# {title}")
    write_atomic(folder / "index.md", text.encode())
    write_atomic(folder / "index.html", to_html(text, folder, title).encode())


HEAD = """# The paper, reproduced

Written by `make reproduction` from [results](../results); do not edit. Paper: Li and Li, ICML 2025. A verdict is `reproduced`,
`partly`, `not reproduced` or `cannot be tested at this scale`; its tolerance comes from the spread over seeds, by the rule that
stands below each artifact. Robust errors under attack are lower bounds; settings called calibrated were fitted to the paper's
numbers and are no evidence. `cgro reproduce NAME --scale SCALE` makes any of it again."""


def document(root: Path, target: Path) -> str:
    """docs/reproduction.md from results/SCALE/ARTIFACT and results/SCALE/runs."""
    results = [r for scale in SCALES for r in results_of(root / scale)]
    if not results:
        raise bad(str(root), expected="results/SCALE/ARTIFACT/summary.json", got="none")
    stored = [line for scale in SCALES for line in networks(root / scale, scale)]
    return page(results, target.parent, head=HEAD) + "\n".join(["", *stored]) * bool(stored)


def networks(folder: Path, scale: str) -> list[str]:
    """Every stored network, whether or not its artifacts are complete: mean (sd) over the seeds that are there."""
    found: dict[str, list[Path]] = {}
    for path in sorted((folder / "runs").glob("*/seed-*/summary.json")):
        if read_json_object(path).get("command") == "train":
            found.setdefault(path.parts[-3], []).append(path)
    if not found:
        return []
    rows = []
    for name, paths in found.items():
        metrics = [_metrics(p, _ACCURACIES.values()) for p in paths]
        cells = [cell([100 - 100 * m[k]["value"] for m in metrics]) for k in _ACCURACIES.values()]
        beside = [_beside(folder, p) for p in paths]
        strong = [v for v in beside if v is not None]
        seeds = f", {len(strong)} seed{'s' * (len(strong) > 1)}" * bool(strong)
        rows.append([f"`{name}`", len(paths), *cells, cell(strong) + seeds])
    columns = ["network", "seeds", *(f"{k} %" for k in _ACCURACIES), "PGD minus ensemble, points"]
    return [
        f"## Networks at scale {scale}, as far as they are trained", "",
        "Accuracies, mean (sd) over seeds; robust ones under the recipe's PGD, so upper bounds. Last column: how much lower the strong "
        "ensemble is on the first test images of the same seeds. Settings and curves are in the folder of each, "
        f"`results/{scale}/runs`.", "", *_table(columns, rows),
    ]  # fmt: skip


_ACCURACIES = {
    "clean test": "clean_error/test",
    "robust test": "robust_error/test",
    "robust train": "robust_error/train",
}


def _beside(folder: Path, trained: Path) -> float | None:
    """PGD's robust accuracy minus the ensemble's, on the same images, if both are stored."""
    name = "-".join(trained.parts[-3:-1])
    paths = [folder / "runs" / "evaluations" / f"{name}-{kind}" / "summary.json" for kind in ("ensemble", "pgd")]
    if not all(p.exists() for p in paths):
        return None
    strong, weak = (_metrics(p, ["robust_error/test"])["robust_error/test"]["value"] for p in paths)
    return 100 * (strong - weak)


def _metrics(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """The metrics of a summary, with shares under these keys."""
    found = read_json_object(path)
    require(found, {"metrics": {key: {"value": SHARE} for key in keys}}, str(path))
    return found["metrics"]


def cell(values: Sequence[float | None], digits: int = 2) -> str:
    """Mean and sample standard deviation for a table; None is left out.

    >>> cell([1.0, 2.0, 3.0]), cell([1.0, None]), cell([])
    ('2.00 (1.00)', '1.00', '')
    """
    known = [v for v in values if v is not None]
    if not known:
        return ""
    spread = f" ({statistics.stdev(known):.{digits}f})" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.{digits}f}{spread}"


if __name__ == "__main__":
    source, written = (Path(a) for a in sys.argv[1:3])
    write_atomic(written, document(source, written).encode())
