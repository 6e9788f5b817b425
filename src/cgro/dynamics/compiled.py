"""The step of `rule` in compiled loops around one or two matrix products. scipy is there for numba's matrix product.

The functions hold no interpreter lock, so seeds can run in threads. Arrays are changed in place.
"""

import math

import numba
import numpy as np

# reassoc lets sums run in vector registers; NaN and infinities keep their meaning, so divergence is still seen.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})


@_jit
def _slope(z, power, odd, sign):  # p(z) of rule.Rule
    size = abs(z) if odd else z if z > 0.0 else 0.0
    if power == 2.0:
        p = size
    elif power == 3.0:
        p = size * size
    elif power == 4.0:
        p = size * size * size
    else:
        p = size ** (power - 1.0)
    return p if odd else sign * p


@_jit
def _noise_of_row(z, power, odd, signs):
    """sum_r phi(z_r) of one patch; z (m,) becomes p(z). One branch a row: each loop then runs in vector registers."""
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
def _signal_margin(x, mine, other, power):
    return x**power * mine if x >= 0.0 else -((-x) ** power) * other


@_jit
def _sigmoid_neg(margin):  # sigmoid(-margin)
    if margin >= 0.0:
        e = math.exp(-margin)
        return e / (1.0 + e)
    return 1.0 / (1.0 + math.exp(margin))


@_jit
def _worst(mine, other, low, high, power, transfer):
    if transfer:
        return low
    x, best = low, _signal_margin(low, mine, other, power)
    margin = _signal_margin(high, mine, other, power)
    if margin < best:
        x, best = high, margin
    if low < 0.0 < high and best > 0.0:
        x = 0.0
    return x


@_jit
def step_in_place(u, z, y, group, weights, power, strength, radius, robust_weight, lr, odd, signs, transfer):
    """Move u by one step and overwrite the activations z (n, m) by the coefficients of the noise patches."""
    n_signals, m = u.shape
    n_train = y.shape[0]
    per = z.shape[0] // n_train
    clean_at = np.empty((n_signals, 2))
    robust_at = np.empty((n_signals, 2))
    x_at = np.empty((n_signals, 2))
    pull = np.zeros((n_signals, 2, 2))
    for k in range(n_signals):
        plus = minus = 0.0
        for r in range(m):
            plus += u[k, r] * _slope(u[k, r], power, odd, signs[r])
            minus += u[k, r] * _slope(-u[k, r], power, odd, signs[r])
        for c in range(2):
            mine, other = (plus, minus) if c == 0 else (minus, plus)
            x = _worst(mine, other, strength - radius, strength + radius, power, transfer)
            x_at[k, c] = x
            clean_at[k, c] = strength**power * mine
            robust_at[k, c] = _signal_margin(x, mine, other, power)
    for i in range(n_train):
        noise = 0.0
        for j in range(i * per, (i + 1) * per):
            noise += _noise_of_row(z[j], power, odd, signs)
        noise *= y[i]
        k, c = group[i], 0 if y[i] > 0 else 1
        scale = lr * weights[i] / n_train
        a = scale * (1.0 - robust_weight) * _sigmoid_neg(clean_at[k, c] + noise)
        b = scale * robust_weight * _sigmoid_neg(robust_at[k, c] + noise)
        pull[k, c, 0] += a
        pull[k, c, 1] += b
        factor = power * y[i] * (a + b)
        for j in range(i * per, (i + 1) * per):
            for r in range(m):
                z[j, r] *= factor
    for k in range(n_signals):
        for r in range(m):
            value, change = u[k, r], 0.0
            for c in range(2):
                sign = 1.0 - 2.0 * c
                same = _slope(sign * value, power, odd, signs[r])
                x = x_at[k, c]
                moved = x**power * same if x >= 0.0 else -((-x) ** power) * _slope(-sign * value, power, odd, signs[r])
                change += pull[k, c, 0] * strength**power * same + pull[k, c, 1] * moved
            u[k, r] = value + power * change


@_jit
def gram_steps(n_steps, u, coefficients, start, gram, y, group, weights, constants, odd, signs, transfer):
    """n steps in coefficient space: Z = Z_0 + G C. weights: (n_steps or 1, N)."""
    power, strength, radius, robust_weight, lr = constants
    z = np.empty_like(start)
    for t in range(n_steps):
        np.dot(gram, coefficients, z)
        z += start
        w = weights[t if weights.shape[0] > 1 else 0]
        step_in_place(u, z, y, group, w, power, strength, radius, robust_weight, lr, odd, signs, transfer)
        coefficients += z


@_jit
def direct_steps(n_steps, u, filters, noise, noise_t, y, group, weights, constants, odd, signs, transfer):
    """n steps on the filters themselves, stored (d, m) without their signal component: Z = Xi W."""
    power, strength, radius, robust_weight, lr = constants
    z = np.empty((noise.shape[0], filters.shape[1]))
    change = np.empty_like(filters)
    for t in range(n_steps):
        np.dot(noise, filters, z)
        w = weights[t if weights.shape[0] > 1 else 0]
        step_in_place(u, z, y, group, w, power, strength, radius, robust_weight, lr, odd, signs, transfer)
        np.dot(noise_t, z, change)
        filters += change
