"""Long tables: one value a row, with its step and the name of what was measured (run, tag, step, value)."""

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cgro._check import bad, listed
from cgro.diagnosis.columns import ERRORS
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited, delimiter_of
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.table.groups import as_parts
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.keys import is_group, is_step
from cgro.diagnosis.vocabulary import words_of
from cgro.diagnosis.words import curve_of, is_held_out

_TAGS = (["tag"], ["metric"], ["metric", "name"], ["name"], ["key"], ["variable"], ["measure"])
_VALUES = (["value"], ["val"], ["scalar"], ["metric", "value"])
STEP = "step"
"""The name of the column of steps in the table that is made of a long one."""
FAR = 3
"""How many times further than the errors on held-out data a column of another counter goes on. A choice: an epoch has
more batches than that, and a training whose evaluations end so early says nothing of its end."""


class LongTable:
    """CSV with columns such as run, tag, step, value, as exports of TensorBoard, MLflow and melted tables have them."""

    name = "long table"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            0.9 for a header with a column of names, one of values, and one of epochs or steps.
        """
        header = text.content.lstrip()[:10_000].splitlines()
        if not header or len(text.lines) < 2:
            return 0.0
        return 0.9 if _columns(_fields(header[0], delimiter_of(header[0]))) is not None else 0.0

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        Runs that are called train, validation or test are parts of one training, as Keras writes them.

        Args:
            text: of the file.
            told: tags that the caller named, `step` among them; or columns of the file as it is.

        Returns:
            One value per run.

        Raises:
            BadRequest: rows of another length than the header; steps that are no epochs; see `curves_of`.
        """
        lines = list(filter(str.strip, text.lines))
        delimiter = delimiter_of(lines[0])
        names = _fields(lines[0], delimiter)
        columns = _columns(names)
        if columns is None or any(choice.text == names[columns.value] for choice in told.choices.values()):
            return Delimited().read(text, told)
        rows = list(_pivoted(text.source, lines, delimiter, names, columns))
        remarks: list[str] = []
        if STEP in rows[0]:
            rows, remarks = steps_as_epochs(rows, told)
        return curves_of(Table(text.source, lambda: rows, None, {"format": self.name}, remarks), told)


def steps_as_epochs(rows: list[dict[str, object]], told: Told) -> tuple[list[dict[str, object]], list[str]]:
    """Steps that run by one, where an error was measured, are epochs; any others are asked for.

    Columns that are counted otherwise, as training errors by batches, are left out: their steps are no epochs.

    Args:
        rows: each with `step`.
        told: what the caller says; a told epoch is not touched.

    Returns:
        The rows, with `epoch` in place of `step` where it is one; and what was assumed.

    Example:
        >>> rows = [{"step": 0, "test_acc": 0.5}, {"step": 1, "test_acc": 0.6}]
        >>> steps_as_epochs(rows, Told({}))[0][1]
        {'epoch': 1, 'test_acc': 0.6}
    """
    if "epoch" in told.choices or any("epoch" in row for row in rows):
        return rows, []
    used, remarks = _of_one_counter(rows, told)
    steps: set[float] = set()
    for row in used:
        if not set(ERRORS).isdisjoint(map(curve_of, row)):
            try:
                steps.add(float(str(row[STEP])))
            except ValueError:
                return rows, []
    if not _run_by_one(steps):
        return rows, []
    moved: list[dict[str, object]] = []
    for row in used:
        try:
            step = float(str(row[STEP]))
        except ValueError:
            continue
        if step in steps:  # a learning rate at every step of the optimizer would make thousands of epochs
            rest = dict(row)
            moved.append({"epoch": rest.pop(STEP), **rest})
    return moved, [f"the steps, {min(steps):g} to {max(steps):g} by one, are taken for epochs", *remarks]


def _of_one_counter(rows: list[dict[str, object]], told: Told) -> tuple[list[dict[str, object]], list[str]]:
    """The rows without the columns that are counted otherwise than errors on held-out data, and which those are.

    A training that logs its own errors at every batch, and its evaluations by the number of the epoch, has two counters
    in one column: batch 9 would stand beside epoch 9.
    """
    held_out: set[float] = set()
    last: dict[str, float] = {}
    for row in rows:
        try:
            step = float(str(row[STEP]))
        except ValueError:
            return rows, []
        for name in row:
            if is_held_out(name):
                held_out.add(step)
            elif curve_of(name):
                last[name] = max(last.get(name, step), step)
    if not _run_by_one(held_out):
        return rows, []
    end = max(held_out)
    named = {choice.text for choice in told.choices.values()}
    others = sorted(name for name, step in last.items() if step > FAR * max(end, 1) and name not in named)
    if not others:
        return rows, []
    used = [{name: value for name, value in row.items() if name not in others} for row in rows]
    furthest = max(last[name] for name in others)
    names = listed((repr(name) for name in others), 4)
    return used, [
        f"{names}: left out; steps go on to {furthest:g} there, where the errors on held-out data end at {end:g}: "
        "batches, it seems, where those are epochs"
    ]


def _run_by_one(steps: set[float]) -> bool:
    ordered = sorted(steps)
    return len(ordered) > 1 and all(later - earlier == 1 for earlier, later in itertools.pairwise(ordered))


@dataclass(frozen=True)
class _Columns:
    """The places of the columns of a long table; None where it has none.

    Args:
        tag: of what was measured.
        value: of the number.
        epoch: of the epoch.
        step: of the step.
        group: of the run.
    """

    tag: int
    value: int
    epoch: int | None
    step: int | None
    group: int | None


def _columns(names: Sequence[str]) -> _Columns | None:
    """What each column of a long table is; None where it is another table."""
    tag = _first(names, lambda name: words_of(name) in _TAGS)
    value = _first(names, lambda name: words_of(name) in _VALUES)
    epoch = _first(names, lambda name: words_of(name) == ["epoch"])
    step = _first(names, is_step)
    if tag is None or value is None or (epoch is None and step is None):
        return None
    return _Columns(tag, value, epoch, step, _first(names, is_group))


def _first(names: Sequence[str], fits: Callable[[str], bool]) -> int | None:
    for place, name in enumerate(names):
        if fits(name):
            return place
    return None


def _pivoted(
    source: str, lines: Sequence[str], delimiter: str, names: Sequence[str], columns: _Columns
) -> Iterator[dict[str, object]]:
    """One row for each run and epoch or step, with its values under their tags."""
    records: list[list[str]] = []
    for n, fields in enumerate(_records(lines[1:], delimiter), 2):
        if len(fields) != len(names):
            raise bad(f"{source}: line {n}", expected=f"{len(names)} fields, as in the header", got=f"{len(fields)}")
        records.append(fields)
    parts: dict[str, str] = {}
    if columns.group is not None:
        parts = as_parts(record[columns.group] for record in records)
    used = (columns.tag, columns.value, columns.epoch, columns.step, columns.group)
    others = [place for place, name in enumerate(names) if place not in used and not curve_of(name)]
    tags: set[str] = set()
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for record in records:
        row, tag = _row_of(record, names, columns, parts)
        tags.add(tag)
        if len(tags) > base.MOST_COLUMNS:
            raise bad(source, expected=f"at most {base.MOST_COLUMNS:,} tags", got="more")
        key = tuple(row.values())
        if tag in rows.get(key, ()):
            yield rows.pop(key)  # the same value again, as of another seed: a row of its own, to be noticed
        if key not in rows:  # what tells its values from those of other rows, as a method or a radius
            rows[key] = row | {names[place]: record[place] for place in others}
        rows[key][tag] = record[columns.value]
    yield from rows.values()


def _row_of(
    record: Sequence[str], names: Sequence[str], columns: _Columns, parts: Mapping[str, str]
) -> tuple[dict[str, object], str]:
    """What a line says of its epoch, step and run; and its tag, with the part that a run stands for."""
    tag = record[columns.tag]
    row: dict[str, object] = {}
    if columns.epoch is not None:
        row |= {"epoch": record[columns.epoch]}
    if columns.step is not None:
        row |= {STEP: record[columns.step]}
    if columns.group is not None and record[columns.group] in parts:
        tag = f"{parts[record[columns.group]]} {tag}"
    elif columns.group is not None:
        row[names[columns.group]] = record[columns.group]
    return row, tag


def _fields(line: str, delimiter: str) -> list[str]:
    return next(_records([line], delimiter), [])


def _records(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """The fields of each line; a damaged quotation makes one field, which fits no header."""
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            yield list(map(str.strip, next(reader)))
        except StopIteration:
            return
        except csv.Error:
            yield []
