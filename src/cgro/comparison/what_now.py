"""docs/what_now.md and the table that `cgro diagnose` reads, written from stored comparisons of remedies.

python -m cgro.comparison.what_now results docs/what_now.md

A comparison is stored as results/cpu/compare-NAME/summary.json, the summary of `cgro compare`; NAME is a data set of
`DATA`. The table stands between two marks of the page; the rest of the page is written by hand.
"""

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path

from cgro._check import bad
from cgro.commands import train
from cgro.commands._options import flag_of, options_of
from cgro.diagnosis.measured_remedies import FILE, MeasuredComparison, MeasuredRemedy, MeasuredTable, points
from cgro.reading import read_json_object
from cgro.report.compare import WORDS, setting_of
from cgro.report.markdown import line_of
from cgro.report.markdown import table_of as markdown_table
from cgro.results import CompareSummary, RemedyRecord
from cgro.results.keys import ROBUST_TEST
from cgro.results.reading import read_summary
from cgro.runs import Json, dump_json, write_atomic

DATA = {
    "cifar10": "CIFAR-10 (JPEG mirror)",
    "cifar10-rest": "CIFAR-10 (JPEG mirror), the other remedies",
    "cifar10-boxes": "CIFAR-10 (JPEG mirror), two remedies together, and crops",
    "recipe": "CIFAR-10 (JPEG mirror), 5,000 images and a wider network",
    "mnist": "MNIST",
}
"""Name of a comparison -> title, in the order of the page."""
BEGIN = "<!-- table: python -m cgro.comparison.what_now -->"
END = "<!-- end of table -->"
COLUMNS = ("remedy", "robust test error against plain", "effect", "command")
OPTIONS = options_of(train.Config)


def command_of(options: Mapping[str, object]) -> str:
    """The beginning of the call that trains with the options of a remedy.

    Args:
        options: of a plan, such as {"extension": ["ema"]}.

    Returns:
        Text for a shell.

    Raises:
        BadRequest: an option that `cgro train` does not have.

    Example:
        >>> command_of({"objective": "trades:beta=6", "extension": ["awp:gamma=0.005", "ema"]})
        'cgro train --objective trades:beta=6 --extension awp:gamma=0.005 --extension ema'
    """
    words = ["cgro", "train"]
    for name, value in options.items():
        if name not in OPTIONS:
            raise bad("options", expected="options of cgro train", got=repr(name))
        for one in value if isinstance(value, list) else [value]:
            words += [flag_of(name), str(one)]
    return shlex.join(words)


def read_comparison(path: Path, title: str) -> MeasuredComparison:
    """A stored comparison.

    Args:
        path: its summary.json.
        title: of its data.

    Returns:
        What the page and the advice say of it.

    Raises:
        BadRequest: no summary of `cgro compare`, or one that is not finished.
    """
    result = read_summary(read_json_object(path), str(path), CompareSummary)
    if result.n_open:
        raise bad(str(path), expected="a finished comparison", got=f"{result.n_open} jobs not made yet")
    remedies = []
    for name, record in result.remedies.items():
        if record.remedy != result.reference:
            remedies.append(_remedy(name, record))
    return MeasuredComparison(title=title, setting=setting_of(result), remedies=remedies)


def _remedy(name: str, record: RemedyRecord) -> MeasuredRemedy:
    metric = record.differences.get(ROBUST_TEST)
    interval = None
    if metric is not None and metric.interval:
        interval = metric.interval
    return MeasuredRemedy(
        name=name,
        command=command_of(record.options),
        effect=record.effect.label,
        difference=None if metric is None else metric.typical,
        interval=interval,
    )


def found_in(results: Path) -> dict[str, MeasuredComparison | None]:
    """The comparisons in a folder of results.

    Args:
        results: with one folder per scale.

    Returns:
        Title -> comparison, None where there is none.
    """
    found: dict[str, MeasuredComparison | None] = {}
    for name, title in DATA.items():
        path = results / "cpu" / f"compare-{name}" / "summary.json"
        found[title] = read_comparison(path, title) if path.exists() else None
    return found


def table_of(found: Mapping[str, MeasuredComparison | None]) -> str:
    """The tables of the page.

    Args:
        found: of `found_in`.

    Returns:
        Markdown.
    """
    parts: list[str] = []
    for title, comparison in found.items():
        parts.append(f"### {title}\n")
        if comparison is None:
            parts.append("Not measured.\n")
            continue
        rows: list[list[Json]] = []
        for one in sorted(comparison.remedies, key=_by_difference):
            rows.append([one.name, points(one), WORDS.get(one.effect, one.effect), one.command])
        parts += [f"{line_of(comparison.setting)}.\n", *markdown_table(COLUMNS, rows), ""]
    return "\n".join(parts)


def _by_difference(one: MeasuredRemedy) -> float:
    """The largest fall first; what was not measured last."""
    return float("inf") if one.difference is None else one.difference


def filled(page: str, table: str) -> str:
    """The page with another table between its marks.

    Args:
        page: text with both marks.
        table: what stands between them.

    Returns:
        The text.

    Raises:
        BadRequest: a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise bad("page", expected=f"the marks {BEGIN} and {END}", got="a page without them")
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def main(results: Path, page: Path, file: Path = FILE) -> None:
    """Write the page and the table.

    Args:
        results: a folder of results.
        page: the page, which has the marks.
        file: the table of the advice.

    Raises:
        BadRequest: a stored comparison is damaged or unfinished, a page without marks.
    """
    found = found_in(results)
    text = filled(page.read_text(encoding="utf-8"), table_of(found))
    table = MeasuredTable(comparisons=[one for one in found.values() if one is not None])
    write_atomic(page, text.encode())
    write_atomic(file, dump_json(table.plain()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path)
    asked = parser.parse_args()
    main(asked.results, asked.page)
