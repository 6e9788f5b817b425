"""The sentences of a diagnosis: each says one number, what it means, and how sure it is."""

import math
from collections.abc import Mapping

import numpy as np

from cgro.definitions import ErrorRate
from cgro.diagnosis.checks import impossible, trailing_gap
from cgro.diagnosis.columns import counted
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.rise import ESTABLISHED, LAST, PhaseRise, Rise
from cgro.diagnosis.rule import CurveRule
from cgro.diagnosis.selection import Selection
from cgro.diagnosis.shape import gap_curve, opened_after
from cgro.results.keys import CLEAN_TEST, ROBUST_TEST, ROBUST_VALIDATION

NOTHING = 0.0005
"""A number of this many hundredths of a point or less prints as 0.0 points. Half of the last printed digit."""


BLIND = 0.015
"""Rises from here on count as overfitting in published tables; where smaller ones are seen it is not said. A choice."""
SPARSE = 5
"""So many epochs from one evaluation to the next may hide the lowest one. A choice."""
INFLATED = 0.6
"""Above this correlation between epochs false alarms are more than nominal; see docs/diagnosis.md. A choice."""
UNDECIDED = 0.2
"""A p-value above this says that nothing looks like a rise, however few the evaluations. A choice."""


def points(rise: Rise) -> str:
    """The size of a rise with its interval.

    Args:
        rise: of an error.

    Returns:
        Such as "7.15 points [5.85, 8.46]", in percentage points.
    """
    low, high = rise.interval
    return f"{100 * rise.size:.2f} points [{100 * low:.2f}, {100 * high:.2f}]"


def verdict_sentence(rise: Rise, part: str, *, real: bool) -> str:
    """The rise in plain words: how far above the best epoch it ends, and how much of that is the choice of the best.

    Args:
        rise: of the robust error.
        part: on which it was measured, test or validation.
        real: whether the rise is established.

    Returns:
        One sentence.
    """
    final = f"Final robust {part} error (mean of the {last_of(rise)})"
    if rise.naive < NOTHING:
        return f"{final} is that of its best epoch."
    start = f"{final} is {100 * rise.naive:.1f} points above its best epoch"
    picking = "picking the best of noisy epochs"
    if real:
        if rise.bias < NOTHING:
            return f"{start}; {picking} explains none of it: {points(rise)} are a rise (p = {rise.p_value:.2g})."
        about = f"about {100 * rise.bias:.1f} of that comes from {picking}"
        return f"{start}; {about}; the remaining {points(rise)} are a rise (p = {rise.p_value:.2g})."
    if rise.size < NOTHING:
        return f"{start}; all of that comes from {picking}, and no rise is left (p = {rise.p_value:.2g})."
    if rise.bias < NOTHING:
        return f"{start}, which is consistent with no rise: {points(rise)}, p = {rise.p_value:.2g}."
    about = f"about {100 * rise.bias:.1f} of that comes from {picking}"
    if rise.p_value <= ESTABLISHED:
        doubt = f"the rest is not established as a rise: p = {rise.p_value:.2g}, but the interval of {points(rise)}"
        return f"{start}; {about}; {doubt} contains 0."
    return f"{start}; {about}; the rest is consistent with no rise: {points(rise)}, p = {rise.p_value:.2g}."


def phase_sentence(phase: PhaseRise) -> str:
    """A rise within one stretch of learning rate, and what the drop behind it did.

    Args:
        phase: whose rise is established.

    Returns:
        A clause without capital and full stop.
    """
    rise = phase.rise
    when = f"between epoch {rise.onset:g} and {rise.epochs[-1]:g}"
    if rise.onset >= rise.epochs[-1]:
        when = f"by epoch {rise.epochs[-1]:g}, with no clear beginning"
    text = f"the robust test error rose by {points(rise)} {when}"
    if phase.drop is None or phase.after is None:
        return f"{text}, the end"
    change = phase.after - rise.final
    what = "fell"
    if change >= 0:
        what = "rose"
    return f"{text}, then {what} with the learning-rate drop at {phase.drop:g}, by {100 * abs(change):.1f} points"


def visible_sentence(rise: Rise) -> str:
    """What the evaluations are too few to show.

    Args:
        rise: of the robust error, not established.

    Returns:
        One sentence; empty where smaller rises than `BLIND` are seen.
    """
    if rise.visible < BLIND:
        return ""
    text = f"With {_often(rise)}, a rise below {100 * rise.visible:.1f} points would mostly be missed"
    if rise.naive >= rise.visible / 2 and rise.p_value < UNDECIDED:
        return f"{text}; too few to tell whether these {100 * rise.naive:.1f} points are one."
    return f"{text}."


def missed_sentence(rise: Rise) -> str:
    """Where epochs lie between evaluations the lowest one is hardly among them.

    Args:
        rise: of the robust error, established or not.

    Returns:
        One sentence; empty where epochs were evaluated more often than every `SPARSE`.
    """
    if _apart(rise) < SPARSE:
        return ""
    return f"With {_often(rise)}, the lowest epoch may lie between two of them: then the rise is larger."


def last_of(rise: Rise) -> str:
    """What the final error is the mean of.

    Args:
        rise: of an error.

    Returns:
        "last 5 epochs", or "last 5 evaluations" where those lie epochs apart.
    """
    if _apart(rise) > 1:
        return f"last {LAST} evaluations"
    return f"last {LAST} epochs"


def _apart(rise: Rise) -> float:
    if len(rise.epochs) < 2:
        return 1.0
    return float(np.median(np.diff(rise.epochs)))


def _often(rise: Rise) -> str:
    apart = _apart(rise)
    if apart > 1:
        return f"{len(rise.epochs)} evaluations, one every {apart:g} epochs"
    return f"{len(rise.epochs)} evaluations"


def end_sentence(errors: Mapping[str, ErrorRate], part: str) -> str:
    """The errors of the end of training, as evidence: numbers without a second verdict.

    Args:
        errors: those that are known.
        part: on which the held-out errors were measured.

    Returns:
        One sentence; empty where nothing is known.

    Example:
        >>> end_sentence({ROBUST_TEST: ErrorRate(50, 100), "robust_error/train": ErrorRate(1, 8)}, "test")
        'At the end the robust error is 12.5% on the training set and 50.0% on the test set.'
    """
    told: list[str] = []
    for kind in ("robust", "clean"):
        sets: list[str] = []
        for key, name in ((f"{kind}_error/train", "training"), (f"{kind}_error/test", part)):
            if key in errors:
                sets.append(f"{errors[key].value:.1%} on the {name} set")
        if sets:
            told.append(f"the {kind} error is {' and '.join(sets)}")
    if not told:
        return ""
    return f"At the end {', and '.join(told)}."


def noise_sentence(rise: Rise) -> str:
    """How much neighboring epochs differ by chance.

    Args:
        rise: of the robust error.

    Returns:
        One sentence.
    """
    text = f"Noise between epochs: {100 * rise.noise:.2f} points, correlation {rise.rho:.1f} from one to the next"
    if rise.rho <= INFLATED:
        return f"{text}."
    return f"{text}; so correlated, 5 to 8% of curves without a rise are called one, not 1%."


def onset_sentence(rise: Rise) -> str:
    """From which epoch on it rises.

    Args:
        rise: of the robust error.

    Returns:
        One sentence.
    """
    low, high = rise.onset_interval
    if low == high:
        return f"It begins after epoch {rise.onset:g} (95%: {low:g} alone)."
    return f"It begins after epoch {rise.onset:g} (95%: {low:g} to {high:g})."


def drop_sentence(rise: Rise, drops: tuple[float, ...], aligned: float | None, rule: CurveRule) -> str:
    """Whether a learning-rate drop set the rise off.

    Args:
        rise: of the robust error.
        drops: epochs at which the learning rate fell.
        aligned: the drop that the onset follows.
        rule: says how near that is.

    Returns:
        One sentence.
    """
    if not drops:
        return "The learning rate shows no sudden drop."
    low, high = rise.onset_interval
    near = [drop for drop in drops if low <= drop <= high]
    if aligned is None and near:
        return f"The learning-rate drop at epoch {near[0]:g} lies within the interval of its beginning."
    if aligned is None:
        named = ", ".join(f"{drop:g}" for drop in drops)
        return f"The rise follows none of the learning-rate drops (at {named})."
    share = min(1.0, len(drops) * rule.near_drop)
    behind = rise.onset - aligned
    where = "at"
    if behind:
        where = f"{counted(abs(behind), 'epoch')} {'after' if behind > 0 else 'before'}"
    return (
        f"The rise begins {where} the learning-rate drop at epoch {aligned:g} "
        f"(an onset anywhere would be so near to one in {share:.0%} of cases)."
    )


def signature_sentence(curves: Curves, rise: Rise, clean: Rise | None, rule: CurveRule) -> str:
    """What the clean test error does while the robust one rises; falling is the signature of CGRO.

    The change is the mean of the last five epochs minus that of the three around the onset. Its interval takes the
    noise of the clean curve, with the same correlation for neighbors: sd of a mean of k values = noise sqrt((1 + rho)
    / ((1 - rho) k)).

    Args:
        curves: of one training.
        rise: of the robust error.
        clean: the rise of the clean error, whose noise is used.
        rule: its `clean_change`.

    Returns:
        One sentence; empty where the clean error was measured too rarely.
    """
    epochs, values = curves.measured(CLEAN_TEST)
    if len(values) < LAST + 3 or clean is None:
        return ""
    near = values[np.argsort(np.abs(epochs - rise.onset))[:3]]
    change = float(values[-LAST:].mean() - near.mean())
    spread = clean.noise * math.sqrt((1 + clean.rho) / (1 - clean.rho) * (1 / LAST + 1 / len(near)))
    low, high = change - 1.96 * spread, change + 1.96 * spread
    width = f"{100 * abs(change):.2f} points [{100 * low:+.2f}, {100 * high:+.2f}], to {values[-LAST:].mean():.1%}"
    if abs(change) < rule.clean_change or low <= 0 <= high:
        return f"Over the same epochs the clean test error does not change measurably: {width}."
    if change > 0:
        return f"Over the same epochs the clean test error rises by {width}."
    return (
        f"Over the same epochs the clean test error falls by {width}: clean error improves while robust error worsens, "
        "the signature of CGRO."
    )


def opening_sentence(curves: Curves, opened: float, drops: tuple[float, ...], part: str) -> str:
    """When the robust gap opened.

    Args:
        curves: of one training.
        opened: epoch at which it reached half of its end.
        drops: epochs at which the learning rate fell.
        part: on which the held-out error was measured.

    Returns:
        One sentence.
    """
    gap = gap_curve(curves)[1]
    half = f"half of its final {100 * gap[-LAST:].mean():.1f} points at epoch {opened:g}"
    text = f"The gap between robust training and {part} error reaches {half}"
    share = None
    if drops:
        share = opened_after(curves, drops[0])
    if share is None:
        return text + "."
    return f"{text}; {min(1.0, max(0.0, share)):.0%} of it opens after the first learning-rate drop."


def stand_in(curves: Curves) -> str:
    """Why validation errors are judged.

    Args:
        curves: as given, with few robust test errors or none.

    Returns:
        The words, with the last of those that there are.
    """
    epochs, values = curves.measured(ROBUST_TEST)
    if not len(epochs):
        return "no robust error was measured on a test set; these are validation errors"
    times = "once" if len(epochs) == 1 else f"at {len(epochs)} epochs"
    return (
        f"the robust error was measured on a test set only {times} (last {values[-1]:.2%} at epoch {epochs[-1]:g}), "
        "too little for a curve; these are validation errors"
    )


def selection_sentence(selection: Selection, part: str) -> str:
    """What each rule of selection reports.

    Args:
        selection: see `select`.
        part: on which the held-out error was measured.

    Returns:
        One sentence.
    """
    best, last = selection.on_test, selection.last
    start = f"Robust {part} error: {best.robust_error:.2%} at epoch {best.epoch:g} (selected on {part})"
    if selection.on_validation is None or selection.bias is None:
        other = "no validation set to select on"
        if part != "test":
            other = "no other set to measure on"
        return f"{start}, {last.robust_error:.2%} at the last epoch; {other}."
    chosen = selection.on_validation
    return (
        f"{start}, {chosen.robust_error:.2%} at epoch {chosen.epoch:g} (selected on validation), "
        f"{last.robust_error:.2%} at the last; selecting on test flatters by {100 * selection.bias:.2f} points."
    )


def caveats_of(curves: Curves) -> tuple[str, ...]:
    """What makes the numbers of a training doubtful, for the headline.

    Args:
        curves: of one training.

    Returns:
        Clauses without capital and full stop, the importer's first.
    """
    found = list(curves.caveats)
    found += [one.sentence for one in impossible(curves) if one.doubtful]
    for name in (ROBUST_TEST, ROBUST_VALIDATION):
        gap = trailing_gap(curves, name)
        if gap is not None and (name == ROBUST_TEST or not curves.has(ROBUST_TEST)):
            first, last, n = gap
            why = "not measured"
            if any(column.curve == name and column.nan_from is not None for column in curves.columns):
                why = "NaN"
            what = name.replace("_", " ").replace("/", " on ")
            found.append(f"{what} is {why} in the last {n} epochs, {first:g} to {last:g}")
    return tuple(found)


def divergence(curves: Curves) -> str:
    """Whether the loss became NaN for good, from the columns of a file.

    Args:
        curves: of one training.

    Returns:
        A clause; empty where no loss did.
    """
    for column in curves.columns:
        if column.measure == "loss" and column.nan_from is not None:
            when = f"from epoch {column.nan_from:g} on"
            return f"the loss (column {column.name!r}) is NaN {when}: training diverged"
    return ""
