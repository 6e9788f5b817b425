"""From named columns to curves: the one place where names, units, seeds and missing values are decided for all formats."""

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cgro._check import BadRequest, bad, one_line
from cgro.data.raw import listed
from cgro.diagnosis.checks import impossible, lost_epochs
from cgro.diagnosis.columns import (
    ERRORS,
    LOSSES,
    Column,
    Meaning,
    Unit,
    Unknown,
    agreed_unit,
    closest,
    is_group,
    is_step,
    keras_training,
    meaning_of,
    unit_of,
    without_run_names,
    words_of,
)
from cgro.diagnosis.curves import NOT_MEASURED, Curves, checked
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.rows import Merged, merge

Cells = Mapping[str, object]
_EMPTY = ("", "none", "null", "-", "n/a")
_HELD_OUT = ("robust_error/test", "robust_error/validation")


@dataclass(frozen=True)
class Table:
    """Named columns of a file.

    Args:
        source: the file, for messages.
        rows: gives the rows anew at each call, so that only the columns in use are ever held.
        names: of the columns, in the file's order; None collects them from the rows.
        about: goes into `Curves.meta`.
        remarks: what the importer had to repair.
        appended: whether the program appends its next training to the file, see `cgro.diagnosis.rows.merge`.
    """

    source: str
    rows: Callable[[], Iterable[Cells]]
    names: Sequence[str] | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    appended: bool = False


@dataclass(frozen=True)
class Layout:
    """What each column was understood as.

    Args:
        used: column -> meaning.
        told: columns that the caller named, with the unit if that was said too.
        unknown: columns that hold an error or accuracy, one cannot say which.
        group: the column that tells seeds apart, if there is one.
        steps: whether a column counts steps of the optimizer.
        run: what columns begin with and what is taken for a run's name; empty where there is none.
    """

    used: Mapping[str, Meaning]
    told: Mapping[str, Unit | None]
    unknown: Mapping[str, Unknown]
    group: str | None
    steps: bool
    run: str = ""

    @property
    def has_epoch(self) -> bool:
        """Whether a column counts epochs."""
        return any(meaning.curve == "epoch" for meaning in self.used.values())

    def measures(self, curves: Iterable[str]) -> bool:
        """Whether any of these curves has a column."""
        wanted = set(curves)
        return any(meaning.curve in wanted for meaning in self.used.values())


@dataclass
class Seed:
    """The rows of one training.

    Args:
        rows: with `epoch` and the names of columns as keys.
        written: column -> epochs for which NaN or infinity was written.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    written: dict[str, set[float]] = field(default_factory=dict)


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
    names = _names(table) if table.names is None else list(table.names)
    layout = _layout(names, told, table.source)
    _require_understood(layout, names, told, table)
    seeds, percent = _seeds(table, layout)
    units = _units(seeds.values(), layout, percent, table.source)
    found = [_one(table, layout, seed, units, name) for name, seed in seeds.items()]
    for curves in found:
        _require_possible(curves, layout, units)
    return found


def from_table(rows: Sequence[Cells], source: str, columns: Mapping[str, str] | None = None, **about: object) -> Curves:
    """Curves of one training from rows of named values.

    Args:
        rows: one per record.
        source: for errors.
        columns: curve -> column, beside those whose names speak for themselves; see `parse_map`.
        about: goes into `Curves.meta`.

    Returns:
        The curves.

    Raises:
        BadRequest: see `curves_of`; several seeds.

    Example:
        >>> c = from_table([{"epoch": 1, "test_robust_acc": 45.0}, {"epoch": 2, "test_robust_acc": 50.0}], "x.csv")
        >>> c["robust_error/test"].tolist(), c.columns[0].unit
        ([0.55, 0.5], 'percent')
    """
    found = curves_of(Table(source, lambda: rows, about=about), Told.of(columns))
    if len(found) > 1:
        raise bad(source, expected="one training", got=f"{len(found)} seeds")
    return found[0]


def refusal(source: str, text: str) -> BadRequest:
    """A message about a file.

    Args:
        source: the file.
        text: what is wrong with it, in any characters.

    Returns:
        The error, in one printable line.
    """
    return BadRequest(one_line(f"{source}: {text}"))


def _names(table: Table) -> list[str]:
    names: dict[str, None] = {}
    for n_rows, row in enumerate(table.rows(), 1):
        for key in row:
            names[str(key)] = None
        if n_rows > base.MOST_ROWS or len(names) > base.MOST_COLUMNS:
            most = f"at most {base.MOST_ROWS:,} rows and {base.MOST_COLUMNS:,} columns"
            raise bad(table.source, expected=most, got=f"{n_rows:,} rows and {len(names):,} columns or more")
    return list(names)


# ---------------------------------------------------------------- which column is what


def _layout(names: list[str], told: Told, source: str) -> Layout:
    used: dict[str, Meaning] = {}
    units: dict[str, Unit | None] = {}
    for curve, choice in told.choices.items():
        if choice.text not in names:
            hint = closest(choice.text, names)
            raise refusal(source, f"--map names {choice.text}{hint}; the columns are: {listed(names, 20)}")
        if names.count(choice.text) > 1:
            raise refusal(source, f"--map names {choice.text}, as {names.count(choice.text)} columns are called")
        used[choice.text] = Meaning(curve.replace("accuracy", "error"), "accuracy" in curve)
        units[choice.text] = choice.unit
    said = {meaning.curve for meaning in used.values()}
    short = without_run_names(names)
    training = keras_training(short.values())
    unknown: dict[str, Unknown] = {}
    found: dict[str, Meaning] = {}
    for name in names:
        meaning = meaning_of(training.get(short[name], short[name]))
        if name in units or meaning is None:
            continue
        if isinstance(meaning, Unknown):
            unknown[name] = meaning
        elif meaning.curve not in said:
            _require_single(name, meaning, names, found, source)
            found[name] = meaning
    used |= _without_doubles(found)
    unknown = _without_redundant(unknown, used)
    group = next((name for name in names if is_group(name) and name not in used), None)
    steps = any(is_step(name) for name in names if name not in used)
    cut = next((name for name in used if short[name] != name and name not in units), None)
    run = "" if cut is None else cut.removesuffix(short[cut]).strip(" -/")
    return Layout(used, units, unknown, group, steps, run)


def _require_single(name: str, meaning: Meaning, names: list[str], found: Mapping[str, Meaning], source: str) -> None:
    """Refuse a second column of the same meaning, where it matters."""
    if meaning.curve != "epoch" and meaning.curve not in ERRORS:
        return
    if names.count(name) > 1:
        raise refusal(source, f"{names.count(name)} columns are called {name}; rename all but one")
    for other, known in found.items():
        if (known.curve, known.accuracy) == (meaning.curve, meaning.accuracy):
            text = f"columns {other} and {name} both look like {meaning.told}; choose with {_map(meaning.told, name)}"
            raise refusal(source, text)


def _without_doubles(found: Mapping[str, Meaning]) -> dict[str, Meaning]:
    """Without losses, rates and the like that have several columns: no verdict needs them, so none is chosen."""
    times: dict[str, int] = {}
    for meaning in found.values():
        times[meaning.curve] = times.get(meaning.curve, 0) + 1
    return {name: m for name, m in found.items() if times[m.curve] == 1 or m.curve in ERRORS}


def _without_redundant(unknown: Mapping[str, Unknown], used: Mapping[str, Meaning]) -> dict[str, Unknown]:
    """Without the best or smoothed values of curves that are there themselves, such as best_test_acc beside test_acc."""
    there = [frozenset(words_of(name)) for name in used]
    kept: dict[str, Unknown] = {}
    for name, doubt in unknown.items():
        its_own = doubt.words < frozenset(words_of(name))
        if not (its_own and any(doubt.words <= words for words in there)):
            kept[name] = doubt
    return kept


def _map(curve: str, column: str) -> str:
    """The option, ready to paste into a shell."""
    name = f'"{column}"' if "," in column else column
    return "--map " + shlex.quote(f"{curve}={name}")


def _require_understood(layout: Layout, names: list[str], told: Told, table: Table) -> None:
    """Refuse a table of which the verdict would not rest on what was measured.

    Raises:
        BadRequest: no epoch; no error; an unknown error or accuracy where none is robust on held-out data.
    """
    measured = layout.measures(ERRORS)
    if not layout.has_epoch and (layout.steps or not (measured or layout.unknown)):
        steps = next((name for name in names if is_step(name)), "COLUMN")
        text = f"no column for epoch; there are: {listed(names, 20)}; use {_map('epoch', steps)}"
        raise refusal(table.source, text.replace("'epoch=COLUMN'", "epoch=COLUMN"))
    doubtful = layout.unknown and not layout.measures(_HELD_OUT) and table.about.get("attack") != "none"
    if doubtful and not (told.choices and measured):
        name = max(layout.unknown, key=lambda one: "robust" in layout.unknown[one].guess)
        doubt = layout.unknown[name]
        others = ""
        if len(layout.unknown) > 1:
            rest = [other for other in layout.unknown if other != name]
            others = f" (nor {listed(rest, 5)})"
        what = doubt.guess.replace("_", " ").replace("/", " on ")
        option = _map(doubt.guess, name)
        text = f"column {name!r} is not understood: {doubt.reason}{others}; if it is the {what}, add {option}"
        raise refusal(table.source, text)
    if not measured and table.about.get("attack") != "none":
        what = f"no column could be mapped to an error or accuracy; there are: {listed(names, 20)}"
        raise refusal(table.source, f"{what}; use --map robust_accuracy/test=COLUMN,...")


# ---------------------------------------------------------------- the numbers


def _seeds(table: Table, layout: Layout) -> tuple[dict[str, Seed], set[str]]:
    """The rows of each training, with the values of the columns in use; and the columns whose cells have a % sign."""
    seeds: dict[str, Seed] = {}
    signs: dict[str, set[bool]] = {name: set() for name in layout.used}
    for n, row in enumerate(table.rows(), 1):
        key = "" if layout.group is None else str(row.get(layout.group, "")).strip()
        seed = seeds.setdefault(key, Seed())
        values: dict[str, float] = {}
        if not layout.has_epoch:
            values["epoch"] = len(seed.rows) + 1
        nan: list[str] = []
        for name, meaning in layout.used.items():
            value = _cell(row.get(name), table.source, n, name, signs[name])
            if meaning.curve == "epoch":
                values["epoch"] = value
                if math.isinf(value):
                    raise bad(f"{table.source}: epoch", expected="a finite number in every row", got=value)
            elif not math.isfinite(value):
                if _is_written(row.get(name)):
                    nan.append(name)
            elif value != NOT_MEASURED or meaning.curve not in (*ERRORS, *LOSSES, "lr"):
                values[name] = value
        if not math.isnan(values["epoch"]):
            seed.rows.append(values)
            for name in nan:
                seed.written.setdefault(name, set()).add(values["epoch"])
    mixed = [name for name, seen in signs.items() if len(seen) > 1]
    if mixed:
        got = f"some cells of {mixed[0]} with and some without %"
        raise bad(table.source, expected="one unit per column", got=got, remedy="write all of them alike")
    kept = {key: seed for key, seed in seeds.items() if seed.rows}
    if not kept:
        raise refusal(table.source, f"no rows with an epoch; columns: {listed(layout.used, 20)}")
    return kept, {name for name, seen in signs.items() if True in seen}


def _is_written(cell: object) -> bool:
    """Whether a cell that holds no number holds NaN or infinity, rather than nothing."""
    return cell is not None and str(cell).strip().lower() not in _EMPTY


def _cell(value: object, source: str, n: int, column: str, signs: set[bool]) -> float:
    """The number in a cell, NaN for none; `signs` takes whether it has a percent sign."""
    if value is None or (isinstance(value, str) and value.strip().lower() in _EMPTY):
        return math.nan
    if isinstance(value, float):
        return value
    text = value.strip() if isinstance(value, str) else ""
    try:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError
        result = float(text.rstrip("%") if text else value)
    except (ValueError, OverflowError):  # OverflowError: an integer of hundreds of digits
        got = repr(value) if isinstance(value, str | bool) else type(value).__name__
        raise bad(f"{source}: row {n}, column {column}", expected="a number", got=got) from None
    if result and math.isfinite(result) and result != NOT_MEASURED:
        signs.add(text.endswith("%"))
    return result


def _units(seeds: Iterable[Seed], layout: Layout, percent: set[str], source: str) -> dict[str, Unit]:
    """The unit of every column of errors or accuracies, from its values over all seeds.

    Raises:
        BadRequest: columns that disagree, values outside of [0, 1] and percent.
    """
    values: dict[str, list[float]] = {name: [] for name, m in layout.used.items() if m.curve in ERRORS}
    for seed in seeds:
        for row in seed.rows:
            for name in values.keys() & row.keys():
                values[name].append(row[name])
    units: dict[str, Unit | None] = {}
    for name, column in values.items():
        units[name] = layout.told.get(name)
        if units[name] is None and name in percent:
            units[name] = "percent"
        if units[name] is None:
            try:
                units[name] = unit_of(name, np.array(column))
            except BadRequest as error:
                told = layout.used[name].told
                raise refusal(source, str(error).replace("CURVE=", f"{told}=")) from None
        most = 100.0 if units[name] == "percent" else 1.0
        if column and not -1e-6 <= min(column) <= max(column) <= most + 1e-6:
            got = f"[{min(column):g}, {max(column):g}]"
            raise bad(f"{source}: column {name}", expected=f"values in [0, {most:g}] in {units[name]}", got=got)
    told_units = [name for name in units if layout.told.get(name) is not None]
    try:
        common = agreed_unit(units, told_units)
    except BadRequest as error:
        curve = next((m.told for name, m in layout.used.items() if f"CURVE='{name}:" in str(error)), "CURVE")
        raise refusal(source, str(error).replace("CURVE=", f"{curve}=")) from None
    return {name: unit or common for name, unit in units.items()}


def _one(table: Table, layout: Layout, seed: Seed, units: Mapping[str, Unit], group: str) -> Curves:
    """The curves of one training."""
    where = table.source
    about = {"source": table.source, **table.about}
    if layout.group is not None:
        where = f"{table.source}, {layout.group} {group}"
        about["group"] = f"{layout.group} {group}"
    merged = merge([_converted(row, layout, units) for row in seed.rows], where,
                   appended=table.appended, steps=layout.steps)  # fmt: skip
    remarks = list(table.remarks)
    if not layout.has_epoch:
        remarks.append("no column counts epochs: the rows are numbered from 1")
    if layout.run:
        remarks.append(f"{layout.run!r}, with which columns begin, is taken for the name of a run and means nothing")
    for name, doubt in layout.unknown.items():
        remarks.append(f"column {name!r} is not used: {doubt.reason}")
    values = _one_of_each(merged, layout, where)
    columns: list[Column] = []
    for name, meaning in layout.used.items():
        if meaning.curve in values:
            columns.append(_column(name, meaning, values[meaning.curve], merged.epoch, seed, units.get(name)))
    about["remarks"] = [*remarks, *merged.remarks, *lost_epochs(merged.epoch)]
    about["caveats"] = list(merged.caveats)
    return checked(Curves(merged.epoch, values, about, columns))


def _converted(row: Mapping[str, float], layout: Layout, units: Mapping[str, Unit]) -> dict[str, float]:
    """A row with curves as names: errors as fractions. An accuracy beside its error keeps a name of its own."""
    found = {"epoch": row["epoch"]}
    for name, meaning in layout.used.items():
        if name not in row:
            continue
        value = row[name]
        if name in units:
            one = 100.0 if units[name] == "percent" else 1.0
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
        if np.abs(first - given)[both].max(initial=0.0) > 0.005:  # half a percent: rounding of either
            error, accuracy = meaning.curve, meaning.curve.replace("error", "accuracy")
            text = f"the columns of {error} and {accuracy} contradict each other; choose with --map {error}=COLUMN"
            raise refusal(source, text)
    return dict(sorted(values.items()))


def _column(
    name: str, meaning: Meaning, values: np.ndarray, epochs: np.ndarray, seed: Seed, unit: Unit | None
) -> Column:  # fmt: skip
    missing = epochs[np.isnan(values)]
    written = seed.written.get(name, set()) & set(missing.tolist())
    known = epochs[~np.isnan(values)]
    after = [epoch for epoch in written if not len(known) or epoch > known[-1]]
    measure = "number"
    if meaning.curve in ERRORS:
        measure = "accuracy" if meaning.accuracy else "error"
    elif meaning.curve in LOSSES:
        measure = "loss"
    return Column(
        name, meaning.curve, measure, meaning.attack, unit, len(missing), len(written), min(after, default=None)
    )


def _require_possible(curves: Curves, layout: Layout, units: Mapping[str, Unit]) -> None:
    """Refuse held-out robust errors below the clean ones, unless the caller chose the column; then it is a caveat.

    Raises:
        BadRequest: names the column and what it may be instead.
    """
    for found in impossible(curves):
        name = next((c.name for c in curves.columns if c.curve == f"robust_error/{found.part}"), None)
        if not found.misread or name is None or name in layout.told:
            continue
        remedy = "check which column is clean and which robust"
        if found.as_accuracy:
            meaning = layout.used[name]
            other = replace(meaning, accuracy=not meaning.accuracy)
            what = "error" if meaning.accuracy else "accuracy"
            remedy = f"if the values of column {name!r} mean {what}, add {_map(other.told, name)}"
        raise refusal(curves.source, f"{found.sentence}; {remedy}")
