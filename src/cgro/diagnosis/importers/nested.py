"""The table in a JSON value: rows, equally long lists, the layouts of pandas, or any of these below a name.

`{"history": {...}}` of Keras, `{"log_history": [...]}` of Hugging Face, and runs under their names."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cgro._check import bad, listed
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.table import Table
from cgro.diagnosis.importers.told import Cells
from cgro.diagnosis.keys import is_group, is_step
from cgro.diagnosis.vocabulary import has_measure, is_other_value, kinds_of, parts_of, says_part_or_kind, words_of
from cgro.diagnosis.words import SEVERAL, curve_of, is_error, meaning_of

_DEEPEST = 8
"""Levels of objects inside a row. A choice: {"metrics": {"test": {"robust": {"linf": {"acc": 0.5}}}}} has four."""
_TRAINER = "log_history"
"""Where the trainer of Hugging Face keeps its rows: those of the evaluations, and those of every few steps."""
_SERIES = frozenset(["steps", "values"])
"""Lists that Sacred keeps of everything that is measured, beside their times."""
_LIST = "a list of JSON objects, one an epoch"
_PLACES = ("first", "second", "third")
_EPOCH = re.compile(r"(epoch[ _:-]?)?(\d{1,7})", re.IGNORECASE)
Json = dict[str, object]


def table_in(whole: object, source: str) -> Table | None:
    """Find the rows of a JSON value.

    Args:
        whole: an object or a list.
        source: the file, for messages.

    Returns:
        Its table; None for an object that holds none, such as a single row.

    Raises:
        BadRequest: lists of different lengths, rows that are no objects, several tables of different columns.

    Example:
        >>> table_in({"history": {"test_acc": [0.5, 0.6]}}, "x").remarks
        ["the rows are those under 'history'"]
    """
    if isinstance(whole, list):
        return _of_runs(whole, source) or Table(source, lambda: objects(whole, source, _LIST))
    if not isinstance(whole, dict):
        return None
    return _by_epoch(whole, source) or _here(whole, source) or _below(whole, source)


def flat(row: Mapping[str, object]) -> dict[str, object]:
    """A row without objects inside: {"test": {"acc": 0.5}} has the column test/acc.

    An object under the name of a curve stays, to be refused.

    Args:
        row: of JSON.

    Returns:
        Plain values by name.

    Example:
        >>> flat({"epoch": 1, "test": {"clean": {"acc": 0.5}}, "note": [1]})
        {'epoch': 1, 'test/clean/acc': 0.5, 'note': [1]}
    """
    return dict(_flat(row, (), _DEEPEST))


def in_columns(row: Mapping[str, object]) -> dict[str, object]:
    """A row without short lists below the name of a measure: [0.45] is a value, and each of [1.8, 0.45] has a name.

    Args:
        row: without objects inside.

    Returns:
        Plain values by name; other lists stay, to be refused.

    Example:
        >>> in_columns({"epoch": 1, "test_acc": [0.5], "test_adv": [1.8, 0.45]})
        {'epoch': 1, 'test_acc': 0.5, 'test_adv (first of several)': 1.8, 'test_adv (second of several)': 0.45}
    """
    found: dict[str, object] = {}
    for name, value in row.items():
        if not isinstance(value, list) or not 0 < len(value) <= len(_PLACES) or not _is_measured(name, value):
            found[name] = value
        elif len(value) == 1:
            found[name] = value[0]
        else:
            for place, one in zip(_PLACES, value, strict=False):
                found[f"{name} ({place} of {SEVERAL})"] = one
    return found


def _is_measured(name: str, values: Sequence[object]) -> bool:
    words = words_of(name)
    if not (has_measure(words) or kinds_of(words)):
        return False
    return all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def series_in(whole: object) -> list[dict[str, object]]:
    """The rows of measures that have each their steps and values, as Sacred writes {"test.acc": {"steps": [...], ...}}.

    Args:
        whole: of JSON.

    Returns:
        Rows with `step`, as many of a step as some measure has values of it; none for anything else.

    Example:
        >>> series_in({"test.acc": {"steps": [0, 1], "values": [0.5, 0.6], "timestamps": ["a", "b"]}})
        [{'step': 0, 'test.acc': 0.5}, {'step': 1, 'test.acc': 0.6}]
    """
    rows: dict[tuple[object, int], dict[str, object]] = {}
    if not isinstance(whole, dict):
        return []
    for name, value in whole.items():
        if not isinstance(value, dict) or not value.keys() >= _SERIES:
            continue
        steps, values = value["steps"], value["values"]
        if not (isinstance(steps, list) and isinstance(values, list) and len(steps) == len(values)):
            return []
        if not all(map(_is_number, steps)):
            return []
        times: dict[object, int] = {}
        for step, one in zip(steps, values, strict=True):
            times[step] = times.get(step, 0) + 1
            rows.setdefault((step, times[step]), {"step": step})[name] = one
    return list(rows.values())


def _flat(row: Mapping[str, object], names: tuple[str, ...], left: int) -> Iterator[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, dict) and not curve_of(str(name)):
            if left:
                yield from _flat(value, (*names, str(name)), left - 1)
            else:
                yield "/".join((*names, str(name), "...")), value  # deeper: named where it says what was measured
        else:
            yield "/".join((*names, str(name))), value


def objects(rows: Iterable[object], source: str, expected: str) -> Iterator[Cells]:
    """The rows, which must be JSON objects, at least one.

    Args:
        rows: values of JSON.
        source: the file, for messages.
        expected: what they are, for messages.

    Yields:
        Plain values by name.

    Raises:
        BadRequest: no row, or one that is no object.
    """
    n_rows = 0
    for row in rows:
        if not isinstance(row, dict):
            raise bad(source, expected=expected, got="something else")
        yield in_columns(flat(row))
        n_rows += 1
    if not n_rows:
        raise bad(source, expected=expected, got="something else")


def _of_runs(whole: Sequence[object], source: str) -> Table | None:
    """Trainings in a list, each with its seed or run beside its table: [{"seed": 0, "history": [...]}, ...]."""
    found: list[tuple[Cells, Table]] = []
    for one in whole:
        if not isinstance(one, dict):
            return None
        names = list(filter(is_group, one))
        if not names or isinstance(one[names[0]], list | dict):
            return None
        table = _here(one, source) or _below(one, source)
        if table is None or not any(map(is_error, _names(table))):
            return None
        found.append(({names[0]: one[names[0]]}, table))
    if not found:
        return None

    def rows() -> Iterator[Cells]:
        for group, table in found:
            for row in table.rows():
                yield {**row, **group}

    return Table(source, rows, remarks=[f"the {len(found)} objects of the list are taken for runs"])


def _by_epoch(whole: Json, source: str) -> Table | None:
    """Rows under their epochs: {"epoch_1": {...}, ...}, or {"0": {"epoch": 1, ...}, ...} as pandas writes an index."""
    rows: list[Cells] = []
    for name, value in whole.items():
        match = _EPOCH.fullmatch(name)
        if match is None or not isinstance(value, dict):
            return None
        if not (match[1] or "epoch" in value):
            _require_no_errors(whole, value, source)
            return None
        rows.append({"epoch": match[2], **in_columns(flat(value))})
    return Table(source, lambda: rows) if len(rows) > 1 else None


def _require_no_errors(whole: Json, value: Json, source: str) -> None:
    """Refuse errors under bare numbers, {"0": {"test_acc": 80}, ...}: these may be epochs, seeds or folds.

    Raises:
        BadRequest: says how to write epochs.
    """
    if any(map(is_error, flat(value))) and len(whole) > 1 and all(map(str.isdecimal, whole)):
        text = f"the names {listed(whole, 3)} may be epochs, or seeds; if they are epochs, write each as epoch_0"
        raise refusal(source, text)


def _here(whole: Json, source: str) -> Table | None:
    """A table whose columns are the names of this object; None where it has none."""
    columns, data = whole.get("columns"), whole.get("data")
    if isinstance(columns, list) and isinstance(data, list) and _are_rows(data, len(columns)):
        names = list(map(str, columns))
        return Table(source, lambda: (dict(zip(names, row, strict=True)) for row in data))  # pandas, orient="split"
    lists: dict[str, list[object]] = {}
    indexed: dict[str, dict[str, object]] = {}
    for name, value in whole.items():
        if isinstance(value, list) and not any(map(_is_object, value)):
            lists[name] = value
        elif isinstance(value, dict) and _is_indexed(value):
            indexed[name] = value
    if any(map(_is_known, lists.keys() - {"epoch", "epochs"})):
        return _of_lists(lists, source)
    same_index = len(set(map(tuple, indexed.values()))) == 1
    if same_index and any(map(_is_known, indexed)):  # pandas, the default orient
        return _of_lists({name: list(value.values()) for name, value in indexed.items()}, source)
    if lists and len(lists) == len(whole):
        return _of_lists(lists, source)
    return None


def _are_rows(data: Sequence[object], n_columns: int) -> bool:
    return all(isinstance(row, list) and len(row) == n_columns for row in data)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_known(name: str) -> bool:
    return meaning_of(str(name)) is not None


def _is_indexed(value: Mapping[str, object]) -> bool:
    return bool(value) and all(map(str.isdecimal, value))


def _of_lists(lists: Mapping[str, list[object]], source: str) -> Table:
    """Rows of lists of one length. Where a list counts steps they are numbered from 1: each is an evaluation."""
    if len(set(map(len, lists.values()))) > 1:
        lengths = listed(f"{name} {len(value)}" for name, value in lists.items())
        raise refusal(source, f"curves of different lengths: {lengths}")

    counts_steps = any(map(is_step, lists))

    def rows() -> Iterator[Cells]:
        for n, values in enumerate(zip(*lists.values(), strict=True), 1):
            row = in_columns(dict(zip(lists, values, strict=True)))
            yield {"epoch": n, **row} if counts_steps else row

    return Table(source, rows)


def _below(whole: Json, source: str) -> Table | None:
    """The table under a name of this object; those of several names are runs if their columns are the same."""
    found: dict[str, Table] = {}
    for name, value in whole.items():
        table = _under(value, source)
        if table is not None and any(map(is_error, _names(table))):
            found[str(name)] = table
    if not found:
        return None
    if len(found) == 1:
        return _named(*next(iter(found.items())), whole)
    if len(set(map(frozenset, map(_names, found.values())))) > 1:
        words = words_of(" ".join(found))
        if words and all(map(parts_of, ([word] for word in words))):  # {"train": {...}, "test": {...}}: side by side
            return _here(flat({name: whole[name] for name in found}), source)
        raise refusal(source, f"several tables of different columns, under {listed(found, 8)}; save one of them alone")

    def rows() -> Iterator[Cells]:
        for name, table in found.items():
            for row in table.rows():
                yield {"run": name, **row}

    return Table(source, rows, remarks=[f"the tables under {listed(found, 8)} are taken for runs"])


def _under(value: object, source: str) -> Table | None:
    if isinstance(value, list) and value and all(map(_is_object, value)):
        return Table(source, lambda: objects(value, source, _LIST))
    if not isinstance(value, dict):
        return None
    found = _by_epoch(value, source) or _here(value, source)
    inside = flat(value)
    if found is None and any(isinstance(values, list) and is_error(name) for name, values in inside.items()):
        return _here(inside, source)
    return found


def _named(name: str, table: Table, whole: Json) -> Table:
    """The only table, with the epochs that Keras keeps beside it; of a trainer's rows those of evaluations.

    A name that says a part, best or ema belongs to its columns; one that says clean or robust may be that of a run, and
    stands before a dash, so that it is asked for where no column says which.
    """
    remarks = [f"the rows are those under {name!r}"]
    rows = list(table.rows())
    epochs = whole.get("epoch")
    if isinstance(epochs, list) and len(epochs) == len(rows):
        rows = [{**row, "epoch": epoch} for row, epoch in zip(rows, epochs, strict=True)]
    words = words_of(name)
    if words and (all(map(_says_something, words)) or is_other_value(words)):
        front = f"{name} - " if kinds_of(words) and not has_measure(words) else f"{name}/"
        rows = [{_behind(front, column): value for column, value in row.items()} for row in rows]
    if name == _TRAINER:
        evaluated = list(filter(_is_evaluation, rows))
        remarks.append(f"{len(rows) - len(evaluated)} rows without an error or accuracy are left out")
        rows = evaluated
    return Table(table.source, lambda: rows, remarks=remarks)


def _behind(front: str, column: str) -> str:
    """A column with the name above it, unless it says the same, or counts."""
    if has_measure(words_of(front)) and kinds_of(words_of(column)) and not has_measure(words_of(column)):
        return front + column
    counts = curve_of(column) in ("epoch", "lr")
    if meaning_of(column) is None or counts or set(words_of(front)) <= set(words_of(column)):
        return column
    return front + column


def _says_something(word: str) -> bool:
    return says_part_or_kind(word) or has_measure([word])


def _names(table: Table) -> list[str]:
    return list(dict.fromkeys(itertools.chain.from_iterable(table.rows())))


def _is_evaluation(row: Cells) -> bool:
    return any(map(is_error, row))
