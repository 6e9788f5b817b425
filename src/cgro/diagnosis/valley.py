"""Curves that fall and then rise, fitted by least squares; where they are lowest, and from where they rise.

No bandwidth is chosen: the fit pools adjacent violators (unimodal regression).
"""

import numba
import numpy as np

jit = numba.njit(cache=True, nogil=True)


@jit
def falling(y, fit, sse):
    """Antitonic regression by pooling adjacent violators.

    Args:
        y: (T,) values.
        fit: (T,) takes the fit of the whole.
        sse: (T,) takes the squared error of the fit of the first t + 1 values.
    """
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


@jit
def fall_and_rise(y, fit):
    """Least squares among curves that fall and then rise.

    Args:
        y: (T,) values.
        fit: (T,) takes the fit.

    Returns:
        Position of the last fallen value.
    """
    n = y.shape[0]
    down, up, scratch = np.empty(n), np.empty(n), np.empty(n)
    falling(y, scratch, down)
    falling(y[::-1].copy(), scratch, up)
    best, split = down[n - 1], n - 1
    for t in range(n - 1):
        value = down[t] + up[n - 2 - t]
        if value < best - 1e-15:
            best, split = value, t
    falling(y[: split + 1], fit[: split + 1], down)
    if split < n - 1:
        right = np.empty(n - 1 - split)
        falling(y[split + 1 :][::-1].copy(), right, up)
        fit[split + 1 :] = right[::-1]
    return split


@jit
def falls_and_rises(y, bounds, fit):
    """A valley of its own from each of the bounds to the next.

    Args:
        y: (T,) values.
        bounds: (K + 1,) from 0 to T.
        fit: (T,) takes the fits.
    """
    for k in range(bounds.shape[0] - 1):
        fall_and_rise(y[bounds[k] : bounds[k + 1]], fit[bounds[k] : bounds[k + 1]])


@jit
def honest_low(y, width):
    """The lowest level, located and measured on different epochs.

    The bottom of every other value's valley, then the mean of the values between and after it that had no part in
    finding it. Both halves, averaged.

    Args:
        y: (T,) values.
        width: how many values are averaged.

    Returns:
        The level.
    """
    n, total = y.shape[0], 0.0
    for parity in range(2):
        half = y[parity::2].copy()
        fit = np.empty(half.shape[0])
        fall_and_rise(half, fit)
        low = parity + 2 * int(fit.argmin())
        value, used = 0.0, 0
        for t in range(low + 1, min(n, low + 2 * width), 2):
            value, used = value + y[t], used + 1
        if used == 0:
            value, used = y[low - 1], 1
        total += value / used
    return total / 2


@jit
def size_of(y, last):
    """Mean of the last values minus the honest lowest level.

    Args:
        y: (T,) values.
        last: how many are the end.

    Returns:
        The rise.
    """
    n = y.shape[0]
    return y[n - last :].mean() - honest_low(y, 3 if n >= 40 else 2)


@jit
def onset_of(y, fit, last):
    """The kink of "constant, then linear", fitted from the bottom's beginning to half of the rise.

    Args:
        y: (T,) values.
        fit: (T,) their valley.
        last: how many are the end.

    Returns:
        Its position.
    """
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
    fall_and_rise(np.ascontiguousarray(y, float), fit)
    return fit


def valleys(y: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """A valley of its own in each stretch; see `valley`.

    Args:
        y: (T,) without NaN.
        bounds: (K + 1,) integers, the first position of each stretch and T.

    Returns:
        (T,) the fits.

    Example:
        >>> valleys(np.array([5.0, 3.0, 4.0, 1.0, 2.0, 2.5]), np.array([0, 3, 6])).tolist()
        [5.0, 3.0, 4.0, 1.0, 2.0, 2.5]
    """
    fit = np.empty(len(y))
    falls_and_rises(np.ascontiguousarray(y, float), bounds, fit)
    return fit


def fallen(y: np.ndarray) -> np.ndarray:
    """The least-squares curve that only falls.

    Args:
        y: (T,) without NaN.

    Returns:
        (T,) the fit.

    Example:
        >>> fallen(np.array([5.0, 3.0, 4.0, 1.0, 2.0])).tolist()
        [5.0, 3.5, 3.5, 1.5, 1.5]
    """
    fit = np.empty(len(y))
    falling(np.ascontiguousarray(y, float), fit, np.empty(len(y)))
    return fit
