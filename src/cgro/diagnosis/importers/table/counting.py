"""Whether a column counts steps of the optimizer, by its values: then the rows of one epoch are of one training."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cgro.diagnosis.columns import ERRORS
from cgro.diagnosis.importers.table.layout import Layout
from cgro.diagnosis.importers.told import Rows
from cgro.diagnosis.keys import is_step


@dataclass
class _Count:
    """What is seen of a column that may count steps, in the rows of one group.

    Args:
        place: epoch and step of the row.
        passes: how often these have gone back.
        values: (epoch, step, column) -> the pass and the value of an error.
        of_epoch: epoch -> the steps at which errors on held-out data were recorded.
        is_told_apart: whether one step of one pass has two values of a column.
    """

    place: tuple[float, float] = (-math.inf, -math.inf)
    passes: int = 0
    values: dict[tuple[float, float, str], tuple[int, float]] = field(default_factory=dict)
    of_epoch: dict[float, set[float]] = field(default_factory=dict)
    is_told_apart: bool = False

    def go_to(self, epoch: float, step: float) -> None:
        if (epoch, step) < self.place:  # resumed: steps since the last checkpoint come again
            self.passes += 1
        self.place = (epoch, step)

    def take(self, column: str, value: float, *, held_out: bool) -> None:
        epoch, step = self.place
        its_pass, other = self.values.setdefault((epoch, step, column), (self.passes, value))
        if other != value and its_pass == self.passes:
            self.is_told_apart = True
        if held_out:
            self.of_epoch.setdefault(epoch, set()).add(step)

    @property
    def counts(self) -> bool:
        """Whether each step has one value, and held-out data are evaluated at other steps in each epoch.

        An epoch with one evaluation says nothing of steps. Where several stand at the same numbers in each epoch, as
        10, 20 and 50, these are steps of attacks, or one cannot tell.
        """
        n_same = n_pairs = 0
        several = filter(lambda steps: len(steps) > 1, self.of_epoch.values())
        for steps, of_next in itertools.pairwise(several):
            n_pairs += 1
            n_same += steps == of_next
        return not self.is_told_apart and 2 * n_same <= n_pairs


def with_counted_steps(rows: Rows, names: Sequence[str], layout: Layout) -> Layout:
    """A layout that says of steps what their columns hold, whatever they are called.

    Args:
        rows: of the table.
        names: of its columns.
        layout: by their names.

    Returns:
        The layout; without steps where no column of them counts those of an optimizer.
    """
    for epoch, meaning in layout.used.items():
        if meaning.curve == "epoch" and layout.steps:
            candidates = filter(is_step, names)
            is_counted = any(name not in layout.used and _counts(rows, epoch, name, layout) for name in candidates)
            return replace(layout, steps=is_counted)
    return layout


def _counts(rows: Rows, epoch: str, step: str, layout: Layout) -> bool:
    """Whether a column counts steps in the rows of every group."""
    groups: dict[object, _Count] = {}
    for row in rows():
        of_epoch, of_step = _number(row.get(epoch)), _number(row.get(step))
        if math.isnan(of_epoch) or math.isnan(of_step):
            continue
        count = groups.setdefault(str(row.get(layout.group or "")), _Count())
        count.go_to(of_epoch, of_step)
        for name, meaning in layout.used.items():
            value = _number(row.get(name))
            if meaning.curve in ERRORS and not math.isnan(value):
                count.take(name, value, held_out=not meaning.curve.endswith("/train"))
    return all(count.counts for count in groups.values())


def _number(cell: object) -> float:
    """The number in a cell, NaN for none."""
    try:
        return float(str(cell).strip().rstrip("%").replace(",", ""))
    except ValueError:
        return math.nan
