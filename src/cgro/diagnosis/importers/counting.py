"""Whether a column counts steps of the optimizer, by its values: then the rows of one epoch are of one training."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cgro.diagnosis.columns import ERRORS
from cgro.diagnosis.importers.layout import Layout, Rows
from cgro.diagnosis.keys import is_step

HELD_OUT = ("/test", "/validation")


@dataclass
class _Count:
    """What is seen of a column that may count steps, in the rows of one group.

    Args:
        place: epoch and step of the row before.
        passes: how often these have gone back.
        values: (epoch, step, column) -> its pass and the value, of errors.
        of_epoch: epoch -> the steps at which errors on held-out data were recorded.
        is_told_apart: whether one step of one pass has two values of a curve.
    """

    place: tuple[float, float] = (-math.inf, -math.inf)
    passes: int = 0
    values: dict[tuple[float, float, str], tuple[int, str]] = field(default_factory=dict)
    of_epoch: dict[float, set[float]] = field(default_factory=dict)
    is_told_apart: bool = False

    def take(self, epoch: float, step: float, errors: Mapping[str, str], held_out: bool) -> None:
        """Add a row.

        Args:
            epoch: of the row.
            step: in the column that may count steps.
            errors: column -> its value as text.
            held_out: whether one of them is on held-out data.
        """
        self.passes += (epoch, step) < self.place  # resumed: steps since the last checkpoint come again
        self.place = (epoch, step)
        for name, value in errors.items():
            key = (epoch, step, name)
            its_pass, other = self.values.setdefault(key, (self.passes, value))
            self.is_told_apart = self.is_told_apart or (other != value and its_pass == self.passes)
        if held_out:
            self.of_epoch.setdefault(epoch, set()).add(step)

    @property
    def counts(self) -> bool:
        """Whether each step has one value, and held-out data are evaluated at other steps in each epoch.

        An epoch with one evaluation says nothing of steps. Where several stand at the same numbers in each epoch, as
        10, 20 and 50, these are steps of attacks, or one cannot tell.
        """
        several = [steps for steps in self.of_epoch.values() if len(steps) > 1]
        n_same = sum(steps == of_next for steps, of_next in itertools.pairwise(several))
        return not self.is_told_apart and 2 * n_same <= max(len(several) - 1, 0)


def with_counted_steps(rows: Rows, names: Sequence[str], layout: Layout) -> Layout:
    """A layout that says of steps what their columns hold, whatever they are called.

    Args:
        rows: of the table.
        names: of its columns.
        layout: by their names.

    Returns:
        The layout; without steps where no column of them counts those of an optimizer.
    """
    epoch = next((name for name, meaning in layout.used.items() if meaning.curve == "epoch"), None)
    if epoch is None or not layout.steps:
        return layout
    errors = {name: meaning.curve for name, meaning in layout.used.items() if meaning.curve in ERRORS}
    counts: dict[tuple[str, str], _Count] = {}
    for name in names:
        if is_step(name) and name not in layout.used:
            counts[name, ""] = _Count()
    candidates = [name for name, _ in counts]
    for row in rows():
        of_epoch = _number(row.get(epoch))
        found = {name: str(row.get(name, "")).strip() for name in errors if math.isfinite(_number(row.get(name)))}
        if math.isnan(of_epoch) or not found:
            continue
        held_out = any(errors[name].endswith(HELD_OUT) for name in found)
        group = "" if layout.group is None else str(row.get(layout.group, ""))
        for name in candidates:
            step = _number(row.get(name))
            if not math.isnan(step):
                counts.setdefault((name, group), _Count()).take(of_epoch, step, found, held_out)
    for name in candidates:
        if all(count.counts for (of, _), count in counts.items() if of == name):
            return layout
    return replace(layout, steps=False)


def _number(cell: object) -> float:
    """The number in a cell, NaN for none."""
    try:
        return float(str(cell).strip().rstrip("%").replace(",", ""))
    except ValueError:
        return math.nan
