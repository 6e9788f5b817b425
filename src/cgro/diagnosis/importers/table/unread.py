"""Columns that give no curve and say all the same that the rows are not the epochs of one training: methods, radii."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cgro._check import listed
from cgro.diagnosis.columns import map_option
from cgro.diagnosis.importers.line.epochs import epoch_in_cell
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.table.layout import Layout
from cgro.diagnosis.importers.told import Rows
from cgro.diagnosis.keys import is_step
from cgro.diagnosis.vocabulary import OTHER_WEIGHTS, has_measure, kinds_of, letters_of, parts_of, word_set, words_of
from cgro.diagnosis.words import meaning_of

_NO_NUMBER = ("nan", "inf", "null", "-", "n/a")
EMPTY = ("", "none", "null", "-", "n/a")
"""Cells without a value, in lower case."""


_TRAININGS = word_set(
    "method methods model models arch architecture network net backbone defense defence objective algorithm algo "
    "variant attack attacks attacker"
)
"""Words of a column that tells trainings or attacks apart."""
_NAMES = word_set("name experiment exp config id")
_SWEPT = word_set(
    "eps epsilon radius radii width beta lambda alpha gamma temperature temp norm restarts n steps depth budget "
    "severity noise sigma samples strength"
)
"""Words of a number that is varied from one training, or one evaluation, to the next."""
_BESIDE_SWEPT = word_set("attack pgd test train eval val num number of")
_OF_ATTACK = word_set("attack attacker adversary eps epsilon radius")
_BESIDE_ATTACK = word_set("test eval val pgd name type linf l")
_SMALLEST = 1e-4
"""The smallest radius; an eps below it is that of an optimizer. A choice."""
_ANSWERS = ("true", "false", "yes", "no")
_TIMES = word_set("time date timestamp datetime created elapsed duration wall clock day hour started finished")
_TEXT = re.compile(r"\W*[A-Za-z]")
MOST_KEPT = 10_000
"""Different values of a column that are kept. A choice: no table of methods or radii has so many rows."""
MOST_COLUMNS = 20
"""Columns that are looked at for what tells rows of one epoch apart. A choice."""
MOST_VALUES = 20
"""Values of a column that may tell rows of one epoch apart. A choice: attacks, methods; not notes of every row."""


@dataclass
class _Column:
    """A column without a curve, over the rows of one group.

    Args:
        name: of the column.
        is_text: whether its cells are words and not numbers.
        n: cells with a value.
        values: the different ones, in their order.
        epochs: how many cells hold the number of their epoch, as a name of a checkpoint does.
    """

    name: str
    is_text: bool = False
    n: int = 0
    values: dict[str, None] = field(default_factory=dict)
    epochs: int = 0

    def take(self, cell: str, epoch: str) -> None:
        self.n += 1
        if len(self.values) < MOST_KEPT:
            self.values[cell] = None
        is_text = _TEXT.match(cell) is not None and cell.lower() not in (*_ANSWERS, "nan", "inf")
        self.is_text = self.is_text or is_text
        if is_text and epoch and re.search(rf"(?<!\d)0*{re.escape(epoch)}(?!\d)", cell):
            self.epochs += 1

    def says(self, words: frozenset[str]) -> bool:
        return not words.isdisjoint(words_of(self.name))

    @property
    def varies(self) -> bool:
        return len(self.values) > 1

    @property
    def is_new_in_every_row(self) -> bool:
        return self.n > 1 and len(self.values) == self.n

    @property
    def shown(self) -> str:
        return listed(self.values, 3)


def require_rows_of_one_training(rows: Rows, names: Sequence[str], layout: Layout, source: str) -> list[str]:
    """Refuse rows that a column without a curve tells apart: as methods, radii, runs, or attacks of one epoch.

    Args:
        rows: of the table.
        names: of its columns.
        layout: what each column is.
        source: of the table, for messages.

    Returns:
        Sentences on columns that tell trainings apart, vary, and were passed over.

    Raises:
        BadRequest: names the column, and what to do.
    """
    unread = {name: None for name in names if _is_unread(name, layout)}
    if not unread:
        return []
    epoch = next((name for name, meaning in layout.used.items() if meaning.curve == "epoch"), None)
    columns: dict[str, dict[str, _Column]] = {}
    order: dict[str, list[float]] = {}
    for row in rows():
        group = _text(row, layout.group)
        of_epoch = _text(row, epoch)
        if epoch is not None and not of_epoch:
            continue
        order.setdefault(group, []).append(_number(of_epoch))
        here = columns.setdefault(group, {})
        for name in filter(unread.__contains__, row):
            cell = _text(row, name)
            if cell.lower() not in EMPTY or (cell.lower() == "none" and not _OF_ATTACK.isdisjoint(words_of(name))):
                here.setdefault(name, _Column(name)).take(cell, of_epoch.removesuffix(".0"))
    remarks: dict[str, None] = {}
    for group, here in columns.items():
        for column in here.values():
            _require_epochs(column, order[group], source, counted=epoch is not None)
            if column.varies and column.is_text and column.says(_TRAININGS):
                remarks[f"column {column.name!r} is not used, and varies: {column.shown}"] = None
    if epoch is not None:
        candidates = [name for name in unread if any(_may_tell_apart(here.get(name)) for here in columns.values())]
        _require_alike(rows, candidates[:MOST_COLUMNS], epoch, layout, source)
    return list(remarks)


def _is_swept(name: str) -> bool:
    """Whether a name is that of a setting: eps, attack_steps; not grad_norm, which no one sets."""
    words = {letters_of(word) or word for word in words_of(name)}
    return not words.isdisjoint(_SWEPT) and words <= _SWEPT | _BESIDE_SWEPT


def not_understood(names: Iterable[str], layout: Layout) -> list[str]:
    """Columns of held-out data that mean nothing here, for a table in which no robust error was found.

    Args:
        names: of all columns.
        layout: what each column is.

    Returns:
        Names, without those of losses, times and the five likeliest classes.
    """
    found: list[str] = []
    for name in names:
        words = words_of(name)
        if name in layout.unknown or not _is_unread(name, layout) or not parts_of(words) & {"test", "validation"}:
            continue
        if "loss" not in words and not words[-1].endswith("5") and meaning_of(name) is None:
            found.append(name)
    return found


def without_labels(rows: Rows, layout: Layout) -> Layout:
    """A layout without doubtful columns whose cells are words, as one named attack that says which attack it was.

    Args:
        rows: of the table.
        layout: what each column is.

    Returns:
        The layout; a column whose first cell with a value is a number stays doubtful.
    """
    open_ones = {name: None for name in layout.unknown if not has_measure(words_of(name))}
    labels: set[str] = set()
    for row in rows():
        for name in list(open_ones):
            cell = _text(row, name)
            if cell and cell.lower() not in _NO_NUMBER:
                del open_ones[name]
                if _TEXT.match(cell):
                    labels.add(name)
        if not open_ones:
            break
    return replace(layout, unknown={name: doubt for name, doubt in layout.unknown.items() if name not in labels})


def constants(rows: Rows, names: Sequence[str], layout: Layout) -> tuple[str, list[str]]:
    """Columns that say the same in every row: that the values are under an attack, or of averaged weights.

    Args:
        rows: of the table.
        names: of its columns.
        layout: what each column is.

    Returns:
        A clause on an attack, empty where there is none; and sentences on the others.
    """
    candidates = [name for name in names if name not in layout.used][:MOST_COLUMNS]
    values: dict[str, set[str]] = {name: set() for name in candidates}
    for row in rows():
        for name in list(values):
            values[name].add(_text(row, name))
            if len(values[name]) > 1:
                del values[name]
    attack = ""
    remarks: list[str] = []
    for name, only in values.items():
        cell = next(iter(only), "")
        sentence = f"column {name!r} is {cell!r} in every row"
        if _says_attack(name, cell):
            attack = attack or sentence
        elif _TEXT.match(cell) and not OTHER_WEIGHTS.isdisjoint(words_of(cell)):
            remarks.append(sentence)
    return attack, remarks


def _says_attack(name: str, cell: str) -> bool:
    """Whether a cell names an attack, or a radius, below a name that says so."""
    words = {letters_of(word) or word for word in words_of(name)}
    if words.isdisjoint(_OF_ATTACK) or not words <= _OF_ATTACK | _BESIDE_ATTACK or cell.lower() in EMPTY:
        return False
    if _TEXT.match(cell):
        return kinds_of(words_of(cell)) != {"clean"} and cell.lower() not in _ANSWERS
    return _SMALLEST <= _number(cell) <= 255


def _is_unread(name: str, layout: Layout) -> bool:
    if name in layout.used or name == layout.group or (layout.steps and is_step(name)):
        return False
    return _TIMES.isdisjoint(words_of(name))


def _text(row: Mapping[str, object], name: str | None) -> str:
    """A cell as text; empty where there is none, or an object of JSON."""
    value = None if name is None else row.get(name)
    if isinstance(value, str | int | float):
        return str(value)[:200].strip()
    return ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _require_epochs(column: _Column, epochs: Sequence[float], source: str, *, counted: bool) -> None:
    """Refuse a column that is another one's name in every row, where the rows should be epochs."""
    whole = column.n == len(epochs)
    new = whole and column.is_new_in_every_row
    what = f"{column.name!r} has the values {column.shown}"
    if not counted:
        swept = new and not column.is_text and _is_swept(column.name)
        if (new and column.is_text) or (column.is_text and column.varies and column.says(_TRAININGS)) or swept:
            remedy = "if the rows are epochs, add a column named epoch"
            if swept or all(map(epoch_in_cell, column.values)):
                remedy = f"if it counts epochs, add {map_option('epoch', column.name)}"
            raise refusal(source, f"no column counts epochs, and {what}: the rows may be no epochs; {remedy}")
        return
    is_ordered = list(epochs) in (sorted(epochs), sorted(epochs, reverse=True))
    may_be_trainings = new and column.is_text and 2 * column.epochs < column.n
    if may_be_trainings and (column.says(_TRAININGS | _NAMES) or not is_ordered):
        remedy = "save the epochs of one training"
        raise refusal(source, f"{what}, another one in every row: these are trainings, one a row; {remedy}")


def _may_tell_apart(column: _Column | None) -> bool:
    if column is None or not 1 < len(column.values) <= MOST_VALUES:
        return False
    return column.is_text or _is_swept(column.name) or is_step(column.name)


def _require_alike(rows: Rows, candidates: Iterable[str], epoch: str, layout: Layout, source: str) -> None:
    """Refuse rows of one epoch with other values where a column tells them apart.

    A training that is resumed repeats epochs with other values, and its host or its note may have changed: such columns
    count only where the epochs do not go back between.
    """
    for name in candidates:
        settings = (_is_swept(name) or is_step(name)) and not layout.steps
        at_once = settings or not _TRAININGS.isdisjoint(words_of(name))
        seen: dict[tuple[str, str, str], tuple[str, str, int]] = {}
        apart: dict[str, tuple[str, str]] = {}
        n_passes = 0
        before = -float("inf")
        for row in rows():
            of_epoch, here = _text(row, epoch), _text(row, name)
            if not of_epoch or not here:
                continue
            n_passes += _number(of_epoch) < before
            before = _number(of_epoch)
            for curve, meaning in layout.used.items():
                value = _text(row, curve)
                if meaning.curve in ("epoch", "lr") or value.lower() in EMPTY:
                    continue
                key = (_text(row, layout.group), of_epoch, curve)
                other, its_value, its_pass = seen.get(key, (here, value, n_passes))
                seen[key] = (here, value, n_passes)
                if other != here and its_value != value and (at_once or its_pass == n_passes):
                    apart[of_epoch] = (other, here)
        if apart and (at_once or len(apart) > 1) and not (layout.steps and not at_once):
            first, second = next(iter(apart.values()))
            text = (
                f"rows of one epoch differ by column {name!r}, as {first!r} and {second!r} of epoch "
                f"{next(iter(apart))}; keep the rows of one of them, or give each a column"
            )
            raise refusal(source, text)
