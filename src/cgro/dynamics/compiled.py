"""The step of `rule` in compiled loops around one or two matrix products. scipy is there for numba's matrix product.

The functions hold no interpreter lock, so seeds can run in threads. Arrays are changed in place. The letters are those
of `rule`: u signal components, z noise activations, p the slope, x the strength of the attacked signal.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from cgro.dynamics.rule import Array, Rule

# reassoc lets sums run in vector registers; NaN and infinities keep their meaning, so divergence is still seen.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})


class Examples(NamedTuple):
    """The training examples of one seed.

    Args:
        y: (N,) labels -1 and +1.
        group: (N,) which signal direction each carries.
    """

    y: Array
    group: Array


class NoiseLaw(NamedTuple):
    """What coefficient space needs of the noise patches.

    Args:
        start: (n, m) Z_0, their activations before the first step.
        gram: (n, n) G = Xi Xi^T.
    """

    start: Array
    gram: Array


class NoisePatches(NamedTuple):
    """The noise patches as vectors.

    Args:
        rows: (n, d) Xi.
        columns: (d, n) Xi^T, stored so that both matrix products read along rows.
    """

    rows: Array
    columns: Array


@_jit
def _slope(z, power, odd, sign):
    """p(z) of `Rule.slope`, for one number; the powers of common q as products."""
    size = z
    if odd:
        size = abs(z)
    elif not z > 0.0:
        size = 0.0
    if power == 2.0:
        p = size
    elif power == 3.0:
        p = size * size
    elif power == 4.0:
        p = size * size * size
    else:
        p = size ** (power - 1.0)
    if odd:
        return p
    return sign * p


@_jit
def _noise_of_row(z, power, odd, signs):
    """sum_r phi(z_r) of one patch; z (m,) becomes p(z). One branch per row: each loop runs in vector registers."""
    total = 0.0
    if odd and power == 3.0:
        for r in range(z.shape[0]):
            p = z[r] * z[r]
            total += z[r] * p
            z[r] = p
    elif odd and power == 2.0:
        for r in range(z.shape[0]):
            p = abs(z[r])
            total += z[r] * p
            z[r] = p
    elif odd and power == 4.0:
        for r in range(z.shape[0]):
            p = abs(z[r]) * z[r] * z[r]
            total += z[r] * p
            z[r] = p
    else:
        for r in range(z.shape[0]):
            p = _slope(z[r], power, odd, signs[r])
            total += z[r] * p
            z[r] = p
    return total


@_jit
def _signal_margin(x, same, other, power):
    """y f of the signal patch at strength x; same and other are U of the example's class and of the other one."""
    if x >= 0.0:
        return x**power * same
    return -((-x) ** power) * other


@_jit
def _sigmoid_neg(margin):
    """sigmoid(-margin), from the exponential that does not overflow."""
    if margin >= 0.0:
        e = math.exp(-margin)
        return e / (1.0 + e)
    return 1.0 / (1.0 + math.exp(margin))


@_jit
def _worst_strength(same, other, rule):
    """`Rule.worst_strength` of one class: an end point of |x - alpha| <= delta, or 0 when inside."""
    low = rule.strength - rule.radius
    high = rule.strength + rule.radius
    if rule.transfer:
        return low
    x = low
    best = _signal_margin(low, same, other, rule.power)
    margin = _signal_margin(high, same, other, rule.power)
    if margin < best:
        x = high
        best = margin
    if low < 0.0 < high and best > 0.0:
        x = 0.0
    return x


@_jit
def _signal_by_class(u, rule, x_at, clean_at, robust_at):
    """Fill (K, 2) arrays per signal direction and class: the attacked strength, the clean and the robust margin."""
    for k in range(u.shape[0]):
        plus = 0.0
        minus = 0.0
        for r in range(u.shape[1]):
            plus += u[k, r] * _slope(u[k, r], rule.power, rule.odd, rule.signs[r])
            minus += u[k, r] * _slope(-u[k, r], rule.power, rule.odd, rule.signs[r])
        for c in range(2):
            same = plus
            other = minus
            if c == 1:
                same = minus
                other = plus
            x = _worst_strength(same, other, rule)
            x_at[k, c] = x
            clean_at[k, c] = rule.strength**rule.power * same
            robust_at[k, c] = _signal_margin(x, same, other, rule.power)


@_jit
def _move_signal(u, pull, x_at, rule):
    """u_r += q sum_c [ pull_clean alpha^q p(c u_r) + pull_robust p at the attacked strength ]."""
    power = rule.power
    for k in range(u.shape[0]):
        for r in range(u.shape[1]):
            value = u[k, r]
            change = 0.0
            for c in range(2):
                sign = 1.0 - 2.0 * c
                same = _slope(sign * value, power, rule.odd, rule.signs[r])
                x = x_at[k, c]
                if x >= 0.0:
                    moved = x**power * same
                else:
                    moved = -((-x) ** power) * _slope(-sign * value, power, rule.odd, rule.signs[r])
                change += pull[k, c, 0] * rule.strength**power * same + pull[k, c, 1] * moved
            u[k, r] = value + power * change


@_jit
def step_in_place(u: Array, z: Array, examples: Examples, weights: Array, rule: Rule) -> None:
    """Move u by one step and overwrite the activations by the coefficients of the noise patches; see `Rule.steps`.

    Args:
        u: (K, m) signal components of one seed.
        z: (n, m) noise activations.
        examples: labels and signal directions.
        weights: (N,) of the examples in this step.
        rule: the constants.
    """
    n_signals = u.shape[0]
    m = u.shape[1]
    n_train = examples.y.shape[0]
    per = z.shape[0] // n_train
    x_at = np.empty((n_signals, 2))
    clean_at = np.empty((n_signals, 2))
    robust_at = np.empty((n_signals, 2))
    _signal_by_class(u, rule, x_at, clean_at, robust_at)
    # Summed over the examples of a direction and class: how hard the clean and the robust part of the loss pull on u.
    pull = np.zeros((n_signals, 2, 2))
    for i in range(n_train):
        y = examples.y[i]
        noise = 0.0
        for j in range(i * per, (i + 1) * per):
            noise += _noise_of_row(z[j], rule.power, rule.odd, rule.signs)
        noise *= y
        k = examples.group[i]
        c = 0
        if y <= 0:
            c = 1
        scale = rule.lr * weights[i] / n_train
        a = scale * (1.0 - rule.robust_weight) * _sigmoid_neg(clean_at[k, c] + noise)
        b = scale * rule.robust_weight * _sigmoid_neg(robust_at[k, c] + noise)
        pull[k, c, 0] += a
        pull[k, c, 1] += b
        factor = rule.power * y * (a + b)
        # z holds p(z) by now, and phi' = q p: what is left is the coefficient of the noise patch.
        for j in range(i * per, (i + 1) * per):
            for r in range(m):
                z[j, r] *= factor
    _move_signal(u, pull, x_at, rule)


@_jit
def gram_steps(
    n_steps: int, u: Array, coefficients: Array, noise: NoiseLaw, examples: Examples, weights: Array, rule: Rule
) -> None:
    """n steps in coefficient space: Z = Z_0 + G C.

    Args:
        n_steps: how many.
        u: (K, m) signal components, changed.
        coefficients: (n, m) C, changed.
        noise: Z_0 and G.
        examples: labels and signal directions.
        weights: (n_steps, N) of the examples, or (1, N) for the same in every step.
        rule: the constants.
    """
    z = np.empty_like(noise.start)
    for t in range(n_steps):
        np.dot(noise.gram, coefficients, z)
        z += noise.start
        step_in_place(u, z, examples, weights[min(t, weights.shape[0] - 1)], rule)
        coefficients += z


@_jit
def direct_steps(
    n_steps: int, u: Array, filters: Array, noise: NoisePatches, examples: Examples, weights: Array, rule: Rule
) -> None:
    """n steps on the filters themselves: Z = Xi W.

    Args:
        n_steps: how many.
        u: (K, m) signal components, changed.
        filters: (d, m) W without its signal components, changed.
        noise: the patches.
        examples: labels and signal directions.
        weights: (n_steps, N) of the examples, or (1, N) for the same in every step.
        rule: the constants.
    """
    z = np.empty((noise.rows.shape[0], filters.shape[1]))
    change = np.empty_like(filters)
    for t in range(n_steps):
        np.dot(noise.rows, filters, z)
        step_in_place(u, z, examples, weights[min(t, weights.shape[0] - 1)], rule)
        np.dot(noise.columns, z, change)
        filters += change
