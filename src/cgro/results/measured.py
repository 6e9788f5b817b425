"""A number over seeds, and the commonest of their labels."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measured:
    """One quantity over seeds.

    Args:
        values: one finite or infinite number per seed; those of seeds that have none are left out by `of`.

    Example:
        >>> m = Measured.of([1.0, None, 2.0, 3.0])
        >>> m.n, m.mean, m.sd, [round(v, 2) for v in m.interval]
        (3, 2.0, 1.0, [-0.48, 4.48])
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float | None] | np.ndarray) -> "Measured":
        """Collect the numbers of seeds.

        Args:
            values: one per seed; None where a seed has none.

        Returns:
            The numbers that there are.
        """
        return cls(tuple(float(v) for v in values if v is not None))

    @property
    def n(self) -> int:
        """Seeds that have a number."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over seeds; NaN without any."""
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation, with n - 1; NaN for fewer than two seeds."""
        return float(np.std(self.values, ddof=1)) if self.n > 1 else math.nan

    @property
    def t(self) -> float:
        """97.5% quantile of Student's t with n - 1 degrees of freedom; NaN for fewer than two seeds."""
        from scipy.stats import t as student  # scipy.stats takes a second to import

        return float(student.ppf(0.975, self.n - 1)) if self.n > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the mean, Student's t over seeds; NaN for fewer than two."""
        if self.n < 2:
            return math.nan, math.nan
        half = self.t * self.sd / math.sqrt(self.n)
        return self.mean - half, self.mean + half

    def text(self, unit: str = "", digits: int = 2) -> str:
        """Mean, standard deviation and number of seeds for a table.

        Args:
            unit: written behind the mean, such as %.
            digits: behind the decimal point.

        Returns:
            A few words.

        Example:
            >>> Measured((98.0, 99.0, 100.0)).text("%")
            '99.00% (sd 1.00, 3 seeds)'
        """
        if not self.n:
            return "not measured"
        if self.n == 1:
            return f"{self.mean:.{digits}f}{unit} (one seed)"
        return f"{self.mean:.{digits}f}{unit} (sd {self.sd:.{digits}f}, {self.n} seeds)"


def commonest(labels: Sequence[str]) -> tuple[str, str]:
    """The commonest label over seeds and a sentence; of labels that tie, the one that comes first, and the tie is said.

    Args:
        labels: one per seed, at least one.

    Returns:
        The label, and how many seeds have it.

    Example:
        >>> commonest(["cgro", "robust", "cgro"])
        ('cgro', '2 of 3 seeds: cgro')
        >>> commonest(["robust", "underfitting"])
        ('robust', 'a tie over 2 seeds: robust, underfitting, 1 each')
    """
    counts = Counter(labels)  # in order of first appearance, and so is most_common among equals
    label, n = counts.most_common(1)[0]
    tied = [name for name, m in counts.items() if m == n]
    if len(tied) > 1:
        return label, f"a tie over {len(labels)} seeds: {', '.join(tied)}, {n} each"
    return label, f"{n} of {len(labels)} seeds: {label}"
