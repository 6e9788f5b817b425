"""From named columns to curves: units, seeds and missing values are decided here for all formats."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cgro._check import BadRequest, apart, bad, listed
from cgro.diagnosis.checks import impossible, lost_epochs
from cgro.diagnosis.columns import ERRORS, LOSSES, Column, Unit, map_option
from cgro.diagnosis.curves import NOT_MEASURED, Curves, without_copies
from cgro.diagnosis.fillers import without_fillers
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.line.epochs import epoch_in_cell
from cgro.diagnosis.importers.line.numerals import percentage_of, unwrapped
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.table.comments import require_told
from cgro.diagnosis.importers.table.counting import with_counted_steps
from cgro.diagnosis.importers.table.doubts import require_understood
from cgro.diagnosis.importers.table.groups import follow_each_other, regrouped
from cgro.diagnosis.importers.table.layout import Layout, layout_of
from cgro.diagnosis.importers.table.seeds import Seed
from cgro.diagnosis.importers.table.unread import (
    EMPTY,
    constants,
    not_understood,
    require_rows_of_one_training,
    without_labels,
)
from cgro.diagnosis.importers.told import Cells, Told
from cgro.diagnosis.keys import is_step
from cgro.diagnosis.rows import Merged, merge
from cgro.diagnosis.units import ONE, ROUNDING, agreed_unit, require_percent_that_vary, unit_of
from cgro.diagnosis.vocabulary import kinds_of, words_of
from cgro.diagnosis.words import Meaning

CLEAN_ACCURACY = "clean_accuracy/"
MOST_REMARKS = 10
"""Columns of which each has a sentence. A choice: accuracies of each of a thousand classes would hide all others."""
BELOW = 0.03
"""By how much a training accuracy lies below the clean one on test data where it may be that of attacked examples. A
choice: above the noise of both; augmentation or regularization alone may do so as well, so that it is only said."""
AGREE = 0.005
"""By how much an error and 1 minus its accuracy may differ. A choice: half a percent, the rounding of both."""


@dataclass(frozen=True)
class Table:
    """Named columns of a file.

    Args:
        source: the file, for messages.
        rows: gives the rows anew at each call, so that only the columns in use are ever held.
        names: of the columns, in the file's order; None collects them from the rows.
        about: goes into `Curves.meta`.
        remarks: what the importer had to repair.
        meanings: column -> what it is, where the format and not its name says so.
        units: column -> percent or fraction, likewise.
        appended: whether the program appends its next training to the file, see `cgro.diagnosis.rows.merge`.
    """

    source: str
    rows: Callable[[], Iterable[Cells]]
    names: Sequence[str] | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    meanings: Mapping[str, Meaning] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    appended: bool = False

    def __post_init__(self) -> None:
        for column, meaning in self.meanings.items():
            if not isinstance(meaning, Meaning):
                remedy = 'write Meaning("robust_error/test"), or Meaning(..., accuracy=True)'
                raise bad(f"Table: meaning of {column!r}", expected="a Meaning", got=repr(meaning), remedy=remedy)


def curves_of(table: Table, told: Told) -> list[Curves]:
    """Curves from named columns; accuracies become errors, empty cells are not measured.

    Args:
        table: of one file.
        told: which columns the caller named; the others speak for themselves or are not used.

    Returns:
        One value per seed.

    Raises:
        BadRequest: a column that is not there, two columns for one curve, no epoch, no error, text where a number
            belongs, units that disagree, robust errors below clean ones. Names the columns.
    """
    names = table.names
    if names is None:
        names = _names(table)
    rows, counts = told.in_percent(table.rows)
    table = replace(table, names=names, rows=rows, remarks=[*table.remarks, *counts])
    one = regrouped(table.rows, names, told, table.source)
    if one is not None:
        names = one.names
        table = replace(table, rows=one.rows, names=names, remarks=[*table.remarks, one.remark])
    layout = without_labels(table.rows, layout_of(names, told, table.source, table.meanings, rows=table.rows))
    layout = with_counted_steps(table.rows, names, layout)
    standard = table.about.get("attack") == "none"
    require_understood(layout, names, table.source, standard=standard, rows=table.rows)
    passed_over = require_rows_of_one_training(table.rows, names, layout, table.source)
    of_attack, constant = constants(table.rows, names, layout)
    strange = not_understood(names, layout)
    if strange and not layout.measures(ERRORS[3:]):
        passed_over.append(f"not understood, and not used: {listed(map(repr, strange), 5)}; one may be a robust error")
    table = replace(table, remarks=[*table.remarks, *passed_over, *constant])
    seeds, percent = _seeds(table, layout)
    units = _units(seeds.values(), layout, percent, table)
    found: list[Curves] = []
    for name, seed in seeds.items():
        found.append(_one(table, layout, seed, units, name))
        _require_possible(found[-1], layout)
        if of_attack:
            require_told(found[-1], of_attack, told)
    return found


def _names(table: Table) -> list[str]:
    names: dict[str, None] = {}
    for n_rows, row in enumerate(table.rows(), 1):
        for key in row:
            names[str(key)] = None
        if n_rows > base.MOST_ROWS or len(names) > base.MOST_COLUMNS:
            most = f"at most {base.MOST_ROWS:,} rows and {base.MOST_COLUMNS:,} columns"
            raise bad(table.source, expected=most, got=f"{n_rows:,} rows and {len(names):,} columns or more")
    return list(names)


def _seeds(table: Table, layout: Layout) -> tuple[dict[str, Seed], set[str]]:
    """The rows of each training, with the values of the columns in use; and the columns whose cells have a % sign."""
    seeds: dict[str, Seed] = {}
    signs: dict[str, set[bool]] = {name: set() for name in layout.used}
    group = ""
    for n, row in enumerate(table.rows(), 1):
        epoch, values, nan = _read_row(row, layout, signs, f"{table.source}: row {n}")
        of_row = str(row.get(layout.group or "", "")).strip()
        if of_row or not math.isnan(epoch):
            group = of_row  # a row with neither belongs to those above it
        seed = seeds.setdefault(group, Seed())
        if not layout.has_epoch:
            epoch = len(seed.rows) + 1
        seed.add(epoch, values, nan)
    _require_single_signs(signs, table.source)
    errors = list(filter(lambda name: layout.used[name].curve in ERRORS, layout.used))
    for seed in seeds.values():
        seed.settle(errors, table.source, _remedy_for_epochs(table.names or ()))
    kept = {group: seed for group, seed in seeds.items() if seed.rows}
    if not kept:
        raise refusal(table.source, f"no rows with an epoch; columns: {listed(layout.used, 20)}")
    return _joined(kept, layout.group or ""), {name for name, seen in signs.items() if True in seen}


def _read_row(
    row: Cells, layout: Layout, signs: Mapping[str, set[bool]], where: str
) -> tuple[float, dict[str, float], list[str]]:
    """The epoch of a row, NaN for none; its other values by column; and the columns for which NaN was written."""
    epoch = math.nan
    values: dict[str, float] = {}
    nan: list[str] = []
    for name, meaning in layout.used.items():
        value = _cell(_without_total(row.get(name), meaning), f"{where}, column {name}", signs[name])
        if meaning.curve == "epoch":
            epoch = _epoch(value, where)
        elif not math.isfinite(value):
            if _is_written(row.get(name)):
                nan.append(name)
        elif value != NOT_MEASURED or meaning.curve not in (*ERRORS, *LOSSES, "lr"):
            values[name] = value
    return epoch, values, nan


def _remedy_for_epochs(names: Iterable[str]) -> str:
    for name in names:
        if is_step(name):
            return f"order the rows by {map_option('epoch', name)}"
    return "write the epoch into every row"


def _without_total(cell: object, meaning: Meaning) -> object:
    """The epoch in a cell such as 17/200 or epoch_17; any other cell as it is."""
    if meaning.curve != "epoch" or not isinstance(cell, str):
        return cell
    return epoch_in_cell(cell) or cell


def _epoch(value: float, where: str) -> float:
    if math.isinf(value):
        raise bad(f"{where}: epoch", expected="a finite number in every row", got=value)
    return value


def _require_single_signs(signs: Mapping[str, set[bool]], source: str) -> None:
    for name, seen in signs.items():
        if len(seen) > 1:
            got = f"some cells of {name} with and some without %"
            raise bad(source, expected="one unit per column", got=got, remedy="write all of them alike")


def _joined(seeds: dict[str, Seed], group: str) -> dict[str, Seed]:
    """Groups of which each goes on where another ended are one training that was resumed under another name."""
    epochs = {name: [row["epoch"] for row in seed.rows] for name, seed in seeds.items()}
    if len(seeds) == 1 or not follow_each_other(epochs, group):
        return seeds
    whole = Seed(
        remarks=[f"the rows of {group} {listed(seeds, 8)} go on from each other: they are taken for one training"]
    )
    for seed in seeds.values():
        whole.rows += seed.rows
        for name, written in seed.written.items():
            whole.written.setdefault(name, set()).update(written)
    return {"": whole}


def _is_written(cell: object) -> bool:
    """Whether a cell that holds no number holds NaN or infinity, rather than nothing."""
    return cell is not None and str(cell).strip().lower() not in EMPTY


def _cell(value: object, where: str, signs: set[bool]) -> float:
    """The number in a cell, NaN for none; `signs` takes whether it has a percent sign."""
    if isinstance(value, float):
        return value
    if not _is_written(value):
        return math.nan
    try:
        if isinstance(value, str):
            text = unwrapped(value.strip())
            text = percentage_of(text) or text
            result = float(text.rstrip("%"))
            if result not in (0, NOT_MEASURED) and math.isfinite(result):
                signs.add(text.endswith("%"))
            return result
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):  # OverflowError: an integer of hundreds of digits
        pass
    got = type(value).__name__
    if isinstance(value, str | bool):
        got = repr(value)
    raise bad(where, expected="a number", got=got)


def _units(seeds: Iterable[Seed], layout: Layout, percent: set[str], table: Table) -> dict[str, Unit]:
    """The unit of every column of errors or accuracies, from its values over all seeds.

    Raises:
        BadRequest: columns that disagree, values outside of [0, 1] and percent.
    """
    values: dict[str, list[float]] = {name: [] for name, meaning in layout.used.items() if meaning.curve in ERRORS}
    epochs: dict[str, list[float]] = {name: [] for name in values}
    for seed in seeds:
        for row in seed.rows:
            for name in values.keys() & row.keys():
                values[name].append(row[name])
                epochs[name].append(row.get("epoch", math.nan))
    curves = {name: meaning.told for name, meaning in layout.used.items()}
    units: dict[str, Unit | None] = {}
    told: list[str] = []
    try:
        for name, column in values.items():
            unit = layout.told.get(name) or table.units.get(name)
            if unit is not None:
                told.append(name)
            elif name in percent:
                unit = "percent"
            else:
                unit = unit_of(name, np.array(column), np.array(epochs[name]), curve=curves[name])
            units[name] = unit
            _require_range(name, column, unit)
        # Robust accuracies and errors below 1% are common, and believed; a clean accuracy is not.
        said = [name for name, unit in units.items() if unit == "percent" and name not in told]
        clean = [name for name in said if layout.used[name].told.startswith(CLEAN_ACCURACY)]
        require_percent_that_vary({name: np.array(values[name]) for name in clean}, curves)
        common = agreed_unit(units, told, curves=curves)
    except BadRequest as error:
        raise refusal(table.source, str(error)) from None
    return {name: unit or common for name, unit in units.items()}


def _require_range(name: str, column: Sequence[float], unit: Unit | None) -> None:
    if unit is None or not column:
        return
    low, high = min(column), max(column)
    if low < -ROUNDING or high > ONE[unit] + ROUNDING:
        least, largest, _, one = apart(low, high, 0.0, ONE[unit])
        raise bad(f"column {name}", expected=f"values in [0, {one}], in {unit}", got=f"[{least}, {largest}]")


def _one(table: Table, layout: Layout, seed: Seed, units: Mapping[str, Unit], group: str) -> Curves:
    """The curves of one training."""
    where = table.source
    about: dict[str, object] = {"source": table.source, **table.about}
    if layout.group is not None and group:
        where = f"{table.source}, {layout.group} {group}"
        about["group"] = f"{layout.group} {group}"
    rows = [_converted(row, layout, units) for row in seed.rows]
    merged = merge(rows, where, appended=table.appended, steps=layout.steps)
    values, fillers = without_fillers(_one_of_each(merged, layout, where))
    columns: list[Column] = []
    for name, meaning in layout.used.items():
        if meaning.curve in values:
            column = Column(name, meaning.curve, _measure(meaning), meaning.attack, units.get(name))
            columns.append(_with_missing(column, values[meaning.curve], merged.epoch, seed))
    about["remarks"] = [
        *table.remarks,
        *_remarks(layout),
        *seed.remarks,
        *merged.remarks,
        *fillers,
        *_may_be_attacked(values, table, layout),
        *lost_epochs(merged.epoch),
    ]
    about["caveats"] = merged.caveats
    return without_copies(Curves(merged.epoch, values, about, columns))


def _may_be_attacked(values: Mapping[str, np.ndarray], table: Table, layout: Layout) -> list[str]:
    """A sentence on a training accuracy that does not say what it is of, and lies below the clean one on held-out data
    in most epochs: programs of this field print the accuracy on the examples that they train on, which are attacked."""
    name = next((name for name, meaning in layout.used.items() if meaning.curve == "clean_error/train"), None)
    is_told = name in layout.told or name in table.meanings
    if name is None or is_told or kinds_of(words_of(name)) or not layout.measures(ERRORS[4:]):
        return []
    part = "test" if "clean_error/test" in values else "validation"
    if "clean_error/train" not in values or f"clean_error/{part}" not in values:
        return []
    difference = values["clean_error/train"] - values[f"clean_error/{part}"]
    n_both = int(np.sum(np.isfinite(difference)))
    n_below = int(np.sum(difference > BELOW))
    if 2 * n_below < max(n_both, 2):
        return []
    robust = layout.used[name].told.replace("clean", "robust")
    return [
        f"column {name!r} is taken for clean, and lies below the clean accuracy on {part} data in {n_below} of "
        f"{n_both} epochs: it may be of attacked examples; if so, add {map_option(robust, name)}"
    ]


def _remarks(layout: Layout) -> list[str]:
    """What was assumed of the columns, and which were left out."""
    remarks: list[str] = []
    if not layout.has_epoch:
        remarks.append("no column counts epochs: the rows are numbered from 1")
    if layout.run:
        remarks.append(f"{layout.run!r}, with which columns begin, is taken for the name of a run and means nothing")
    if layout.evals:
        remarks.append(f"eval is taken for validation, as other columns say test: {listed(layout.evals, 4)}")
    if layout.summaries:
        remarks.append(f"not used, since they have one value behind the last epoch: {listed(layout.summaries, 4)}")
    for name, doubt in list(layout.unknown.items())[:MOST_REMARKS]:
        remarks.append(f"column {name!r} is not used: {doubt.reason}")
    if len(layout.unknown) > MOST_REMARKS:
        remarks.append(f"{len(layout.unknown) - MOST_REMARKS} more columns of errors or accuracies are not used")
    return remarks


def _converted(row: Mapping[str, float], layout: Layout, units: Mapping[str, Unit]) -> dict[str, float]:
    """A row with curves as names: errors as fractions. An accuracy beside its error keeps a name of its own."""
    found = {"epoch": row["epoch"]}
    for name in layout.used.keys() & row.keys():
        meaning, value = layout.used[name], row[name]
        if name in units:
            one = ONE[units[name]]
            if meaning.accuracy:
                value = round((one - value) / one, 10)  # so that 1 - 0.7 is 0.3
            elif one > 1:
                value = value / one
            value = min(max(value, 0.0), 1.0)
        found[meaning.told] = value
    return found


def _one_of_each(merged: Merged, layout: Layout, source: str) -> dict[str, np.ndarray]:
    """Curves by their own names; where a file has an error and its accuracy, they must agree and the first is taken.

    Raises:
        BadRequest: they contradict each other.
    """
    values: dict[str, np.ndarray] = {}
    for meaning in layout.used.values():
        given = merged.values.get(meaning.told)
        if meaning.curve == "epoch" or given is None:
            continue
        first = values.setdefault(meaning.curve, given)
        both = ~np.isnan(first) & ~np.isnan(given)
        if np.abs(first - given)[both].max(initial=0.0) > AGREE:
            error, accuracy = meaning.curve, meaning.curve.replace("error", "accuracy")
            text = f"the columns of {error} and {accuracy} contradict each other; choose with --map {error}=COLUMN"
            raise refusal(source, text)
    return dict(sorted(values.items()))


def _measure(meaning: Meaning) -> str:
    if meaning.curve in LOSSES:
        return "loss"
    if meaning.curve not in ERRORS:
        return "number"
    return "accuracy" if meaning.accuracy else "error"


def _with_missing(column: Column, values: np.ndarray, epochs: np.ndarray, seed: Seed) -> Column:
    """A column with the epochs without a value counted, and those for which NaN was written."""
    missing = set(epochs[np.isnan(values)].tolist())
    written = seed.written.get(column.name, set()) & missing
    last = max(epochs[~np.isnan(values)], default=-math.inf)
    nan_from = min((epoch for epoch in written if epoch > last), default=None)
    return replace(column, n_missing=len(missing), n_nan=len(written), nan_from=nan_from)


def _require_possible(curves: Curves, layout: Layout) -> None:
    """Refuse held-out robust errors below the clean ones, unless the caller chose the column; then it is a caveat.

    Raises:
        BadRequest: names the column and what it may be instead.
    """
    of_curve = {column.curve: column.name for column in curves.columns}
    for found in impossible(curves):
        name = of_curve.get(f"robust_error/{found.part}")
        if not found.misread or name is None or name in layout.told:
            continue
        remedy = "check which column is clean and which robust"
        if found.as_accuracy:
            meaning = layout.used[name]
            other = replace(meaning, accuracy=not meaning.accuracy)
            what = _measure(other)
            remedy = f"if the values of column {name!r} mean {what}, add {map_option(other.told, name)}"
        raise refusal(curves.source, f"{found.sentence}; {remedy}")
