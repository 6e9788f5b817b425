"""From rows in the order of a file to one value per epoch: what is repeated, resumed or belongs to another training."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cgro._check import bad

WHOLE = 10
"""So many epochs before a start from scratch are a training of their own, fewer a false start. A choice: the fewest
epochs that are judged as a curve (`CurveRule.min_epochs`)."""
MOST_RESUMED = 3
"""Times that a training is resumed before its rows are looked at for two trainings at once. A choice."""
SAME = 1e-9
"""Two records of one value that differ by less are equal: the rounding of whoever converted them."""


@dataclass(frozen=True)
class Merged:
    """One value per epoch.

    Args:
        epoch: (T,) strictly increasing.
        values: name -> (T,) float64, NaN where nothing was recorded.
        remarks: what was repeated and which record counts.
        caveats: what the reader of the verdict must know.
    """

    epoch: np.ndarray
    values: dict[str, np.ndarray]
    remarks: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


def merge(rows: Sequence[Mapping[str, float]], source: str, *, appended: bool = False, steps: bool = False) -> Merged:
    """One value per epoch, the last that was recorded, unless that would mix two trainings.

    Rows of one epoch that hold different curves are joined, and equal records are harmless. Where records of one epoch
    differ, the file is one training that was resumed (its epochs go back and on), or it holds several. Seeds below each
    other, or beside each other row by row, are refused: the last one would stand for all.

    Args:
        rows: in the order of the file, each with a finite `epoch`; what was not measured is absent or NaN.
        source: of the rows, for errors.
        appended: whether the program that wrote the file appends its next training, as those of text logs do: then the
            last training is taken, and a caveat says so.
        steps: whether several rows of an epoch are its steps, of which the last counts.

    Returns:
        The values, sorted by epoch.

    Raises:
        BadRequest: several trainings, or a training that was resumed and did not get as far as before.

    Example:
        >>> found = merge([{"epoch": 1, "a": 0.5}, {"epoch": 2, "a": 0.4}, {"epoch": 2, "a": 0.3}], "x")
        >>> found.values["a"].tolist(), found.remarks
        ([0.5, 0.3], ('1 epoch was recorded more than once; the last record counts',))
    """
    caveats: list[str] = []
    if appended:
        start, n_trainings = _last_training(rows)
        if n_trainings > 1:
            rows = rows[start:]
            caveats.append(f"the file holds {n_trainings} trainings of these epochs; this is the last one")
    repeated, differing, beside = _repetitions(rows)
    if differing:
        _require_one_training(rows, source, beside, steps=steps)
    remarks = _false_starts(rows)
    if repeated:
        how = ", with equal values"
        if differing:
            how = "; the last record counts"
        were = "1 epoch was"
        if len(repeated) > 1:
            were = f"{len(repeated)} epochs were"
        remarks.append(f"{were} recorded more than once{how}")
    epochs = sorted(set(map(_epoch, rows)))
    return Merged(np.array(epochs), _last_values(rows, epochs), tuple(remarks), tuple(caveats))


def _last_values(rows: Sequence[Mapping[str, float]], epochs: Sequence[float]) -> dict[str, np.ndarray]:
    """Name -> (T,) the last value recorded for each epoch, NaN where there is none."""
    place = {epoch: t for t, epoch in enumerate(epochs)}
    values: dict[str, np.ndarray] = {}
    for row in rows:
        for name, value in row.items():
            if name == "epoch" or math.isnan(value):
                continue
            if name not in values:
                values[name] = np.full(len(place), np.nan)
            values[name][place[_epoch(row)]] = value
    return dict(sorted(values.items()))


def _epoch(row: Mapping[str, float]) -> float:
    return row["epoch"]


def _repetitions(rows: Sequence[Mapping[str, float]]) -> tuple[set[float], set[float], set[float]]:
    """Epochs that were recorded twice, those whose values differ, and those that differ within one pass."""
    seen: dict[tuple[float, str], tuple[int, float]] = {}
    repeated: set[float] = set()
    differing: set[float] = set()
    beside: set[float] = set()
    run = 0
    before = -math.inf
    for row in rows:
        epoch = _epoch(row)
        run += epoch < before  # a new pass over the epochs
        before = epoch
        for name, value in row.items():
            if name == "epoch" or math.isnan(value):
                continue
            earlier = seen.get((epoch, name))
            seen[epoch, name] = (run, value)
            if earlier is None:
                continue
            repeated.add(epoch)
            if abs(earlier[1] - value) > SAME:
                differing.add(epoch)
                if earlier[0] == run:
                    beside.add(epoch)
    return repeated, differing, beside


def _passes(rows: Sequence[Mapping[str, float]]) -> list[int]:
    """The rows at which the epochs go back, and the first."""
    starts = [0]
    for t in range(1, len(rows)):
        if _epoch(rows[t]) < _epoch(rows[t - 1]):
            starts.append(t)
    return starts


def _last_training(rows: Sequence[Mapping[str, float]]) -> tuple[int, int]:
    """The row at which the last training begins, and how many whole trainings there are."""
    begin, n_trainings = 0, 1
    for start in _passes(rows)[1:]:
        epochs = set(map(_epoch, rows[begin:start]))
        if _epoch(rows[start]) <= _epoch(rows[0]) and len(epochs) >= WHOLE:
            begin = start
            n_trainings += 1
    return begin, n_trainings


def _false_starts(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """One sentence per start from scratch that ended within a few epochs and was followed by another."""
    found: list[str] = []
    begin = 0
    for start in _passes(rows)[1:]:
        epochs = set(map(_epoch, rows[begin:start]))
        if _epoch(rows[start]) > _epoch(rows[0]):
            continue
        if 1 < len(epochs) < WHOLE:
            last = max(epochs)
            found.append(
                f"a start that ended at epoch {last:g} is followed by another from epoch {_epoch(rows[start]):g}; "
                "where both recorded an epoch, the later one counts"
            )
        begin = start
    return found


def _is_interleaved(rows: Sequence[Mapping[str, float]]) -> bool:
    """Whether two trainings were written at once, one behind the other: 3 1 4 2 5 3.

    A training that is resumed goes back and then on, epoch by epoch. Of two at once most passes leave out the epochs
    between them, or are of one row where both are at the same one.
    """
    epochs = np.unique(list(map(_epoch, rows)))
    starts = _passes(rows)
    n_jumps = 0
    for start, end in itertools.pairwise([*starts, len(rows)]):
        places = np.searchsorted(epochs, list(map(_epoch, rows[start:end])))
        n_jumps += len(set(places)) == 1 or bool(np.any(np.diff(places) > 1))
    return len(starts) > MOST_RESUMED + 1 and 2 * n_jumps > len(starts)


def _require_one_training(rows: Sequence[Mapping[str, float]], source: str, beside: set[float], *, steps: bool) -> None:
    """Refuse rows of which the last record of each epoch would mix several trainings."""
    epochs = list(map(_epoch, rows))
    remedy = "give each its own file, or add a column named seed"
    n_epochs = len(set(epochs))
    if not steps and (len(beside) > max(3, n_epochs // 4) or len(beside) == n_epochs):
        got = f"several rows with other values in {len(beside)} of {n_epochs} epochs"
        raise bad(source, expected="one training, or a column that tells the seeds apart", got=got, remedy=remedy)
    if _is_interleaved(rows):
        got = f"rows that go back and on by turns {len(_passes(rows)) - 1} times, with other values"
        raise bad(source, expected="one training, or a column that tells the seeds apart", got=got, remedy=remedy)
    _, n_trainings = _last_training(rows)
    if n_trainings > 1:
        got = f"{n_trainings} trainings that begin at epoch {epochs[0]:g} and differ"
        raise bad(source, expected="one training, or a column that tells the seeds apart", got=got, remedy=remedy)
    last = epochs[_passes(rows)[-1] :]
    if max(last) < max(epochs) and min(last) <= max(epochs) and len(last) > 1:
        got = f"epochs up to {max(epochs):g}, then again {last[0]:g} to {max(last):g} with other values"
        raise bad(source, expected="a training that goes on where it was resumed", got=got, remedy=remedy)
