"""Groups of rows, by a column such as run: trainings, seeds, or parts, clean and attacked examples of one."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cgro._check import listed
from cgro.diagnosis.columns import ERRORS, map_option
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.told import Cells, Rows, Told
from cgro.diagnosis.keys import is_group, is_step
from cgro.diagnosis.vocabulary import is_detail, kinds_of, parts_of, says_part_or_kind, words_of
from cgro.diagnosis.words import Meaning, curve_of, meaning_of

_OF_PARTS = (["split"], ["phase"], ["type"], ["part"], ["set"], ["subset"], ["partition"], ["mode"], ["stage"])
"""Columns whose values may say which part of the data a row is of."""
MOST_PARTS = 20
"""Groups that are looked at as parts of one training. A choice: train and test, clean and under some attacks."""


@dataclass(frozen=True)
class Regrouped:
    """A table whose groups became names of columns.

    Args:
        rows: gives them anew at each call.
        names: of its columns.
        remark: what was assumed.
    """

    rows: Rows
    names: list[str]
    remark: str


def as_parts(groups: Iterable[str]) -> dict[str, str]:
    """Runs that are the parts of one training, as exp/train and exp/validation.

    Args:
        groups: names of runs.

    Returns:
        Run -> the words of its part, and of clean or robust; empty where the runs are several trainings.

    Example:
        >>> as_parts(["a/train", "a/validation"]), as_parts(["seed0", "seed1"])
        ({'a/train': 'train', 'a/validation': 'validation'}, {})
    """
    names = sorted(set(groups))
    heads: set[str] = set()
    found: dict[str, str] = {}
    for name in names:
        head, _, tail = name.rpartition("/")
        heads.add(head)
        words = words_of(tail)
        if not words or not all(map(says_part_or_kind, words)):
            return {}
        found[name] = " ".join(words)
    if len(heads) != 1 or len(names) < 2:
        return {}
    return found


def regrouped(rows: Rows, names: Sequence[str], told: Told, source: str) -> Regrouped | None:
    """A table of which the groups are the parts of one training, or its clean and attacked examples.

    Groups called train and test, by a column such as run or split, are parts where no column says one. Groups called
    clean and pgd20, where no column says which, may be one training or several: the caller is asked, and may name the
    columns as `pgd20/test_acc`.

    Args:
        rows: of the table.
        names: of its columns.
        told: what the caller says.
        source: of the table, for messages.

    Returns:
        None for any other table.

    Raises:
        BadRequest: groups that say clean and robust where no column does.
    """
    group = next((name for name in names if is_group(name)), None) or _split_of(rows, names)
    if group is None or any(choice.text == group for choice in told.choices.values()):
        return None
    values = _values(rows, group)
    measured = list(filter(_is_measured, names))
    if len(values) < 2 or not measured:
        return None
    parts = as_parts(values)
    words = [words_of(name) for name in measured]
    if parts and all(len(parts_of(words_of(part))) == 1 for part in parts.values()) and not any(map(parts_of, words)):
        said = f"the rows of {group} {listed(values, 8)} are taken for parts of one training"
        return _moved(rows, names, group, measured, {value: f"{parts[value]} {{}}" for value in values}, said)
    if any(map(kinds_of, words)) or not all(map(_says_kind, values)):
        return None
    in_front = {value: f"{value}/{{}}" for value in values}
    chosen = {choice.text for choice in told.choices.values()}
    if chosen.isdisjoint(f"{value}/{name}" for value in values for name in measured):
        raise refusal(source, _which(group, values, measured))
    return _moved(rows, names, group, measured, in_front, f"the rows of {group} {listed(values, 8)} are one training")


def _split_of(rows: Rows, names: Sequence[str]) -> str | None:
    """The column all of whose values are parts of the data, such as split; None where there is none."""
    for name in names:
        if words_of(name) in _OF_PARTS:
            values = _values(rows, name)
            if values and all(len(words_of(value)) == len(parts_of(words_of(value))) == 1 for value in values):
                return name
    return None


def _values(rows: Rows, group: str) -> list[str]:
    """The groups in the order of the rows; none where a row has none, or there are too many to be parts."""
    found: dict[str, None] = {}
    for row in rows():
        value = str(row.get(group) or "").strip()
        found[value] = None
        if not value or len(found) > MOST_PARTS:
            return []
    return list(found)


def _is_measured(name: str) -> bool:
    return meaning_of(name) is not None and curve_of(name) not in ("epoch", "lr")


def _says_kind(group: str) -> bool:
    """Whether the name of a group says clean or robust, and nothing that could be the name of a training."""
    words = words_of(group.rpartition("/")[2])
    for word in words:
        if not (says_part_or_kind(word) or is_detail(word)):
            return False
    return bool(kinds_of(words))


def _which(group: str, values: Sequence[str], measured: Sequence[str]) -> str:
    """The question, with the option that makes one training of the groups."""
    text = (
        f"the values of column {group!r}, {listed(values, 8)}, say what was measured, or they name several trainings; "
        "if they are several, save each of them alone"
    )
    pairs: dict[str, str] = {}
    for name in measured:
        meaning = meaning_of(name)
        if not isinstance(meaning, Meaning) or meaning.curve not in ERRORS or meaning.curve.endswith("/train"):
            continue
        for value in values:
            kind = min(kinds_of(words_of(value.rpartition("/")[2])))
            pairs.setdefault(meaning.told.replace("clean", kind), f"{value}/{name}")
    if not pairs:
        return text
    first, *others = pairs.items()
    return f"{text}; if it is one training, add {map_option(*first, *others)}"


def _moved(
    rows: Rows, names: Sequence[str], group: str, measured: Sequence[str], forms: Mapping[str, str], said: str
) -> Regrouped:
    """The table with each measured column once for each group, and its rows numbered within the group if nothing is."""
    counts = any(curve_of(name) == "epoch" or is_step(name) for name in names)
    rest = [name for name in names if name != group and name not in measured]
    moved = [form.format(name) for form in forms.values() for name in measured]
    numbered = [] if counts else ["epoch"]

    def again() -> Iterator[Cells]:
        n_rows = dict.fromkeys(forms, 0)
        for row in rows():
            value = str(row.get(group)).strip()
            n_rows[value] += 1
            found: dict[str, object] = {name: row[name] for name in rest if name in row}
            if not counts:
                found["epoch"] = n_rows[value]
            for name in measured:
                if name in row:
                    found[forms[value].format(name)] = row[name]
            yield found

    if not counts:
        said += "; no column counts epochs: their rows are numbered from 1"
    return Regrouped(again, [*numbered, *rest, *moved], said)


def follow_each_other(epochs: Mapping[str, Sequence[float]], group: str) -> bool:
    """Whether groups are one training that was resumed under another name: blocks of epochs, one after the other.

    Seeds and trials never are, nor groups of a single epoch, which are the last ones of several trainings.

    Args:
        epochs: group -> the epochs of its rows.
        group: the column that tells them apart.

    Returns:
        False where one verdict for all would mix trainings.

    Example:
        >>> follow_each_other({"a": [0, 1], "b": [2, 3]}, "run"), follow_each_other({"a": [0, 2], "b": [1, 3]}, "run")
        (True, False)
    """
    if words_of(group)[:1] != ["run"]:
        return False
    blocks = sorted(sorted(set(block)) for block in epochs.values())
    if any(len(block) < 2 for block in blocks):
        return False
    longest = max(later - earlier for block in blocks for earlier, later in itertools.pairwise(block))
    return all(0 < second[0] - first[-1] <= 2 * longest for first, second in itertools.pairwise(blocks))
