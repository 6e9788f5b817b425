"""A step of training under a remedy, in compiled loops: the odd form with one signal direction, adversary along w*.

`compiled` is the same without remedies. With a_i and b_i the clean and the attacked margin, P_i = -dL/da_i and R_i =
-dL/db_i, and eta mu the decay of a step,
    u_r <- (1 - eta mu) u_r + (eta q / N) |u_r|^(q-1) sum_i [ P_i alpha^q + R_i phi(x_i) ],
    w_r <- (1 - eta mu) w_r + (eta q / N) sum_i (P_i + R_i) y_i sum_j |<w_r, xi_ij>|^(q-1) xi_ij     off the signal.
Arrays are changed in place; letters as in `rule`.
"""

import math

import numpy as np

from cgro.dynamics.compiled import jit
from cgro.dynamics.remedies import Change, Classes, State
from cgro.dynamics.rule import Array, Rule


@jit
def _softplus(t):
    """log(1 + e^t), without overflow and exact in both tails."""
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


@jit
def _sigmoid(t):
    if t >= 0.0:
        return 1.0 / (1.0 + math.exp(-t))
    e = math.exp(t)
    return e / (1.0 + e)


@jit
def _divergence(a, b):
    """KL( sigmoid(a) || sigmoid(b) )."""
    right = _softplus(-b) - _softplus(-a)
    wrong = _softplus(b) - _softplus(a)
    return _sigmoid(a) * right + _sigmoid(-a) * wrong


@jit
def _phi(x, power):
    if x >= 0.0:
        return x**power
    return -((-x) ** power)


@jit
def _slope(z, power):
    """|z|^(q-1)."""
    size = abs(z)
    if power == 3.0:
        return size * size
    if power == 2.0:
        return size
    return size ** (power - 1.0)


@jit
def _pulls(a, noise, learned, ends, weight, change):
    """-dL/da, -dL/db and phi(x) of an example, a = M + V its clean margin; ends are phi(x) of low, high, worst."""
    low, high, at = ends
    if change.trades == 0.0:
        b = at * learned + noise
        p_clean = (1.0 - weight) * (_sigmoid(-a) - change.smoothing_clean / 2)
        return p_clean, weight * (_sigmoid(-b) - change.smoothing_attacked / 2), at
    if change.by_divergence:
        at = low
        if _divergence(a, high * learned + noise) > _divergence(a, low * learned + noise):
            at = high
    b = at * learned + noise
    p_clean = _sigmoid(-a) - change.trades * _sigmoid(a) * _sigmoid(-a) * (a - b)
    return p_clean, change.trades * (_sigmoid(a) - _sigmoid(b)), at


@jit
def remedied_step(u: Array, z: Array, y: Array, weight: float, rule: Rule, change: Change) -> None:
    """Move u by one step and overwrite the activations by the coefficients of this step's noise patches.

    Args:
        u: (m,) signal components.
        z: (n, m) activations of the noise of this step.
        y: (N,) labels.
        weight: lambda now.
        rule: the constants.
        change: the remedy.
    """
    power = rule.power
    n_train = y.shape[0]
    per = z.shape[0] // n_train
    learned = 0.0
    for r in range(u.shape[0]):
        learned += u[r] * _slope(u[r], power)
    whole = rule.strength**power
    low = _phi(rule.strength - rule.radius, power)
    high = _phi(rule.strength + rule.radius, power)
    worst = low
    if high * learned < low * learned:
        worst = high
    on_signal = 0.0
    for i in range(n_train):
        noise = 0.0
        for j in range(i * per, (i + 1) * per):
            for r in range(z.shape[1]):
                p = _slope(z[j, r], power)
                noise += z[j, r] * p
                z[j, r] = p
        noise *= y[i]
        a = whole * learned + noise
        p_clean, p_attacked, at = _pulls(a, noise, learned, (low, high, worst), weight, change)
        on_signal += p_clean * whole + p_attacked * at
        factor = rule.lr * power / n_train * y[i] * (p_clean + p_attacked)
        for j in range(i * per, (i + 1) * per):
            for r in range(z.shape[1]):
                z[j, r] *= factor
    on_signal *= rule.lr * power / n_train
    for r in range(u.shape[0]):
        u[r] = (1.0 - change.decay) * u[r] + on_signal * _slope(u[r], power)


@jit
def _paste(now, rows, classes, i, rng, change):
    """A box of another example of the class, at one place in all patches of example i."""
    c = 0
    if classes.y[i] <= 0:
        c = 1
    others = classes.counts[c] - 1
    if others == 0:
        return
    place = int(rng.random() * others)
    if place >= classes.places[i]:
        place += 1
    per = rows.shape[0] // classes.y.shape[0]
    lender = classes.members[c, place] * per
    dim = rows.shape[1]
    corner = int(rng.random() * dim)
    for j in range(per):
        for k in range(corner, corner + change.box):
            at = k
            if at >= dim:
                at -= dim
            now[i * per + j, at] = rows[lender + j, at]


@jit
def draw_noise(now: Array, rows: Array, classes: Classes, rng: np.random.Generator, change: Change) -> None:
    """The noise patches of one step: fresh, with a box of another example of the class, or the example's own.

    Args:
        now: (n, d) overwritten.
        rows: (n, d) the training set's; the first coordinate, that of the signal, is 0.
        classes: who may lend a box.
        rng: source of the numbers: one per example, and those of fresh noise or of a box.
        change: the probabilities and the size of the box.
    """
    n_train = classes.y.shape[0]
    per = rows.shape[0] // n_train
    for i in range(n_train):
        draw = rng.random()
        first = i * per
        if draw < change.fresh:
            for j in range(first, first + per):
                now[j, 0] = 0.0
                for k in range(1, rows.shape[1]):
                    now[j, k] = change.noise_std * rng.standard_normal()
            continue
        for j in range(first, first + per):
            for k in range(rows.shape[1]):
                now[j, k] = rows[j, k]
        if draw < change.fresh + change.mixed:
            _paste(now, rows, classes, i, rng, change)


@jit
def _average(state: State, change: Change) -> None:
    """avg <- ema avg + (1 - ema) w."""
    part = 1.0 - change.ema
    for r in range(state.u.shape[0]):
        state.mean_u[r] += part * (state.u[r] - state.mean_u[r])
    for j in range(state.w.shape[0]):
        for r in range(state.w.shape[1]):
            state.mean_w[j, r] += part * (state.w[j, r] - state.mean_w[j, r])
    state.mean_kept[0] += part * (state.scalars[1] - state.mean_kept[0])


@jit
def remedied_gram_steps(
    n_steps: int, state: State, start: Array, gram: Array, classes: Classes, rule: Rule, change: Change
) -> None:
    """n steps in coefficient space, Z = kept Z_0 + G C; the noise of a step is that of the training set.

    Args:
        n_steps: how many.
        state: changed.
        start: (n, m) Z_0.
        gram: (n, n) G.
        classes: labels.
        rule: the constants.
        change: the remedy.
    """
    z = np.empty_like(start)
    coefficients = state.w
    for _ in range(n_steps):
        np.dot(gram, coefficients, z)
        z += state.scalars[1] * start
        remedied_step(state.u, z, classes.y, state.scalars[0], rule, change)
        if change.decay > 0.0:
            coefficients *= 1.0 - change.decay
            state.scalars[1] *= 1.0 - change.decay
        coefficients += z
        state.scalars[0] *= change.halving
        if change.ema > 0.0:
            _average(state, change)


@jit
def remedied_direct_steps(
    n_steps: int, state: State, rows: Array, classes: Classes, rng: np.random.Generator, rule: Rule, change: Change
) -> None:
    """n steps on the filters themselves, Z = Xi_t W, with the noise Xi_t of each step.

    Args:
        n_steps: how many.
        state: changed.
        rows: (n, d) noise patches of the training set.
        classes: labels, and who may lend a box.
        rng: of the noise.
        rule: the constants.
        change: the remedy.
    """
    filters = state.w
    z = np.empty((rows.shape[0], filters.shape[1]))
    move = np.empty_like(filters)
    now = rows.copy()
    moves = change.fresh > 0.0 or (change.mixed > 0.0 and change.box > 0)
    for _ in range(n_steps):
        if moves:
            draw_noise(now, rows, classes, rng, change)
        np.dot(now, filters, z)
        remedied_step(state.u, z, classes.y, state.scalars[0], rule, change)
        np.dot(now.T, z, move)
        if change.decay > 0.0:
            filters *= 1.0 - change.decay
            state.scalars[1] *= 1.0 - change.decay
        filters += move
        state.scalars[0] *= change.halving
        if change.ema > 0.0:
            _average(state, change)
