"""Robust overfitting while it sets in: the test of `cgro.diagnosis.rise`, repeated after every epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cgro.definitions import Label
from cgro.diagnosis.columns import CURVES
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.rule import CurveRule
from cgro.diagnosis.verdict import Diagnosis, diagnose
from cgro.training.history import EPOCH

N_BOOT = 199
"""Simulated curves per look: the smallest p-value is 0.005, below the rule's 0.01. A choice, a fifth of a verdict's."""
IN_A_ROW = 3
"""Looks in a row that must agree. A choice: every epoch is one more chance of a false alarm; see docs/monitor.md."""
ALARMS: tuple[Label, ...] = ("robust_overfitting", "catastrophic_overfitting")
ONSET = "alarm/onset"
RISE, LOW, HIGH = "alarm/rise", "alarm/rise_low", "alarm/rise_high"
"""Entries of the row at which it was said: fractions; the onset is an epoch."""


@dataclass(frozen=True)
class Alarm:
    """What is said once.

    Attributes:
        text: one line.
        entries: of the row, by which a later process knows that it was said.
    """

    text: str
    entries: Mapping[str, float]


def alarm_of(rows: Sequence[Mapping[str, float]], n_classes: int) -> Alarm | None:
    """Whether it is to be said now that robust overfitting has set in.

    Args:
        rows: of all epochs, the newest last.
        n_classes: of the task.

    Returns:
        The alarm, if the last `IN_A_ROW` epochs each look like robust overfitting; None else, and where it was said.
    """
    if any(RISE in row for row in rows):
        return None
    latest: Diagnosis | None = None
    for k in range(IN_A_ROW):
        found = _looked(rows[: len(rows) - k], n_classes)
        if found is None or found.label not in ALARMS:
            return None
        latest = latest or found
    assert latest is not None, "every look found something"
    rise = latest.rise
    if latest.phase is not None:  # the label rests on it: of the whole curve no rise was established
        rise = latest.phase.rise
    assert rise is not None, "a curve that was judged has one"
    low, high = rise.interval
    text = (
        f"cgro.Monitor, epoch {rows[-1][EPOCH]:g}: {latest.label.replace('_', ' ')} sets in: the robust test error "
        f"rose by {100 * rise.size:.1f} points (95% interval {100 * low:.1f} to {100 * high:.1f}) after epoch "
        f"{rise.onset:g}"
    )
    if latest.phase is not None and latest.phase.drop is not None:
        text += f"; that was before the learning rate dropped at {latest.phase.drop:g}"
    return Alarm(text, {RISE: rise.size, LOW: low, HIGH: high, ONSET: rise.onset})


def _looked(rows: Sequence[Mapping[str, float]], n_classes: int) -> Diagnosis | None:
    """The diagnosis of a curve so far; None of one that is too short."""
    rule = CurveRule(n_boot=N_BOOT)
    if len(rows) < rule.min_epochs:
        return None
    values: dict[str, list[float]] = {}
    for name in CURVES:
        if name != EPOCH and any(name in row for row in rows):
            values[name] = [row.get(name, math.nan) for row in rows]
    # Not by `Curves.from_rows`: these are fractions, and no unit is to be guessed.
    curves = Curves([row[EPOCH] for row in rows], values, {"source": "the loop"})
    return diagnose(curves, n_classes=n_classes, rule=rule)
