"""List, filter, compare and export the runs below one or several folders: their settings, verdicts and numbers.

Without --columns it shows the settings in which the runs differ, the verdict, and the errors. A column is a setting as
in config.yaml, a metric as in summary.json, or one of run, command, state, verdict, note. Errors are fractions.

examples:
  cgro runs runs
  cgro runs runs --where model=lenet --where "robust_error/test<0.5" --sort robust_error/test
  cgro runs runs --where state!=finished --columns run,state,note
  cgro runs runs/a runs/b --inside --out runs.csv
  cgro runs runs --out runs.parquet
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec

from cgro._check import BadRequest, bad, one_line
from cgro.catalog import OWN, Listed, Value, columns_of, differing, find_runs
from cgro.commands._common import Telling, option
from cgro.commands._effect import Effects, beside
from cgro.commands._where import as_number, read_conditions, require_column
from cgro.results.keys import CLEAN_TEST, ROBUST_TEST, ROBUST_TRAIN
from cgro.runs import Unsaved, write_atomic
from cgro.writing import dump_csv

HEADLINE = (CLEAN_TEST, ROBUST_TRAIN, ROBUST_TEST)
"""Metrics that are shown of runs that have them."""
MOST_METRICS = 3
"""Metrics that are shown of runs without errors."""
WIDEST = 40
"""Characters of a cell on the terminal; files have all."""
WHOLE = ("run", "note")
"""Columns that are shown whole."""
SUFFIXES = (".csv", ".parquet")
INSTALL = "pip install 'cgro[data]', or export .csv"
DEFAULT_FOLDER = "runs"


@dataclass(kw_only=True)
class Config(Telling):
    """Options of `cgro runs`."""

    folders: list[str] = option([], "folders with runs at any depth; default runs", positional=True)
    where: list[str] = option([], "COLUMN=VALUE, also != < <= > >= and ~ (contains); may be repeated: all must hold")
    columns: str | None = option(None, "columns with commas, or all; default: what differs, verdict and errors")
    sort: str | None = option(None, "column to sort by, the smallest first")
    descending: bool = option(False, "with --sort: the largest first", flag=True)
    inside: bool = option(False, "also runs inside of runs: single seeds, and the parts of comparisons")
    out: str | None = option(None, "also write the table: a .csv or .parquet file", group="results")
    overwrite: bool = option(False, "replace a file that is there", group="results")
    json: bool = option(False, "print the table as JSON on stdout, nothing else", group="results")

    HAS_EFFECT: ClassVar[Effects] = {
        "descending": beside("--sort", lambda c: c.sort is not None),
        "overwrite": beside("--out", lambda c: c.out is not None),
    }


class _Table(msgspec.Struct):
    """What `run` gives.

    Attributes:
        columns: names of the columns.
        rows: one per run: a value per column.
        same: settings that all runs share.
        n_found: runs that were found, before --where.
        file: that was written.
    """

    columns: list[str]
    rows: list[list[str | float | int | bool | None]]
    same: dict[str, str | float | int | bool | None]
    n_found: int
    file: str | None


def run(config: Config) -> Unsaved:
    """Find, filter and sort the runs, and write the table where one is asked for.

    Args:
        config: the options.

    Returns:
        The table as plain values: `columns`, `rows`, `same` (settings that all share), `n_found`, `file`.

    Raises:
        BadRequest: no folder, a column that no run has, a condition that cannot be read, a file that is there, pyarrow
            missing.
    """
    if config.out is not None:
        _require_writable(Path(config.out), config.overwrite)
    found = find_runs(config.folders or [DEFAULT_FOLDER], inside=config.inside)
    columns = columns_of(found)
    shown: list[Listed] = []
    conditions = read_conditions(config.where, columns) if found else []
    for one in found:
        if all(condition.holds(one) for condition in conditions):
            shown.append(one)
    if config.sort is not None and found:
        shown = _sorted(shown, config.sort, columns, config.descending)
    chosen = _chosen(config.columns, shown, columns)
    table = _Table(
        columns=chosen,
        rows=[[one.get(column) for column in chosen] for one in shown],
        same=_same(shown),
        n_found=len(found),
        file=config.out,
    )
    if config.out is not None:
        write_atomic(Path(config.out), _encoded(table, Path(config.out).suffix))
    return Unsaved(msgspec.to_builtins(table))


def _require_writable(path: Path, overwrite: bool) -> None:
    if path.suffix not in SUFFIXES:
        raise bad("--out", expected="a file ending in .csv or .parquet", got=str(path))
    if path.exists() and not overwrite:
        raise BadRequest(f"{path}: exists; choose another --out or add --overwrite")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401 - asked for before the work
        except ImportError as error:
            raise bad("--out", expected="the package pyarrow", got=str(error), remedy=INSTALL) from None


def _sorted(runs: Sequence[Listed], name: str, columns: Sequence[str], is_down: bool) -> list[Listed]:
    """Numbers by size, before text by the alphabet; runs without a value come last."""
    require_column(name, columns, "--sort")
    with_value: list[Listed] = []
    without: list[Listed] = []
    for one in runs:
        if one.get(name) is None:
            without.append(one)
        else:
            with_value.append(one)
    with_value.sort(key=lambda one: _rank(one.get(name)), reverse=is_down)
    return with_value + without


def _rank(cell: Value) -> tuple[float, str]:
    value = as_number(cell)
    if value is None:
        return math.inf, str(cell)
    return value, ""


def _chosen(asked: str | None, runs: Sequence[Listed], columns: Sequence[str]) -> list[str]:
    if asked == "all":
        return list(columns)
    if asked is not None:
        names = [name.strip() for name in asked.split(",") if name.strip()]
        if not names:
            raise bad("--columns", expected="names of columns with commas, or all", got=repr(asked))
        for name in names:
            require_column(name, columns, "--columns")
        return names
    chosen = ["run"]
    if len({one.command for one in runs}) > 1:
        chosen.append("command")
    chosen += differing(runs)
    if any(one.state != "finished" for one in runs):
        chosen.append("state")
    if any(one.verdict is not None for one in runs):
        chosen.append("verdict")
    metrics: dict[str, None] = {}
    for one in runs:
        metrics.update(dict.fromkeys(one.metrics))
    headline = [name for name in HEADLINE if name in metrics]
    chosen += headline or list(metrics)[:MOST_METRICS]
    if any(one.note for one in runs):
        chosen.append("note")
    return chosen


def _same(runs: Sequence[Listed]) -> dict[str, Value]:
    """Settings with a value that all runs share; of one run alone nothing is compared."""
    if len(runs) < 2:
        return {}
    different = set(differing(runs))
    same: dict[str, Value] = {}
    for name, value in runs[0].settings.items():
        is_shared = name not in different and all(name in one.settings for one in runs)
        if is_shared and value is not None and name not in OWN:
            same[name] = value
    return same


def _encoded(table: _Table, suffix: str) -> bytes:
    if suffix == ".csv":
        return dump_csv(table.columns, table.rows)
    import pyarrow
    import pyarrow.parquet

    arrays = []
    for k in range(len(table.columns)):
        arrays.append(pyarrow.array(_of_one_type([row[k] for row in table.rows])))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=table.columns), sink)
    return sink.getvalue().to_pybytes()


def _of_one_type(cells: Sequence[Value]) -> Sequence[Value]:
    """A parquet column has one type: where numbers and text meet, as with a radius of 8/255, all become text."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int, float}:
        return cells  # pyarrow makes both into numbers of double precision
    if len(kinds) == 1:
        return cells
    texts: list[Value] = []
    for cell in cells:
        texts.append(cell if cell is None else str(cell))
    return texts


def describe(result: Mapping[str, object]) -> str:
    """The table for the terminal.

    Args:
        result: of `run`.

    Returns:
        Several lines: the settings that all runs share, and one line per run.
    """
    table = msgspec.convert(result, _Table)
    n_shown = len(table.rows)
    lines: list[str] = []
    if n_shown:
        cells = [table.columns]
        for row in table.rows:
            cells.append([_text(name, cell) for name, cell in zip(table.columns, row, strict=True)])
        widths = [max(len(row[k]) for row in cells) for k in range(len(table.columns))]
        for row in cells:
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join(padded).rstrip())
        lines.append("")
    if table.same:
        pairs = [f"{name}={_text(name, value)}" for name, value in table.same.items()]
        lines.append("all: " + ", ".join(pairs))
    count = f"{n_shown} of {table.n_found} runs"
    if n_shown == table.n_found:
        count = f"runs: {n_shown}"
    if table.file is not None:
        count += f"; written to {table.file}"
    lines.append(count)
    return "\n".join(lines)


def _text(column: str, cell: Value) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    if column in WHOLE:
        return one_line(str(cell))
    return one_line(str(cell), WIDEST)
