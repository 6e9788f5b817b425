"""Values that stand where nothing was measured: zeros between evaluations, and the last value again. Pure functions."""

from collections.abc import Mapping

import numpy as np

from cgro.diagnosis.columns import ERRORS, ordinal

FEWEST = 3
"""Evaluations at one distance, with fillers between, that show a pattern. A choice."""


def without_fillers(values: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Leave out of the errors what a program wrote for epochs in which it did not evaluate.

    They are left out only where evaluations lie at one distance of at least two epochs: a single other value every
    fifth epoch, say, and 0 between; or every value five times in a row. Catastrophic overfitting, which gives zeros as
    well, keeps no such step.

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
        for pattern, sentence in ((_between_zeros, _ZEROS), (_repeated, _AGAIN)):
            step, measured = pattern(values[name])
            if step:
                kept[name] = np.where(measured, values[name], np.nan)
                said.append(f"{name}: {sentence}".format(step=ordinal(step), n=step))
                break
    return kept, said


_ZEROS = "0 or 100% in all but every {step} epoch is taken for not measured"
_AGAIN = "each value stands {n} epochs in a row, and is taken for measured in the first of them"


def _between_zeros(values: np.ndarray) -> tuple[int, np.ndarray]:
    """The distance of single values between zeros, and where they are; 0 where there is no such pattern."""
    known = ~np.isnan(values)
    for filler in (0.0, 1.0):
        others = known & (values != filler)
        places = np.nonzero(others)[0]
        steps = np.diff(places)
        if known.all() and len(steps) >= FEWEST - 1 and len(set(steps.tolist())) == 1 and steps[0] > 1:
            return int(steps[0]), others
    return 0, known


def _repeated(values: np.ndarray) -> tuple[int, np.ndarray]:
    """How many times in a row each value stands, and where it stands first; 0 where there is no such pattern."""
    known = ~np.isnan(values)
    if not known.all() or len(values) < 2:
        return 0, known
    changes = np.nonzero(np.diff(values))[0] + 1
    lengths = np.diff(changes)
    if len(lengths) < FEWEST - 1 or len(set(lengths.tolist())) != 1 or lengths[0] < 2:
        return 0, known
    step = int(lengths[0])
    ends = (int(changes[0]), len(values) - int(changes[-1]))
    if max(ends) > step or len(lengths) + ends.count(step) <= FEWEST:
        return 0, known
    first = np.zeros(len(values), bool)
    first[changes] = True
    first[0] = values[0] not in (0.0, 1.0)  # before the first evaluation
    return step, first
