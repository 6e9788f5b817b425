"""A share of wrong examples, what it proves, and its interval."""

import math
from dataclasses import dataclass
from typing import Literal

from cgro._check import count_field, one_of

Bound = Literal["lower", "upper", "exact"]
"""What a number proves: `lower` (an attack found it), `upper` (the rest is certified), `exact`."""
Z95 = 1.959963984540054
"""97.5% quantile of the standard normal distribution."""


@dataclass(frozen=True)
class ErrorRate:
    """A share of wrong examples and what it proves.

    Args:
        wrong: number of wrong examples.
        n: number of examples.
        bound: `lower` (an attack found these; there may be more), `upper` (all others are certified), `exact`.

    Example:
        >>> e = ErrorRate(10, 100, "lower")
        >>> e.value, tuple(round(v, 4) for v in e.interval)
        (0.1, (0.0552, 0.1744))
        >>> float(e)
        0.1
    """

    wrong: int
    n: int
    bound: Bound = "exact"

    def __post_init__(self) -> None:
        count_field(self, "n")
        count_field(self, "wrong", low=0, high=self.n)
        one_of(self.bound, "bound", ("lower", "upper", "exact"))

    def __float__(self) -> float:
        return self.value

    @property
    def value(self) -> float:
        """The error as a fraction in [0, 1]."""
        return self.wrong / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson score interval for the sampling of examples; it knows nothing of the attack's strength."""
        p, n = self.value, self.n
        center = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
        return max(0.0, min(p, center - half)), min(1.0, max(p, center + half))

    def to_dict(self, attack: object | None = None) -> dict[str, object]:
        """Plain values for `summary.json`.

        Args:
            attack: what found the wrong examples; its `repr` is recorded. None for a clean error.

        Returns:
            wrong, n, bound, value, interval and attack.
        """
        named = None if attack is None else repr(attack)
        return {
            "wrong": self.wrong,
            "n": self.n,
            "bound": self.bound,
            "value": self.value,
            "interval": list(self.interval),
            "attack": named,
        }


def difference_interval(a: ErrorRate, b: ErrorRate) -> tuple[float, float]:
    """95% interval for a - b of two independent shares (Newcombe's hybrid score method, Statistics in Medicine 1998).

    Args:
        a: one share.
        b: the share that is subtracted, of other examples.

    Returns:
        Lower and upper end, in [-1, 1].

    Example:
        Newcombe's Table II, case (a).

        >>> low, high = difference_interval(ErrorRate(56, 70), ErrorRate(48, 80))
        >>> round(low, 4), round(high, 4)
        (0.0524, 0.3339)
    """
    a_low, a_high = a.interval
    b_low, b_high = b.interval
    difference = a.value - b.value
    low = difference - math.sqrt((a.value - a_low) ** 2 + (b_high - b.value) ** 2)
    high = difference + math.sqrt((a_high - a.value) ** 2 + (b.value - b_low) ** 2)
    return low, high
