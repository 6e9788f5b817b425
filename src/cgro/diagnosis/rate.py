"""Drops of a learning rate: falls in one step from a plateau, which smooth schedules do not have."""

import numpy as np

DROP = 1.5
"""A rate that falls by more than this factor from one epoch to the next has dropped: more than the step of a smooth
schedule. A choice."""
PLATEAU = 0.01
"""Rates that differ by less than this share are one plateau. A choice."""
SMALL = 0.0099
"""Below this share of the largest rate nothing counts: logs round rates to four digits, and a rounded tail has steps.
Just below the 1% from which the last of three usual drops by ten starts. A choice."""


def sudden_drops(rate: np.ndarray) -> np.ndarray:
    """Where a learning rate falls from a plateau by more than `DROP` in one step.

    The tail of a cosine or of a cycle falls by such factors too, ever faster and from no plateau.

    Args:
        rate: (T,) without NaN.

    Returns:
        (T,) True for the first value after a drop.

    Example:
        >>> sudden_drops(np.array([0.1, 0.1, 0.01, 0.01])).tolist()
        [False, False, True, False]
        >>> bool(sudden_drops(np.cos(np.pi * np.arange(200) / 200) + 1).any())
        False
    """
    fell = np.zeros(len(rate), bool)
    fell[1:] = rate[:-1] > DROP * rate[1:]
    level = np.isclose(rate[1:], rate[:-1], rtol=PLATEAU, atol=0)
    before = np.zeros(len(rate), bool)
    before[2:] = level[:-1]
    if len(rate) > 2:
        before[1] = level[1]  # the first rate stands for one epoch only: the new one must be a plateau
    if len(rate):
        before[1:] &= rate[:-1] >= SMALL * rate.max()
    return fell & before
