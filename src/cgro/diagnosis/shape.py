"""What curves look like: drops of the learning rate, the opening of the gap, jumps, constants, and shuffled rows."""

import math

import numpy as np

from cgro.diagnosis.curves import Curves
from cgro.diagnosis.rate import sudden_drops
from cgro.diagnosis.rise import LAST
from cgro.diagnosis.rule import CurveRule
from cgro.results.keys import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN

MOST_CLASSES = 1000
"""Numbers of classes whose error of guessing is tried for a constant answer: up to ImageNet's."""
GUESSING = 0.01
"""How near the error of guessing the errors of a constant answer lie. A choice: classes are not perfectly balanced."""
STILL = 0.004
"""By how much the held-out error of a constant answer may move: to the share of another class of equal size."""
STILL_IN_TRAINING = 0.02
"""The same for a training error where the held-out error does not move at all: a running mean over random batches."""


def drops_of(curves: Curves) -> tuple[float, ...]:
    """The epochs at which the learning rate, in one step, fell from a plateau (`sudden_drops`).

    Args:
        curves: with `lr`, the rate in force during each epoch.

    Returns:
        The first epoch of each new rate.

    Example:
        >>> drops_of(Curves([1, 2, 3, 4], {"lr": [0.1, 0.1, 0.01, 0.01]}))
        (3.0,)
    """
    epochs, rate = curves.measured("lr")
    return tuple(epochs[sudden_drops(rate)].tolist())


def gap_curve(curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    """Robust test minus robust training error, where both were measured.

    Args:
        curves: of one training.

    Returns:
        Epochs and gaps, of one length.
    """
    both = ~np.isnan(curves[ROBUST_TEST]) & ~np.isnan(curves[ROBUST_TRAIN])
    return curves.epoch[both], (curves[ROBUST_TEST] - curves[ROBUST_TRAIN])[both]


def opening(curves: Curves) -> float | None:
    """The first epoch from which on the robust gap stays above half of its final value.

    Args:
        curves: of one training.

    Returns:
        The epoch; None without a gap.

    Example:
        >>> test, train = [.9, .8, .7, .7, .7, .7, .7, .7], [.9, .8, .7, .6, .5, .4, .4, .4]
        >>> opening(Curves(range(8), {ROBUST_TEST: test, ROBUST_TRAIN: train}))
        4.0
    """
    epochs, gap = gap_curve(curves)
    if len(gap) < LAST + 1:
        return None
    final = float(gap[-LAST:].mean())
    if final <= 0:
        return None
    below = np.nonzero(gap < final / 2)[0]
    if not len(below) or below[-1] + 1 >= len(gap):
        return float(epochs[0])
    return float(epochs[below[-1] + 1])


def opened_after(curves: Curves, epoch: float) -> float | None:
    """The share of the final robust gap that opened from an epoch on; the three epochs before it are the start.

    Args:
        curves: of one training.
        epoch: such as that of a learning-rate drop.

    Returns:
        The share, above 1 where the gap was negative; None without a gap, or with no epoch before.
    """
    epochs, gap = gap_curve(curves)
    before = gap[epochs < epoch][-3:]
    if not len(before):
        return None
    final = float(gap[-LAST:].mean())
    if final <= 0:
        return None
    return 1 - float(before.mean()) / final


def catastrophe(curves: Curves, rule: CurveRule) -> tuple[float, float, float] | None:
    """A jump of the robust test error to nearly 1 that lasts to the end, over two evaluations at least.

    Args:
        curves: of one training.
        rule: says what a jump is.

    Returns:
        The error before, after, and the epoch of the jump; None without one. Of a jump just before the end the level
        after it is that of the last evaluation.

    Example:
        >>> robust, clean = [0.7, 0.6, 0.55, 0.99, 1.0, 1.0], [0.3, 0.25, 0.2, 0.2, 0.15, 0.1]
        >>> catastrophe(Curves(range(6), {ROBUST_TEST: robust, CLEAN_TEST: clean}), CurveRule())
        (0.55, 0.99, 3.0)
    """
    epochs, robust = curves.measured(ROBUST_TEST)
    if len(robust) < 3:
        return None
    ended = robust[-min(3, len(robust) // 2) :].mean() >= rule.jump_to
    if not (ended or _has_just_jumped(robust, rule)):
        return None
    clean = curves[CLEAN_TEST][~np.isnan(curves[ROBUST_TEST])]
    if not np.isnan(clean[-3:]).all() and np.nanmean(clean[-3:]) > rule.jump_to - rule.jump:
        return None
    from_here = np.minimum.accumulate(robust[::-1])[::-1]
    for t in range(1, len(robust)):
        before = float(robust[max(0, t - rule.jump_epochs) : t].min())
        if robust[t] >= rule.jump_to and robust[t] - before >= rule.jump and from_here[t] >= rule.jump_to - rule.jump:
            return before, float(robust[t]), float(epochs[t])
    return None


def _has_just_jumped(robust: np.ndarray, rule: CurveRule) -> bool:
    """Whether the last two evaluations both lie clearly above the three before, the last one by a jump and near 1."""
    if len(robust) < 5 or robust[-1] < rule.jump_to:
        return False
    before = robust[-5:-2]
    rose = robust[-1] - before.min() >= rule.jump and robust[-2] - before.max() >= rule.jump / 2
    return bool(rose and before.max() < rule.jump_to and robust[-2] >= rule.jump_to - rule.jump)


def last_jump(curves: Curves, rule: CurveRule) -> tuple[float, float, float] | None:
    """A jump of the robust test error to nearly 1 in the very last evaluation, which nothing confirms yet.

    Args:
        curves: of one training.
        rule: says what a jump is.

    Returns:
        The error before, after, and the epoch; None without one.

    Example:
        >>> last_jump(Curves(range(5), {ROBUST_TEST: [0.7, 0.6, 0.55, 0.54, 0.99]}), CurveRule())
        (0.55, 0.99, 4.0)
    """
    epochs, robust = curves.measured(ROBUST_TEST)
    if len(robust) < 3:
        return None
    before, after = float(robust[-3:-1].max()), float(robust[-1])
    clean = curves[CLEAN_TEST][~np.isnan(curves[ROBUST_TEST])][-1]
    if after < rule.jump_to or after - before < rule.jump or clean > rule.jump_to - rule.jump:
        return None
    return before, after, float(epochs[-1])


def stuck(curves: Curves) -> bool:
    """Whether the clean error ends constant at that of guessing among some number of classes, on train and test.

    Args:
        curves: of one training.

    Returns:
        True where a constant answer explains the errors of the last epochs.
    """
    test = curves.measured(CLEAN_TEST)[1][-LAST:]
    train = curves.measured(CLEAN_TRAIN)[1][-LAST:]
    if len(test) < 3:
        return False
    guesses = 1 - 1 / np.arange(2, MOST_CLASSES + 1)
    guess = guesses[np.abs(test.mean() - guesses).argmin()]
    if abs(test.mean() - guess) >= GUESSING or np.ptp(test) >= STILL:
        return False
    if not len(train):
        return True
    still = STILL_IN_TRAINING if np.ptp(test) == 0 else STILL
    return bool(abs(train.mean() - guess) < GUESSING and np.ptp(train) < still)


def shuffled(curves: Curves, rule: CurveRule) -> bool:
    """Whether the order of the epochs carries no information in any curve: rank von Neumann ratio (Bartels, JASA 1982).

    RVN = sum (R_t - R_(t+1))^2 / sum (R_t - mean)^2 of the ranks is near 2 if the order is random and far lower for a
    learning curve. One ordered curve is enough: shuffled rows would have taken the order from all of them.

    Args:
        curves: of one training.
        rule: its `order` and `min_epochs`.

    Returns:
        True where every curve that is long enough looks like a random order.
    """
    for name in (ROBUST_TEST, ROBUST_TRAIN, CLEAN_TEST, CLEAN_TRAIN):
        values = curves.measured(name)[1]
        if len(values) >= rule.min_epochs and order_p_value(values) <= rule.order:
            return False
    return True


def order_p_value(values: np.ndarray) -> float:
    """How often a random order would be as ordered: by 10,000 permutations, or normal, N(2, 4/T), above 50 values.

    Args:
        values: (T,) without NaN.

    Returns:
        The p-value of the rank von Neumann ratio; 1 where all values are equal.

    Example:
        >>> order_p_value(np.arange(12.0)) < 0.0005 < order_p_value(np.array([0.0, 1.0] * 6))
        True
    """
    ordered = np.sort(values)
    below, above = np.searchsorted(ordered, values), np.searchsorted(ordered, values, "right")
    ranks = below + (above - below) / 2
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if total == 0:
        return 1.0
    ratio = float((np.diff(ranks) ** 2).sum()) / total
    if len(values) > 50:
        return 0.5 * math.erfc((2 - ratio) * math.sqrt(len(values)) / 2 / math.sqrt(2))
    null = np.random.default_rng(0).permuted(np.tile(ranks, (9999, 1)), axis=1)
    n_as_ordered = int(((np.diff(null, axis=1) ** 2).sum(1) / total <= ratio).sum())
    return (1 + n_as_ordered) / 10000
