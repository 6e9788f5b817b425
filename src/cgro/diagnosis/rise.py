"""Did an error rise after its lowest point, by how much and from when: the statistics, free of the lowest point's bias.

The minimum over noisy epochs is too low, so "last minus minimum" is positive for every curve, also for a flat one. Here
the curve is modelled as f(t) + e(t), f falling and then rising (a valley; a fall alone is a special case), e
autocorrelated with a spread that may change over training. The question "did it rise" is answered against curves that
only fall, with the same noise, on which the same statistic is computed with the same freedom to pick its minimum.

A drop of the learning rate takes part of a rise back, and what follows may rise again: one valley cannot follow that.
Where drops are known each stretch between them, a phase, has a valley of its own, and the question is asked of every
phase beside the whole. All are answered together, so that there are no more false alarms than with one question.
"""

from dataclasses import dataclass

import numpy as np

from cgro._check import count
from cgro.diagnosis.noise import CORRELATED, FAR, FLOOR, Noise, most_correlated, noise_of, noisy
from cgro.diagnosis.rate import sudden_drops
from cgro.diagnosis.valley import fall_and_rise, fallen, jit, onset_of, size_of, valley, valleys

LAST = 5
"""Epochs whose mean is "final", as in Rice, Wong and Kolter (ICML 2020)."""
ESTABLISHED = 0.01
"""A rise whose p-value is at most this is taken as real; only then is the fitted valley believed. A choice."""
CLEAR = 10.0
"""A rise of so many spreads of the noise is read off the fitted valley; smaller ones half from it, half from the levels
measured on epochs that did not locate them, which are free of bias where the curve is flat. Tuned by simulation."""
SEEN, SEEN_SPARSE = 1.3, 2.0
"""A rise is established in half of the trainings where it is this many times the least statistic that is; the second
where evaluations lie `FAR` epochs apart and the lowest epoch between them. Measured: 200 epochs, every one, every fifth
and every tenth evaluated, noise of 0.4 and 0.8 points, rises of 1 to 5 points, 60 trainings each."""
SHORT = 2 * LAST
"""A phase of fewer evaluations is judged together with the next one. A choice: its end and its low must not overlap."""


@jit
def _worlds(f, scale, rho, noise, last, sizes, onsets):
    """Statistics of the curves f + AR(1) noise of unit spread times scale; one a row of noise."""
    b, n = noise.shape
    y, fit = np.empty(n), np.empty(n)
    for i in range(b):
        noisy(f, scale, rho, noise[i], y)
        fall_and_rise(y, fit)
        sizes[i] = size_of(y, last)
        onsets[i] = onset_of(y, fit, last)


@jit
def _null(f, scale, rho, noise, bounds, last, sizes):
    """The statistic of the whole and of each phase on the curves f + noise: (B, 1 + K)."""
    y = np.empty(noise.shape[1])
    for i in range(noise.shape[0]):
        noisy(f, scale, rho, noise[i], y)
        sizes[i, 0] = size_of(y, last)
        for k in range(sizes.shape[1] - 1):
            sizes[i, 1 + k] = size_of(y[bounds[k] : bounds[k + 1]], last)


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


@dataclass(frozen=True)
class PhaseRise:
    """The rise within one stretch of learning rate.

    Args:
        rise: of that stretch alone; its `p_value` counts the questions asked of all phases and of the whole.
        drop: epoch of the learning-rate drop that ends it; None for the last one.
        after: the mean of the first five values behind that drop; None for the last phase.
    """

    rise: Rise
    drop: float | None
    after: float | None


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
        lr: (T,) where known: noise may change at drops, and phases are judged too; see `rises_of`.
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
    return rises_of(epochs, y, generator, lr=lr, n_boot=n_boot)[0]


def rises_of(
    epochs: np.ndarray,
    y: np.ndarray,
    generator: np.random.Generator,
    *,
    lr: np.ndarray | None = None,
    n_boot: int = 999,
) -> tuple[Rise, tuple[PhaseRise, ...]]:
    """The rise of the whole curve, and those within the phases between sudden drops of the learning rate.

    Each phase has a valley of its own, from whose residuals the noise is estimated. S_0 is the statistic of the whole,
    S_k that of phase k, m_k and s_k their mean and standard deviation on simulated curves that only fall,
    Z_k = (S_k - m_k) / s_k. With primes for such a curve and G_0(z) = P(Z_0' >= z), G_1(z) = P(max_k Z_k' >= z),

        p_0 = P(min(G_0(Z_0'), G_1(max_k Z_k')) <= G_0(Z_0)),    p_k the same with G_1(Z_k) on the right:

    the smallest p-value of two questions, "did the whole rise" and "did any phase" (Westfall and Young, 1993), so the
    chance that ANY of them is taken for a rise is that of one question. Of the maximum over all, which gives the whole
    a fourth of it where there are three phases, the usual rise of one point was seen in 47 trainings of 200, of this in
    67, without phases in 85.

    Where neighbors are correlated by more than `CORRELATED`, and without drops or with fewer than `SHORT` evaluations
    on one side of them, there is the whole alone, with one valley.

    Args:
        epochs: (T,), T >= 6.
        y: (T,) the error, without NaN.
        generator: of the simulations.
        lr: (T,) where known.
        n_boot: simulated curves, for interval and test each.

    Returns:
        The rise of the whole, and one entry per phase; none where there is one phase.

    Raises:
        BadRequest: fewer than 6 values.
    """
    count(len(y), "epochs with a value", low=LAST + 1)
    y = np.ascontiguousarray(y, float)
    segments = np.zeros(len(y), int)
    if lr is not None:
        segments = np.cumsum(sudden_drops(lr))
    most = most_correlated(epochs)
    bounds = phases_of(segments)
    noise = noise_of(y, valleys(y, bounds), bounds, segments, generator, most=most)
    if len(bounds) > 2 and noise.rho > CORRELATED:
        bounds = np.array([0, len(y)])
        noise = noise_of(y, valley(y), bounds, segments, generator, most=most)
    flat = fallen(y)
    asked = _asked(y, flat, noise, bounds, generator.standard_normal((n_boot, len(y))))
    whole = _estimate(epochs, y, flat, noise, asked[0], generator, n_boot)
    phases: list[PhaseRise] = []
    for k, one in enumerate(asked[1:]):
        part, behind = slice(bounds[k], bounds[k + 1]), slice(bounds[k + 1], bounds[k + 1] + LAST)
        of_part = Noise(noise.spread[part], noise.rho)
        rise = _estimate(epochs[part], y[part], flat[part], of_part, one, generator, n_boot)
        if k + 2 == len(bounds):
            phases.append(PhaseRise(rise, None, None))
        else:
            phases.append(PhaseRise(rise, float(epochs[bounds[k + 1]]), float(y[behind].mean())))
    return whole, tuple(phases)


def phases_of(segments: np.ndarray) -> np.ndarray:
    """The first position of each phase, and T: stretches of learning rate, short ones joined with the next.

    Args:
        segments: (T,) increasing numbers of the stretches.

    Returns:
        (K + 1,) integers.

    Example:
        >>> phases_of(np.repeat([0, 1, 2, 3], [20, 3, 20, 4])).tolist()
        [0, 20, 47]
    """
    starts = [0]
    for t in np.nonzero(np.diff(segments))[0] + 1:
        if t - starts[-1] < SHORT:
            continue
        if len(segments) - t < SHORT:
            break
        starts.append(int(t))
    return np.array([*starts, len(segments)])


@dataclass(frozen=True)
class _Asked:
    """A statistic beside its values on curves that only fall.

    Args:
        size: the statistic.
        mean: of it on those curves.
        least: what it must exceed, less the mean, to be established.
        p_value: among all that were asked.
    """

    size: float
    mean: float
    least: float
    p_value: float


def _asked(y: np.ndarray, flat: np.ndarray, noise: Noise, bounds: np.ndarray, draws: np.ndarray) -> list[_Asked]:
    """Of the whole and, where there are several phases, of each."""
    n_phases = len(bounds) - 1
    if n_phases == 1:
        n_phases = 0
    null = np.empty((len(draws), 1 + n_phases))
    _null(flat, noise.spread, noise.rho, draws, bounds, LAST, null)
    found = [float(size_of(y, LAST))]
    found += [float(size_of(y[bounds[k] : bounds[k + 1]], LAST)) for k in range(n_phases)]
    mean = null.mean(0)
    if n_phases == 0:
        p_value = float((1 + (null >= found[0]).sum()) / (1 + len(draws)))
        return [_Asked(found[0], float(mean[0]), float(np.quantile(null, 1 - ESTABLISHED) - mean[0]), p_value)]
    spread = np.maximum(null.std(0), FLOOR)
    scores = (null - mean) / spread
    asked = np.stack([scores[:, 0], scores[:, 1:].max(1)])
    n_above = len(draws) - np.searchsorted(np.sort(asked[0]), asked[0])
    n_above = np.minimum(n_above, len(draws) - np.searchsorted(np.sort(asked[1]), asked[1]))
    results: list[_Asked] = []
    for k, size in enumerate(found):
        of_null = asked[min(k, 1)]
        n_as_large = (of_null >= (size - mean[k]) / spread[k]).sum()
        p_value = float((1 + (n_above <= n_as_large).sum()) / (1 + len(draws)))
        least = float(np.quantile(of_null, 1 - ESTABLISHED / 2) * spread[k])
        results.append(_Asked(size, float(mean[k]), least, p_value))
    return results


def _estimate(
    epochs: np.ndarray,
    y: np.ndarray,
    flat: np.ndarray,
    noise: Noise,
    asked: _Asked,
    generator: np.random.Generator,
    n_boot: int,
) -> Rise:
    """Size, interval and onset of a rise whose question was answered."""
    fit = valley(y)
    sizes, onsets = np.empty(n_boot), np.empty(n_boot, np.int64)
    draws = generator.standard_normal((n_boot, len(y)))
    _worlds(fit, noise.spread, noise.rho, draws, LAST, sizes, onsets)
    honest = asked.size - asked.mean + _truth(flat)
    followed = asked.size - float(sizes.mean()) + _truth(fit)
    low, high = np.quantile(sizes - sizes.mean(), (0.025, 0.975))
    typical = float(np.median(noise.spread))
    believed = 0.0
    if asked.p_value <= ESTABLISHED:
        believed = np.clip(followed / (CLEAR * typical), 0.5, 1.0)
    best = honest + float(believed) * (followed - honest)
    # A bottom that lasts one epoch cannot be told from its noise: above, the interval allows for one.
    bottom = float(min(honest, followed) - high)
    top = float(max(honest, followed) - low) + typical
    if asked.p_value > 0.05:
        bottom = min(0.0, bottom)  # so that the interval agrees with the test
    least = max(asked.least + _truth(flat), float(high))
    apart = float(np.median(np.diff(epochs)))
    around = np.quantile(epochs[onsets], (0.025, 0.975), method="nearest")
    final = float(y[-LAST:].mean())
    naive = final - float(y.min())
    return Rise(
        size=float(best),
        interval=(bottom, top),
        naive=naive,
        bias=naive - float(best),
        p_value=asked.p_value,
        onset=float(epochs[onset_of(y, fit, LAST)]),
        onset_interval=(float(around[0]), float(around[1])),
        final=final,
        lowest=final - float(best),
        noise=typical,
        rho=noise.rho,
        epochs=epochs,
        fit=fit,
        visible=least * (SEEN_SPARSE if apart >= FAR else SEEN),
    )


def _truth(f: np.ndarray) -> float:
    """The rise of a curve without noise; its lowest level is that of its three lowest epochs."""
    return float(f[-LAST:].mean() - np.sort(f)[:3].mean())
