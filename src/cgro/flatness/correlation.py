"""Rank correlation over checkpoints, with an interval that knows that checkpoints of one run depend on each other."""

import math
from dataclasses import dataclass

import numpy as np

from cgro._check import bad, count


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over all checkpoints of all seeds.

    Args:
        value: of the pooled points. interval: 95%, percentile bootstrap over seeds and blocks of epochs; None when fewer
            than two different values come. per_seed: within each seed; NaN where one side is constant.
    """

    value: float
    interval: tuple[float, float] | None
    per_seed: tuple[float, ...]
    n_seeds: int
    n_checkpoints: int
    block: int

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`."""
        return {**vars(self), "interval": self.interval and list(self.interval), "per_seed": list(self.per_seed)}


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties at their mean.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of the ranks; NaN if one side is constant.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0]))
    1.0
    """
    u, v = ranks(a) - (len(a) + 1) / 2, ranks(b) - (len(b) + 1) / 2
    size = math.sqrt(float((u @ u) * (v @ v)))
    return round(float(u @ v) / size, 12) if size else math.nan


def rank_correlation(
    a: np.ndarray, b: np.ndarray, generator: np.random.Generator, *, block: int | None = None, n_draws: int = 2000
) -> Correlation:
    """Spearman's rho of two quantities over checkpoints (Figure 4, right), with an interval that respects dependence.

    Neighboring epochs are nearly the same network, so a bootstrap over points would claim far more than there is. Here
    seeds are drawn with replacement, and within each, blocks of consecutive epochs. With three seeds the interval is
    coarse, and with one it speaks of that seed only.

    Args:
        a, b: (seeds, epochs). generator: of the draws. block: epochs a block; None means epochs^(1/2), at least 2.

    Raises:
        BadRequest: shapes differ, fewer than three checkpoints, values that are not finite.

    Example:
        >>> t = np.arange(12.0)[None] + np.array([[0.0], [5.0]])
        >>> result = rank_correlation(t, t**3, np.random.default_rng(0))
        >>> result.value, result.interval
        (1.0, (1.0, 1.0))
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape != b.shape or a.ndim != 2 or a.size < 3:
        raise bad(
            "checkpoints", expected="two equal (seeds, epochs) arrays with three points or more", got=(a.shape, b.shape)
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise bad("checkpoints", expected="finite values", got="NaN or inf")
    n_seeds, n_epochs = a.shape
    default = min(n_epochs, max(2, round(math.sqrt(n_epochs))))
    length = default if block is None else count(block, "block", high=n_epochs)
    found = []
    for _ in range(n_draws):
        columns = _blocks(n_epochs, length, n_seeds, generator)
        seeds = generator.integers(n_seeds, size=n_seeds)[:, None]
        found.append(spearman(a[seeds, columns].ravel(), b[seeds, columns].ravel()))
    known = np.array(found)[np.isfinite(found)]
    interval = tuple(float(v) for v in np.quantile(known, [0.025, 0.975])) if len(known) > n_draws // 2 else None
    per_seed = tuple(spearman(u, v) for u, v in zip(a, b))
    value = spearman(a.ravel(), b.ravel())
    return Correlation(value, interval, per_seed, n_seeds, n_epochs, length)  # type: ignore[arg-type]


def _blocks(n_epochs: int, block: int, n_seeds: int, generator: np.random.Generator) -> np.ndarray:
    """(n_seeds, n_epochs) columns made of runs of `block` consecutive epochs."""
    n_blocks = math.ceil(n_epochs / block)
    starts = generator.integers(n_epochs - block + 1, size=(n_seeds, n_blocks, 1))
    return (starts + np.arange(block)).reshape(n_seeds, -1)[:, :n_epochs]
