"""What must hold of measured curves whatever was trained: a violation means that the numbers are not what they seem."""

from dataclasses import dataclass

import numpy as np

from cgro.diagnosis.columns import PARTS
from cgro.diagnosis.curves import Curves

SLACK = 0.02
"""How far a robust error may lie below the clean one for it to be counted: rounding, other examples, dropout or
BatchNorm in train mode. A choice; four standard errors of a difference at 10,000 examples."""
MOSTLY = 0.5
"""A violation in more than this share of the epochs is no accident. A choice."""
LARGE = 0.05
"""Nor is one by more than this in any epoch. A choice: seven standard errors of a difference at 10,000 examples."""


@dataclass(frozen=True)
class Impossible:
    """Robust errors below clean ones.

    Args:
        part: train, validation or test.
        n: epochs in which the robust error lies clearly below the clean one.
        n_both: epochs in which both were measured.
        largest: the largest difference, a fraction.
        as_accuracy: whether the robust values would be possible if they were accuracies.
    """

    part: str
    n: int
    n_both: int
    largest: float
    as_accuracy: bool

    @property
    def doubtful(self) -> bool:
        """Whether it belongs into the headline.

        Training errors are running means while the network moves, and single-step attacks leak labels (Kurakin et al.,
        ICLR 2017): those count where most epochs violate it.
        """
        return self.part != "train" or self.n > MOSTLY * self.n_both

    @property
    def misread(self) -> bool:
        """Whether held-out errors violate it so clearly that the columns must be something else."""
        return self.part != "train" and (self.n > MOSTLY * self.n_both or self.largest > LARGE)

    @property
    def sentence(self) -> str:
        """What is wrong, without a full stop."""
        return (
            f"robust {self.part} error lies below the clean one in {self.n} of {self.n_both} epochs, by up to "
            f"{100 * self.largest:.1f} points, which no attack can do"
        )


def impossible(curves: Curves) -> list[Impossible]:
    """Find robust errors below the clean errors of the same part (Definitions 3.1 to 3.3: the clean point is in the
    ball).

    Args:
        curves: errors as fractions.

    Returns:
        One entry per part in which that happens beyond `SLACK`.

    Example:
        >>> swapped = Curves([1, 2], {"clean_error/test": [0.4, 0.3], "robust_error/test": [0.2, 0.1]})
        >>> [(one.part, one.n, round(one.largest, 2)) for one in impossible(swapped)]
        [('test', 2, 0.2)]
    """
    found: list[Impossible] = []
    for part in PARTS:
        clean, robust = curves[f"clean_error/{part}"], curves[f"robust_error/{part}"]
        both = ~np.isnan(clean) & ~np.isnan(robust)
        below = (clean - robust)[both]
        n = int((below > SLACK).sum())
        if n:
            turned = bool((1 - robust[both] >= clean[both] - SLACK).mean() > MOSTLY)
            found.append(Impossible(part, n, int(both.sum()), float(below.max()), turned))
    return found


def trailing_gap(curves: Curves, name: str) -> tuple[float, float, int] | None:
    """The end of training without a value, where it is longer than the usual distance between two evaluations.

    Args:
        curves: of one training.
        name: of a curve.

    Returns:
        First and last epoch without a value, and how many; None where the curve goes to the end.

    Example:
        >>> nan = float("nan")
        >>> trailing_gap(Curves(range(6), {"robust_error/test": [0.6, 0.5, 0.4, nan, nan, nan]}), "robust_error/test")
        (3.0, 5.0, 3)
        >>> trailing_gap(Curves(range(4), {"robust_error/test": [0.6, nan, 0.4, nan]}), "robust_error/test")
    """
    known = np.nonzero(~np.isnan(curves[name]))[0]
    if not len(known):
        return None
    n = len(curves) - 1 - int(known[-1])
    usual = int(np.diff(known).max()) if len(known) > 1 else 1
    if n <= max(1, usual):
        return None
    return float(curves.epoch[known[-1] + 1]), float(curves.epoch[-1]), n


def lost_epochs(epochs: np.ndarray) -> list[str]:
    """Epochs that are missing from an otherwise regular count.

    Args:
        epochs: (T,) strictly increasing.

    Returns:
        One sentence, or none where nothing is missing or the count is irregular.

    Example:
        >>> lost_epochs(np.array([0.0, 1, 2, 3, 5, 6, 7, 8]))
        ['epoch 4 is missing between the first and the last']
    """
    steps = np.diff(epochs)
    usual = float(np.median(steps)) if len(steps) else 0.0
    larger = np.nonzero(steps > 1.5 * usual)[0]
    if not len(larger) or len(larger) > 0.2 * len(steps) or (steps[larger] % usual).any():
        return []
    first = float(epochs[larger[0]]) + usual
    n = int((steps[larger] / usual - 1).sum())
    if n == 1:
        return [f"epoch {first:g} is missing between the first and the last"]
    return [f"{n} epochs are missing between the first and the last, first {first:g}"]
