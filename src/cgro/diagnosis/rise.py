"""Did an error rise after its lowest point, by how much and from when: the statistics, free of the lowest point's bias.

The minimum over noisy epochs is too low, so "last minus minimum" is positive for every curve, also for a flat one. Here
the curve is modelled as f(t) + e(t), f falling and then rising (a valley; a fall alone is a special case), e
autocorrelated with a spread that may change over training. The question "did it rise" is answered against curves that
only fall, with the same noise, on which the same statistic is computed with the same freedom to pick its minimum.
"""

from dataclasses import dataclass

import numba
import numpy as np

from cgro._check import count
from cgro.diagnosis.rate import sudden_drops

LAST = 5
"""Epochs whose mean is "final", as in Rice, Wong and Kolter (ICML 2020)."""
ESTABLISHED = 0.01
"""A rise whose p-value is at most this is taken as real; only then is the fitted valley believed. A choice."""
CLEAR = 10.0
"""A rise of so many spreads of the noise is read off the fitted valley; smaller ones half from it, half from the levels
measured on epochs that did not locate them, which are free of bias where the curve is flat. Tuned by simulation."""
FLOOR = 1e-6
"""Spread of the noise where the residuals are 0. Below any error's resolution."""

_jit = numba.njit(cache=True, nogil=True)


@_jit
def _falling(y, fit, sse):
    """Antitonic regression by pooling adjacent violators; fit of the whole, and sse[t] of the first t + 1 values."""
    n = y.shape[0]
    total, size = np.empty(n), np.empty(n)
    k, squares, explained = 0, 0.0, 0.0
    for t in range(n):
        squares += y[t] * y[t]
        total[k], size[k] = y[t], 1.0
        explained += y[t] * y[t]
        k += 1
        while k > 1 and total[k - 2] * size[k - 1] <= total[k - 1] * size[k - 2]:
            a, b = total[k - 2] ** 2 / size[k - 2], total[k - 1] ** 2 / size[k - 1]
            total[k - 2] += total[k - 1]
            size[k - 2] += size[k - 1]
            k -= 1
            explained += total[k - 1] ** 2 / size[k - 1] - a - b
        sse[t] = squares - explained
    t = 0
    for block in range(k):
        for _ in range(int(size[block])):
            fit[t] = total[block] / size[block]
            t += 1


@_jit
def _valley(y, fit):
    """Least squares among curves that fall and then rise; returns the position of the last fallen value."""
    n = y.shape[0]
    down, up, scratch = np.empty(n), np.empty(n), np.empty(n)
    _falling(y, scratch, down)
    _falling(y[::-1].copy(), scratch, up)
    best, split = down[n - 1], n - 1
    for t in range(n - 1):
        value = down[t] + up[n - 2 - t]
        if value < best - 1e-15:
            best, split = value, t
    _falling(y[: split + 1], fit[: split + 1], down)
    if split < n - 1:
        right = np.empty(n - 1 - split)
        _falling(y[split + 1 :][::-1].copy(), right, up)
        fit[split + 1 :] = right[::-1]
    return split


@_jit
def _honest_low(y, width):
    """The lowest level, located and measured on different epochs: the bottom of every other value's valley, then the
    mean of the `width` values between and after it that had no part in finding it. Both halves, averaged."""
    n, total = y.shape[0], 0.0
    for parity in range(2):
        half = y[parity::2].copy()
        fit = np.empty(half.shape[0])
        _valley(half, fit)
        low = parity + 2 * int(fit.argmin())
        value, used = 0.0, 0
        for t in range(low + 1, min(n, low + 2 * width), 2):
            value, used = value + y[t], used + 1
        if used == 0:
            value, used = y[low - 1], 1
        total += value / used
    return total / 2


@_jit
def _size(y, fit, last):
    """Mean of the last values minus the honest lowest level."""
    n = y.shape[0]
    return y[n - last :].mean() - _honest_low(y, 3 if n >= 40 else 2)


@_jit
def _onset(y, fit, last):
    """Position of the kink of "constant, then linear", fitted from the bottom's beginning to half of the rise."""
    n, low = y.shape[0], fit.argmin()
    rise = y[n - last :].mean() - fit[low]
    end = low + 1
    while end < n - 1 and fit[end] < fit[low] + 0.5 * rise:
        end += 1
    first = low
    while first > 0 and fit[first - 1] <= fit[low] + 0.15 * rise:
        first -= 1
    best, kink = np.inf, low
    for t in range(first, end):
        sx = sy = sxx = sxy = syy = 0.0
        for u in range(first, end + 1):
            x = u - t if u > t else 0.0
            sx, sy, sxx, sxy, syy = sx + x, sy + y[u], sxx + x * x, sxy + x * y[u], syy + y[u] * y[u]
        m = end + 1 - first
        cxx, cxy, cyy = sxx - sx * sx / m, sxy - sx * sy / m, syy - sy * sy / m
        sse = cyy - cxy * cxy / cxx if cxx > 0 and cxy > 0 else cyy
        if sse < best - 1e-15:
            best, kink = sse, t
    return kink


@_jit
def _noisy(f, scale, rho, noise, y):
    """y = f + scale * z with z_t = rho z_(t-1) + sqrt(1 - rho^2) noise_t, z_0 = noise_0."""
    step, z = np.sqrt(1 - rho * rho), noise[0]
    for t in range(len(f)):
        z = noise[t] if t == 0 else rho * z + step * noise[t]
        y[t] = f[t] + scale[t] * z


@_jit
def _worlds(f, scale, rho, noise, last, sizes, onsets):
    """Statistics of the curves f + AR(1) noise of unit spread times scale; one a row of noise."""
    b, n = noise.shape
    y, fit = np.empty(n), np.empty(n)
    for i in range(b):
        _noisy(f, scale, rho, noise[i], y)
        _valley(y, fit)
        sizes[i] = _size(y, fit, last)
        onsets[i] = _onset(y, fit, last)


@_jit
def _residual_law(f, scale, rho, noise, shrink, lag):
    """What fitting does to known noise: the spread and the lag-1 correlation of the residuals, one a row."""
    b, n = noise.shape
    y, fit = np.empty(n), np.empty(n)
    for i in range(b):
        _noisy(f, scale, rho, noise[i], y)
        _valley(y, fit)
        e = (y - fit) / scale
        shrink[i] = np.sqrt((e * e).mean())
        lag[i] = (e[1:] * e[:-1]).sum() / max((e * e).sum(), 1e-300)


def valley(y: np.ndarray) -> np.ndarray:
    """The least-squares curve that falls and then rises (unimodal regression by pooling; no bandwidth to choose).

    Args:
        y: (T,) without NaN.

    Returns:
        (T,) the fit.

    Example:
        >>> valley(np.array([5.0, 3.0, 4.0, 1.0, 2.0, 2.5])).tolist()
        [5.0, 3.5, 3.5, 1.0, 2.0, 2.5]
    """
    fit = np.empty(len(y))
    _valley(np.ascontiguousarray(y, float), fit)
    return fit


@dataclass(frozen=True)
class Noise:
    """The noise between epochs.

    Args:
        spread: (T,) standard deviation, locally.
        rho: correlation of neighboring epochs.
    """

    spread: np.ndarray
    rho: float


@dataclass(frozen=True)
class Rise:
    """How far an error rose after its lowest point.

    Args:
        size: final (mean of the last five) minus lowest, free of the bias of the minimum.
        interval: 95%, conservative.
        naive: final minus the lowest single value, as published tables have it.
        bias: what noise alone adds to it.
        p_value: share of curves that only fall, with this noise, whose rise looks as large.
        onset: epoch after which it rises.
        onset_interval: 95%.
        final: mean of the last five.
        lowest: final minus size.
        noise: typical standard deviation between epochs.
        rho: their correlation.
        epochs: (T,) the epochs.
        fit: (T,) the valley.
        visible: rises below this are missed more often than not, with this noise and these evaluations.
    """

    size: float
    interval: tuple[float, float]
    naive: float
    bias: float
    p_value: float
    onset: float
    onset_interval: tuple[float, float]
    final: float
    lowest: float
    noise: float
    rho: float
    epochs: np.ndarray
    fit: np.ndarray
    visible: float = 0.0


_GRID = (0.0, 0.3, 0.6, 0.85)
"""Correlations that are tried when the residuals' one is traced back."""
SPARSE = 0.3
"""The largest correlation between evaluations that lie epochs apart: that of k epochs is the k-th power of one's, 0.2
for the largest of the grid and k = 10. A choice above it; without it twenty evaluations often look like one sweep."""
SEEN, SEEN_SPARSE = 1.3, 2.0
"""A rise is established in half of the trainings where it is this many times the least statistic that is; the second
where evaluations lie `FAR` epochs apart and the lowest epoch between them. Measured: 200 epochs, every one, every fifth
and every tenth evaluated, noise of 0.4 and 0.8 points, rises of 1 to 5 points, 60 trainings each."""
FAR, FEW, LONGEST = 4, 60, 1_000
"""It holds for this many epochs from one evaluation to the next, at most so many evaluations, and epochs up to this
one: numbers beyond are steps, whose noise may stay correlated."""


def noise_of(
    y: np.ndarray,
    fit: np.ndarray,
    segments: np.ndarray,
    generator: np.random.Generator,
    *,
    most: float = _GRID[-1],
) -> Noise:
    """Spread and correlation of the noise whose residuals, after the same fit, look like ours.

    A fit follows part of the noise, so residuals are too small and too little correlated. Both are traced back by
    simulation: known noise on the fitted curve goes through the same fit.

    Args:
        y: (T,) the curve.
        fit: (T,) its valley.
        segments: (T,) the stretch of constant learning rate that an epoch belongs to.
        generator: of the simulations.
        most: the largest correlation that is believed.

    Returns:
        The noise.
    """
    spread = _local_spread(y - fit, segments)
    e = (y - fit) / spread
    seen = float((e[1:] * e[:-1]).sum() / max(float((e * e).sum()), 1e-300))
    draws = generator.standard_normal((40, len(y)))
    laws: list[tuple[float, float]] = []
    shrink, lag = np.empty(len(draws)), np.empty(len(draws))
    for rho in _GRID:
        _residual_law(fit, spread, rho, draws, shrink, lag)
        laws.append((float(np.median(lag)), float(np.median(shrink))))
    lags = np.maximum.accumulate([law[0] for law in laws])
    rho = min(most, float(np.interp(seen + 0.5 / np.sqrt(len(y)), lags, _GRID)))
    kept = float(np.interp(rho, _GRID, [law[1] for law in laws]))
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


def rise_of(
    epochs: np.ndarray,
    y: np.ndarray,
    generator: np.random.Generator,
    *,
    lr: np.ndarray | None = None,
    n_boot: int = 999,
) -> Rise:
    """Estimate the rise of an error after its lowest point, with an interval and a test.

    Statistic: mean of the last five minus the lowest level, located on every other epoch and measured on those between.
    Test: the same statistic on simulated curves that only fall (the best such fit to the data plus AR(1) noise like
    theirs). Interval: two estimates are corrected by simulation, one as if the curve were flat around its bottom, one
    as if the fitted valley were the truth; it covers the errors of both, so it is on the wide side. Size: the first
    one, or between the two once the rise is established. All of this is the noise between epochs of THIS training;
    another seed varies besides.

    Args:
        epochs: (T,), T >= 6.
        y: (T,) the error, without NaN.
        generator: of the simulations.
        lr: (T,) where known: noise may change at drops.
        n_boot: simulated curves, for interval and test each.

    Returns:
        The estimate.

    Raises:
        BadRequest: fewer than 6 values.

    Example:
        >>> t = np.arange(60.0)
        >>> y = np.where(t < 30, 0.50, 0.47 + 0.002 * (t - 30))
        >>> rise = rise_of(t, y, np.random.default_rng(0), n_boot=99)
        >>> rise.onset, round(rise.size, 3), rise.p_value
        (30.0, 0.052, 0.01)
    """
    count(len(y), "epochs with a value", low=LAST + 1)
    y = np.ascontiguousarray(y, float)
    fit = valley(y)
    fallen = np.empty(len(y))
    _falling(y, fallen, np.empty(len(y)))
    segments = np.zeros(len(y), int)
    if lr is not None:
        segments = np.cumsum(sudden_drops(lr))
    noise = noise_of(y, fit, segments, generator, most=_most_correlated(epochs))
    null = _simulated(fallen, noise, generator, n_boot)[0]
    sizes, onsets = _simulated(fit, noise, generator, n_boot)
    size = _size(y, fit, LAST)
    p_value = float((1 + (null >= size).sum()) / (1 + n_boot))
    honest = size - float(null.mean()) + _truth(fallen)
    followed = size - float(sizes.mean()) + _truth(fit)
    low, high = np.quantile(sizes - sizes.mean(), (0.025, 0.975))
    typical = float(np.median(noise.spread))
    believed = 0.0
    if p_value <= ESTABLISHED:
        believed = np.clip(followed / (CLEAR * typical), 0.5, 1.0)
    best = honest + float(believed) * (followed - honest)
    # A bottom that lasts one epoch cannot be told from its noise: above, the interval allows for one.
    bottom = float(min(honest, followed) - high)
    top = float(max(honest, followed) - low) + typical
    if p_value > 0.05:
        bottom = min(0.0, bottom)  # so that the interval agrees with the test
    least = max(float(np.quantile(null, 1 - ESTABLISHED) - null.mean()) + _truth(fallen), float(high))
    apart = float(np.median(np.diff(epochs)))
    around = np.quantile(epochs[onsets], (0.025, 0.975), method="nearest")
    final = float(y[-LAST:].mean())
    naive = final - float(y.min())
    return Rise(
        size=float(best),
        interval=(bottom, top),
        naive=naive,
        bias=naive - float(best),
        p_value=p_value,
        onset=float(epochs[_onset(y, fit, LAST)]),
        onset_interval=(float(around[0]), float(around[1])),
        final=final,
        lowest=final - float(best),
        noise=typical,
        rho=noise.rho,
        epochs=epochs,
        fit=fit,
        visible=least * (SEEN_SPARSE if apart >= FAR else SEEN),
    )


def _most_correlated(epochs: np.ndarray) -> float:
    """The largest correlation of neighboring evaluations that is believed; see `SPARSE`."""
    apart = float(np.median(np.diff(epochs)))
    if apart < FAR or len(epochs) > FEW or epochs[-1] > LONGEST:
        return _GRID[-1]
    return max(SPARSE, _GRID[-1] ** apart)


def _truth(f: np.ndarray) -> float:
    """The rise of a curve without noise; its lowest level is that of its three lowest epochs."""
    return float(f[-LAST:].mean() - np.sort(f)[:3].mean())


def _simulated(f: np.ndarray, noise: Noise, generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    sizes, onsets = np.empty(n), np.empty(n, np.int64)
    _worlds(f, noise.spread, noise.rho, generator.standard_normal((n, len(f))), LAST, sizes, onsets)
    return sizes, onsets
