"""Values that stand where nothing was measured: zeros between evaluations, and the last value again. Pure functions."""

from collections.abc import Mapping

import numpy as np

from cgro.diagnosis.columns import ERRORS, ordinal

FEWEST = 3
"""Evaluations at one distance, with fillers between, that show a pattern. A choice."""
FAR = 0.05
"""How far measured values lie from a filler at least, where they are not all at one distance. A choice: a robust
accuracy that begins at 0 and grows passes through smaller ones."""
BETWEEN = 2
"""Distances between the usual one and one epoch, as where a program begins to evaluate in every epoch. A choice."""


def without_fillers(values: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Leave out of the errors what a program wrote for epochs in which it did not evaluate.

    They are left out where evaluations lie at one distance of at least two epochs: a single other value every fifth
    epoch, say, and 0 between; or every value five times in a row. Within some epochs, such as the last ones, every one
    may be evaluated, and the first evaluation may be late, behind zeros. Catastrophic overfitting, which gives zeros as
    well, keeps no such step, and has values in its first epochs.

    Args:
        values: name -> (T,) of every curve, errors as fractions, NaN where there is no value.

    Returns:
        The curves, with NaN for fillers; and one sentence per curve that had some.

    Example:
        >>> found, said = without_fillers({"robust_error/test": np.array([0.6, 1, 1, 0.5, 1, 1, 0.4, 1, 1])})
        >>> found["robust_error/test"].tolist()[:4], said[0]
        ([0.6, nan, nan, 0.5], 'robust_error/test: 0 or 100% in all but every 3rd epoch is taken for not measured')
    """
    kept = dict(values)
    said: list[str] = []
    for name in ERRORS:
        if name not in values:
            continue
        for pattern, regular, irregular in _PATTERNS:
            step, measured = pattern(values[name])
            if step is None:
                continue
            kept[name] = np.where(measured, values[name], np.nan)
            sentence = regular if step else irregular
            left = int(np.sum(~measured))
            said.append(f"{name}: {sentence}".format(step=ordinal(step), n=step, left=left, all=len(measured)))
            break
    return kept, said


_ZEROS = "0 or 100% in all but every {step} epoch is taken for not measured"
_SOME_ZEROS = "0 or 100% in {left} of {all} epochs, before or between evaluations, is taken for not measured"
_AGAIN = "each value stands {n} epochs in a row, and is taken for measured in the first of them"
_SOME_AGAIN = "the last value stands again in {left} of {all} epochs, which is taken for not measured"


def _between_zeros(values: np.ndarray) -> tuple[int | None, np.ndarray]:
    """The distance of single values between zeros, 0 for several distances, and where they are; None where there is no
    such pattern."""
    known = ~np.isnan(values)
    for filler in (0.0, 1.0):
        others = known & (values != filler)
        places = np.nonzero(others)[0]
        if not known.all() or len(places) < FEWEST:
            continue
        steps = np.diff(places)
        if steps[0] > 1 and np.all(steps == steps[0]):
            return int(steps[0]), others
        behind = len(values) - 1 - places[-1]
        if _is_usual(steps, FEWEST - 1) and behind < steps[0] and _is_far(values[others], filler):
            return 0, others
    return None, known


def _late(values: np.ndarray) -> tuple[int | None, np.ndarray]:
    """Where the values behind zeros are, if they are all the others; else None."""
    known = ~np.isnan(values)
    for filler in (0.0, 1.0):
        others = known & (values != filler)
        n_before = int(np.argmax(others))
        if known.all() and n_before >= FEWEST and others[n_before:].all() and _is_far(values[others], filler):
            return 0, others
    return None, known


def _is_far(values: np.ndarray, filler: float) -> bool:
    return bool(np.abs(values - filler).min() >= FAR)


def _repeated(values: np.ndarray) -> tuple[int | None, np.ndarray]:
    """How many times in a row each value stands, 0 for several, and where it stands first; None where there is no such
    pattern."""
    known = ~np.isnan(values)
    if not known.all() or len(values) < 2:
        return None, known
    changes = np.nonzero(np.diff(values))[0] + 1
    lengths = np.diff(changes)
    if len(lengths) < FEWEST - 1 or lengths[0] < 2:
        return None, known
    step = int(lengths[0])
    ends = (int(changes[0]), len(values) - int(changes[-1]))
    first = np.zeros(len(values), bool)
    first[changes] = True
    first[0] = values[0] not in (0.0, 1.0)  # before the first evaluation
    if ends[1] > step or (first[0] and ends[0] > step):
        return None, known
    if np.all(lengths == step) and len(lengths) + ends.count(step) > FEWEST:
        return step, first
    if step > 2 and _is_usual(lengths, FEWEST - ends.count(step)):  # pairs of equal values come by chance
        return 0, first
    return None, known


def _is_usual(steps: np.ndarray, fewest: int) -> bool:
    """Whether the first distance is the longest and comes again and again, and nearly all others are of one epoch."""
    usual = steps[0]
    n_between = np.sum((steps > 1) & (steps < usual))
    return bool(usual > 1 and steps.max() == usual and np.sum(steps == usual) >= fewest and n_between <= BETWEEN)


_PATTERNS = (
    (_between_zeros, _ZEROS, _SOME_ZEROS),
    (_repeated, _AGAIN, _SOME_AGAIN),
    (_late, _SOME_ZEROS, _SOME_ZEROS),
)
"""What finds fillers, and what is said of them where they lie at one distance and where not. Zeros that stand before
values of which each stands several times are left to the second."""
