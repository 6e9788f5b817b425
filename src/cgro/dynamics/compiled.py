"""The step of `rule` in compiled loops around a matrix product. scipy is there for numba's matrix product.

The functions hold no interpreter lock, so seeds can run in threads. Arrays are changed in place. The letters are those
of `rule`: u signal components, z noise activations, p the slope, x the strength of the attacked signal.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from cgro.dynamics.rule import Array, Rule

# reassoc lets sums run in vector registers; NaN and infinities keep their meaning, so divergence is still seen.
jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})


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


@jit
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


@jit
def noise_of_row(z, power, odd, signs):
    """Sum phi(z_r) over the filters of one patch. One branch per row: each loop runs in vector registers.

    Args:
        z: (m,) activations, overwritten by p(z).
        power: q.
        odd: whether phi is odd.
        signs: (m,) the second layer.

    Returns:
        sum_r phi(z_r).
    """
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


@jit
def _signal_margin(x, same, other, power):
    """y f of the signal patch at strength x; same and other are U of the example's class and of the other one."""
    if x >= 0.0:
        return x**power * same
    return -((-x) ** power) * other


@jit
def sigmoid_neg(margin):
    """Compute sigmoid(-margin) from the exponential that does not overflow.

    Args:
        margin: any number.

    Returns:
        A share.

    Example:
        >>> sigmoid_neg(0.0), sigmoid_neg(-1e4), sigmoid_neg(1e4)
        (0.5, 1.0, 0.0)
    """
    if margin >= 0.0:
        e = math.exp(-margin)
        return e / (1.0 + e)
    return 1.0 / (1.0 + math.exp(margin))


@jit
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


@jit
def signal_by_class(u, rule, x_at, clean_at, robust_at):
    """Find what the signal gives, per signal direction and class.

    Args:
        u: (K, m) signal components.
        rule: the constants.
        x_at: (K, 2), filled with the attacked strength.
        clean_at: (K, 2), filled with the clean margin of the signal.
        robust_at: (K, 2), filled with its margin at that strength.
    """
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


@jit
def move_signal(u, pull, x_at, rule):
    """Move the signal: u_r += q sum_c [ pull_clean alpha^q p(c u_r) + pull_robust p at the attacked strength ].

    Args:
        u: (K, m) signal components, changed.
        pull: (K, 2, 2) per direction and class, summed over examples: of the clean and of the robust part of the loss.
        x_at: (K, 2) the attacked strength.
        rule: the constants.
    """
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


@jit
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
    signal_by_class(u, rule, x_at, clean_at, robust_at)
    # Summed over the examples of a direction and class: how hard the clean and the robust part of the loss pull on u.
    pull = np.zeros((n_signals, 2, 2))
    for i in range(n_train):
        y = examples.y[i]
        noise = 0.0
        for j in range(i * per, (i + 1) * per):
            noise += noise_of_row(z[j], rule.power, rule.odd, rule.signs)
        noise *= y
        k = examples.group[i]
        c = 0
        if y <= 0:
            c = 1
        scale = rule.lr * weights[i] / n_train
        a = scale * (1.0 - rule.robust_weight) * sigmoid_neg(clean_at[k, c] + noise)
        b = scale * rule.robust_weight * sigmoid_neg(robust_at[k, c] + noise)
        pull[k, c, 0] += a
        pull[k, c, 1] += b
        factor = rule.power * y * (a + b)
        # z holds p(z) by now, and phi' = q p: what is left is the coefficient of the noise patch.
        for j in range(i * per, (i + 1) * per):
            for r in range(m):
                z[j, r] *= factor
    move_signal(u, pull, x_at, rule)


@jit
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
