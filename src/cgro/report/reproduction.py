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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cgro._check import bad
from cgro.runs import SCHEMA, Run, read_json, write_atomic

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

Result = dict[str, Any]


def results_of(folder: Path) -> list[Result]:
    """Summaries of the artifacts in a folder, in the paper's order, each with its path under `path`.

    Raises:
        BadRequest: one is of another version, or damaged.
    """
    found = []
    for name in ORDER:
        if (folder / name / "summary.json").exists():
            Run(folder / name).check_version()
            result = read_json(folder / name / "summary.json")
            if result.get("schema") != SCHEMA:
                raise bad(str(folder / name), expected=f"results of schema {SCHEMA}", got=result.get("schema"),
                          remedy="make them again with this cgro")  # fmt: skip
            found.append({**result, "path": str(folder / name)})
    return found


def page(results: Sequence[Result], start: Path, *, head: str = "") -> str:
    """The page as Markdown. Figures are linked relative to `start`, the folder of the page.

    An artifact with results at several scales is shown in full at the most telling one, and named in the overview at all.
    """
    best: dict[str, Result] = {}
    for result in sorted(results, key=lambda r: SCALES.index(r["scale"])):
        best.setdefault(result["artifact"], result)
    shown = [best[name] for name in ORDER if name in best]
    lines = [*([head, ""] if head else []), *_overview(results)]
    for result in shown:
        lines += _section(result, start)
    return "\n".join(lines).rstrip() + "\n"


def _overview(results: Sequence[Result]) -> list[str]:
    lines = [
        "| artifact | scale | reproduced | partly | not reproduced | cannot be tested at this scale |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in ORDER:
        for r in sorted((r for r in results if r["artifact"] == name), key=lambda r: SCALES.index(r["scale"])):
            counts = [sum(c["verdict"] == v for c in r["claims"]) for v in MARKS]
            lines.append(
                f"| [{r['title']}](#{_anchor(r['title'])}) | {r['scale']} | "
                + " | ".join(str(n or "") for n in counts)
                + " |"
            )
    scales = sorted({r["scale"] for r in results}, key=SCALES.index)
    return [*lines, "", *(f"- `{s}`: {ABOUT[s]}." for s in scales), ""]


def _anchor(title: str) -> str:
    """The link of a heading, as GitHub and our HTML make it.

    >>> _anchor("Figure 2(a, b): the effect of capacity")
    'figure-2a-b-the-effect-of-capacity'
    """
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _section(result: Result, start: Path) -> list[str]:
    lines = [f"## {result['title']}", "", f"`cgro reproduce {result['artifact']} --scale {result['scale']}`", ""]
    if result["scale"] == "smoke":
        lines += ["**Smoke: a few images of mnist5k stand in for the paper's data, two seeds at most. Numbers and figures of this "
                  "section show that the machinery works and say nothing about the paper.**", ""]  # fmt: skip
    rows = [[c["statement"], c["paper"], c["ours"], MARKS[c["verdict"]], c["reason"]] for c in result["claims"]]
    lines += _table(["the paper says", "paper", "ours", "verdict", "why"], rows)
    for figure in result["figures"]:
        link = os.path.relpath(Path(result["path"]) / figure["file"], start)
        lines += [f"![{figure['caption']}]({Path(link).as_posix()})", "", f"*{figure['caption']}*", ""]
    for table in result["tables"]:
        if not table.get("long") and table["rows"]:
            lines += [table["caption"], "", *_table(table["columns"], table["rows"])]
    rules = dict.fromkeys(f"{c['name']}: {c['rule']}" for c in result["claims"] if c["rule"] != "none at this scale")
    lines += ["Rules of the verdicts:", "", *(f"- {r}." for r in rules), ""] if rules else []
    return [*lines, *(f"- Made by {p}" for p in _provenance(result)), ""]


def _provenance(result: Result) -> Iterator[str]:
    for p in result["provenance"]:
        n, commit = (
            len(p["runs"]),
            (p["commit"] or "none")[:12] + ("-dirty" if (p["commit"] or "").endswith("-dirty") else ""),
        )
        source = f"; from {p['source']}" if p["source"] else ""
        names = f": {', '.join(p['runs'])}" if source else ""
        yield (f"{n} run{'s' if n > 1 else ''} on {p['machine']}, {p['threads']} threads; torch {p['torch']}, cgro {p['cgro']}, "
               f"commit {commit}{source}{names}.")  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    return [line(columns), "| " + " | ".join("---" for _ in columns) + " |", *(line(r) for r in rows), ""]


def to_html(markdown: str, start: Path, title: str) -> str:
    """The page as one HTML file that needs nothing beside it: the few forms of Markdown that `page` writes."""
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
    return _FRAME.format(title=html.escape(title), body="\n".join(b for b in body if b))


def _html_line(line: str, start: Path) -> str:
    if (heading := re.match(r"(#+) (.*)", line)) is not None:
        level = len(heading[1])
        return f'<h{level} id="{_anchor(heading[2])}">{_inline(heading[2])}</h{level}>'
    if (image := re.match(r"!\[(.*)\]\((.*)\)$", line)) is not None:
        data = base64.b64encode((start / image[2]).read_bytes()).decode()
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
    return re.sub(r"\[([^\]]*)\]\(([^)]*)\)", r'<a href="\2">\1</a>', text)


_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #111; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block; overflow-x: auto; }}
th, td {{ border: 1px solid #ccc; padding: .3rem .5rem; text-align: left; vertical-align: top; }}
th {{ background: #f3f3f3; }} img {{ max-width: 100%; }} code {{ background: #f3f3f3; }}
</style></head><body>
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
        if read_json(path)["command"] == "train":
            found.setdefault(path.parts[-3], []).append(path)
    if not found:
        return []
    rows = []
    for name, paths in found.items():
        metrics = [read_json(p)["metrics"] for p in paths]
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
    strong, weak = (read_json(p)["metrics"]["robust_error/test"]["value"] for p in paths)
    return 100 * (strong - weak)


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
