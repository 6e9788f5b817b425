"""The three stages of Theorem 5.9, looked for on the learning curves of a real network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cgro._check import bad

WHOLE_FALL = 0.9
"""Share of a curve's fall at which it counts as over. A choice, without a source."""
MIN_GAP = 0.1
"""Of robust test over robust training error, above which a network counts as overfitted. A choice, without a source."""


@dataclass(frozen=True)
class RealStages:
    """Theorem 5.9's order looked for on learning curves of a real network.

    Args:
        clean_learned: first epoch with 90% of the whole fall of the clean test error.
        generalized: first epoch with 90% of the whole fall of the robust test error.
        memorized: first epoch with 90% of the whole fall of the robust training error.
        parted: first epoch from which robust test - robust train error stays above `min_gap`; None if it never does.
    """

    clean_learned: int
    generalized: int
    memorized: int
    parted: int | None

    @property
    def ordered(self) -> bool:
        """Clean accuracy first, then what generalizes of robustness, and memory last."""
        return self.parted is not None and self.clean_learned <= self.memorized and self.generalized < self.memorized


def real_stages(
    epochs: Sequence[int],
    clean_test: Sequence[float],
    robust_train: Sequence[float],
    robust_test: Sequence[float],
    *,
    min_gap: float = MIN_GAP,
) -> RealStages:
    """Look for the three stages on curves.

    Args:
        epochs: (R,) increasing.
        clean_test: (R,) clean test errors in [0, 1].
        robust_train: (R,) robust training errors.
        robust_test: (R,) robust test errors.
        min_gap: of the robust errors, above which they have parted.

    Returns:
        The epochs at which each curve has fallen, and from which the robust errors differ.

    Raises:
        BadRequest: fewer than two epochs, or curves of different lengths.

    Example:
        >>> real_stages([1, 2, 3, 4], [0.5, 0.2, 0.2, 0.2], [0.8, 0.6, 0.3, 0.0], [0.8, 0.6, 0.6, 0.6])
        RealStages(clean_learned=2, generalized=2, memorized=4, parted=3)
    """
    clean = np.asarray(clean_test, dtype=float)
    train = np.asarray(robust_train, dtype=float)
    test = np.asarray(robust_test, dtype=float)
    n = len(epochs)
    if n < 2 or not len(clean) == len(train) == len(test) == n:
        raise bad("curves", expected="two epochs or more, and curves of one length", got=n)
    together = np.flatnonzero(~(test - train > min_gap))
    first = 0
    if len(together):
        first = int(together[-1]) + 1
    parted = None
    if first < n:
        parted = int(epochs[first])
    return RealStages(
        clean_learned=int(epochs[_fallen(clean)]),
        generalized=int(epochs[_fallen(test)]),
        memorized=int(epochs[_fallen(train)]),
        parted=parted,
    )


def _fallen(curve: np.ndarray) -> int:
    """The first position with 90% of the fall from the start to the lowest value."""
    level = curve[0] - WHOLE_FALL * (curve[0] - curve.min())
    return int(np.flatnonzero(curve <= level + 1e-12)[0])
