"""The noise between the epochs of one training: its spread, which may change, and the correlation of neighbors."""

from dataclasses import dataclass

import numpy as np

from cgro.diagnosis.valley import falls_and_rises, jit

FLOOR = 1e-6
"""Spread of the noise where the residuals are 0. Below any error's resolution."""
GRID = (0.0, 0.3, 0.6, 0.85)
"""Correlations that are tried when the residuals' one is traced back."""
SPARSE = 0.3
"""The largest correlation between evaluations that lie epochs apart: that of k epochs is the k-th power of one's, 0.2
for the largest of the grid and k = 10. A choice above it; without it twenty evaluations often look like one sweep."""
FAR, FEW, LONGEST = 4, 60, 1_000
"""It holds for this many epochs from one evaluation to the next, at most so many evaluations, and epochs up to this
one: numbers beyond are steps, whose noise may stay correlated."""

CORRELATED = 0.5
"""Above this correlation of neighbors phases are not judged: their chance rises last as long as a phase, its valley
follows them, and what is left looks like little noise. At a true 0.8 false alarms rose from 25 to 54 of 400 without
this limit; dividing the statistics by their own residuals left 40, phase by phase 34, an upper limit of the correlation
37; limits of 0.6 and 0.5 leave 34 and 25."""

MARGIN = 0.5
"""Standard errors (1 / sqrt(T)) that are added to the correlation of the residuals. A choice: at a true correlation of
0.8 the nominal 1% is 7%. Larger margins bring it to 2% and are paid in power at every correlation: of rises of 2 points
under noise of 0.5 they see 17 instead of 51% there, and 55 instead of 68% without correlation
(benchmarks/alarm_calibration.py). The verdict names a correlation above 0.6 instead."""


@jit
def noisy(f, scale, rho, noise, y):
    """y = f + scale * z with z_t = rho z_(t-1) + sqrt(1 - rho^2) noise_t, z_0 = noise_0.

    Args:
        f: (T,) the curve.
        scale: (T,) spread of the noise.
        rho: its correlation.
        noise: (T,) standard normal.
        y: (T,) takes the sum.
    """
    step, z = np.sqrt(1 - rho * rho), noise[0]
    for t in range(len(f)):
        z = noise[t] if t == 0 else rho * z + step * noise[t]
        y[t] = f[t] + scale[t] * z


@jit
def _residual_law(f, scale, rho, noise, bounds, shrink, lag):
    """What fitting does to known noise: the spread and the lag-1 correlation of the residuals, one a row."""
    b, n = noise.shape
    y, fit = np.empty(n), np.empty(n)
    for i in range(b):
        noisy(f, scale, rho, noise[i], y)
        falls_and_rises(y, bounds, fit)
        e = (y - fit) / scale
        shrink[i] = np.sqrt((e * e).mean())
        lag[i] = (e[1:] * e[:-1]).sum() / max((e * e).sum(), 1e-300)


@dataclass(frozen=True)
class Noise:
    """The noise between epochs.

    Args:
        spread: (T,) standard deviation, locally.
        rho: correlation of neighboring epochs.
    """

    spread: np.ndarray
    rho: float


def noise_of(
    y: np.ndarray,
    fit: np.ndarray,
    bounds: np.ndarray,
    segments: np.ndarray,
    generator: np.random.Generator,
    *,
    most: float = GRID[-1],
    margin: float = MARGIN,
) -> Noise:
    """Spread and correlation of the noise whose residuals, after the same fit, look like ours.

    A fit follows part of the noise, so residuals are too small and too little correlated. Both are traced back by
    simulation: known noise on the fitted curve goes through the same fit.

    Args:
        y: (T,) the curve.
        fit: (T,) its valleys.
        bounds: (K + 1,) of the stretches that have a valley of their own.
        segments: (T,) the stretch of constant learning rate that an epoch belongs to.
        generator: of the simulations.
        most: the largest correlation that is believed.
        margin: standard errors that are added to the correlation seen.

    Returns:
        The noise.
    """
    grid = GRID
    if most > GRID[-1]:
        grid = (*GRID, most)
    spread = _local_spread(y - fit, segments)
    e = (y - fit) / spread
    seen = float((e[1:] * e[:-1]).sum() / max(float((e * e).sum()), 1e-300))
    draws = generator.standard_normal((40, len(y)))
    laws: list[tuple[float, float]] = []
    shrink, lag = np.empty(len(draws)), np.empty(len(draws))
    for rho in grid:
        _residual_law(fit, spread, rho, draws, bounds, shrink, lag)
        laws.append((float(np.median(lag)), float(np.median(shrink))))
    lags = np.maximum.accumulate([law[0] for law in laws])
    rho = min(most, float(np.interp(seen + margin / np.sqrt(len(y)), lags, grid)))
    kept = float(np.interp(rho, grid, [law[1] for law in laws]))
    return Noise(np.maximum(spread * float(np.sqrt((e * e).mean())) / max(kept, 0.1), FLOOR), rho)


def _local_spread(e: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Root mean square of the residuals around each epoch, within its stretch of learning rate."""
    n, half = len(e), max(6, len(e) // 10)
    result = np.empty(n)
    for t in range(n):
        rows = np.arange(max(0, t - half), min(n, t + half + 1))
        rows = rows[segments[rows] == segments[t]]
        near = float((e[rows] ** 2).sum()) + 2 * float((e**2).mean())
        result[t] = np.sqrt(near / (len(rows) + 2))
    return np.maximum(result, FLOOR)


def most_correlated(epochs: np.ndarray) -> float:
    """The largest correlation of neighboring evaluations that is believed; see `SPARSE`.

    Args:
        epochs: (T,) that were evaluated.

    Returns:
        A correlation.
    """
    apart = float(np.median(np.diff(epochs)))
    if apart < FAR or len(epochs) > FEW or epochs[-1] > LONGEST:
        return GRID[-1]
    return max(SPARSE, GRID[-1] ** apart)
