"""Rank correlation over checkpoints, with an interval that knows that checkpoints of one run depend on each other."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from cgro._check import bad, count


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over all checkpoints of all seeds.

    Args:
        value: of the pooled points; NaN where one side is constant.
        interval: 95%, percentile bootstrap over seeds and blocks of epochs; None when most draws have a constant side.
        per_seed: within each seed.
        n_seeds: how many.
        n_checkpoints: of each seed.
        block: epochs that are drawn together.
    """

    value: float
    interval: tuple[float, float] | None
    per_seed: tuple[float, ...]
    n_seeds: int
    n_checkpoints: int
    block: int

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`.

        Returns:
            field -> value, tuples as lists.
        """
        interval = self.interval
        if interval is not None:
            interval = list(interval)
        return {**asdict(self), "interval": interval, "per_seed": list(self.per_seed)}


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho: Pearson's correlation of the ranks, ties at their mean rank.

    Args:
        a: (N,) values; inf is largest.
        b: (N,).

    Returns:
        In [-1, 1], rounded to 12 digits; NaN if one side is constant or there are no values.

    Raises:
        BadRequest: lengths that differ, NaN.

    Example:
        >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0]))
        1.0
    """
    a = _numbers(a, "values")
    b = _numbers(b, "values")
    if a.ndim != 1 or a.shape != b.shape:
        raise bad("values", expected="two arrays of one length", got=f"shapes {a.shape} and {b.shape}")
    return float(_spearman_of_rows(a[None], b[None])[0])


def _numbers(values: np.ndarray, what: str) -> np.ndarray:
    """The values as an array of numbers, NaN not among them."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):  # words, rows of different lengths
        raise bad(what, expected="numbers", got=repr(values)) from None
    if np.isnan(numbers).any():
        raise bad(what, expected="numbers", got="NaN")
    return numbers


def _spearman_of_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(R,) correlations of the rows of two (R, N) arrays; see `spearman`."""
    from scipy.stats import rankdata  # here, as the import takes over a second and few commands need it

    # Not scipy's spearmanr, which takes one pair at a time here and computes a p-value for each. Centered ranks are
    # multiples of 1/2, so the sums are exact.
    middle = (a.shape[1] + 1) / 2
    u = rankdata(a, axis=1) - middle
    v = rankdata(b, axis=1) - middle
    size = np.sqrt((u**2).sum(1) * (v**2).sum(1))
    with np.errstate(invalid="ignore"):  # 0 / 0 where one side is constant
        rho = (u * v).sum(1) / size
    return np.array([round(value, 12) for value in rho.tolist()])


def rank_correlation(
    a: np.ndarray, b: np.ndarray, generator: np.random.Generator, *, block: int | None = None, n_draws: int = 2000
) -> Correlation:
    """Spearman's rho of two quantities over checkpoints (Figure 4, right), with an interval that respects dependence.

    Neighboring epochs are nearly the same network, so a bootstrap over points would claim far more than there is. Here
    seeds are drawn with replacement, and within each, blocks of consecutive epochs. With three seeds the interval is
    coarse, and with one it speaks of that seed only.

    Args:
        a: (seeds, epochs), or (epochs,) of one seed; three epochs or more.
        b: of the same shape.
        generator: of the draws.
        block: epochs that are drawn together; None means epochs^(1/2), at least 2.
        n_draws: of the bootstrap.

    Returns:
        The correlation and its interval.

    Raises:
        BadRequest: shapes differ, fewer than three checkpoints of each seed, values that are not finite, no draw.

    Example:
        >>> t = np.arange(12.0)[None] + np.array([[0.0], [5.0]])
        >>> result = rank_correlation(t, t**3, np.random.default_rng(0))
        >>> result.value, result.interval
        (1.0, (1.0, 1.0))
    """
    a = np.atleast_2d(_numbers(a, "checkpoints"))
    b = np.atleast_2d(_numbers(b, "checkpoints"))
    if np.isinf(a).any() or np.isinf(b).any():
        raise bad("checkpoints", expected="finite values", got="inf")
    if a.shape != b.shape or a.ndim != 2 or not len(a) or a.shape[1] < 3:
        expected = "two (seeds, epochs) arrays of one shape with three epochs or more"
        raise bad("checkpoints", expected=expected, got=f"shapes {a.shape} and {b.shape}")
    n_draws = count(n_draws, "n_draws")
    n_seeds, n_epochs = a.shape
    if block is None:
        length = min(n_epochs, max(2, round(math.sqrt(n_epochs))))
    else:
        length = count(block, "block", high=n_epochs)
    drawn_a = np.empty((n_draws, a.size))
    drawn_b = np.empty((n_draws, b.size))
    for k in range(n_draws):
        columns = _blocks(n_epochs, length, n_seeds, generator)
        seeds = generator.integers(n_seeds, size=n_seeds)[:, None]
        drawn_a[k] = a[seeds, columns].ravel()
        drawn_b[k] = b[seeds, columns].ravel()
    return Correlation(
        value=spearman(a.ravel(), b.ravel()),
        interval=_interval(_spearman_of_rows(drawn_a, drawn_b)),
        per_seed=tuple(_spearman_of_rows(a, b).tolist()),
        n_seeds=n_seeds,
        n_checkpoints=n_epochs,
        block=length,
    )


def _blocks(n_epochs: int, block: int, n_seeds: int, generator: np.random.Generator) -> np.ndarray:
    """(n_seeds, n_epochs) columns made of runs of `block` consecutive epochs."""
    n_blocks = math.ceil(n_epochs / block)
    # A block starts where it still fits, so that none wraps around from the last epoch to the first.
    starts = generator.integers(n_epochs - block + 1, size=(n_seeds, n_blocks, 1))
    return (starts + np.arange(block)).reshape(n_seeds, -1)[:, :n_epochs]


def _interval(drawn: np.ndarray) -> tuple[float, float] | None:
    """Percentiles of the draws that have a correlation; None if at most half of them do."""
    known = drawn[np.isfinite(drawn)]
    if len(known) <= len(drawn) // 2:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
