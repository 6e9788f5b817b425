"""Steps on the filters themselves in which each noise patch is read once: what `rule` says, block by block.

A block of examples is small enough to stay in the cache between its two products, the activations Z = Xi W and its part
of the change Xi^T C. Matrices are padded with zeros to whole tiles (see `tiles`). A padded filter has activation 0
everywhere, so p(0) = 0 and it never moves; a padded patch is 0 and moves nothing.
"""

import math
from typing import NamedTuple

import numpy as np

from cgro.dynamics.compiled import Examples, jit, move_signal, noise_of_row, sigmoid_neg, signal_by_class
from cgro.dynamics.rule import Array, Rule
from cgro.dynamics.tiles import ROWS, WIDTH, add_product, padded

PATCHES = 64
"""Noise patches of a block, about: 64 of 100 numbers are 51 kB. Blocks of 32 to 256 differed by less than 10%."""
LARGEST_EXPONENT = 300.0
"""Of a factor of exp(a + b) = exp(a) exp(b); beyond it the sum is exponentiated, which neither overflows nor loses."""


class Rows(NamedTuple):
    """The noise patches of one seed in whole tiles.

    Args:
        patches: (n, d) Xi, padded.
        per_example: P - 1.
    """

    patches: Array
    per_example: int


class Workspace(NamedTuple):
    """What a run of steps writes to.

    Args:
        filters: (d, m) W, padded.
        change: (d, m) of a step, padded.
        activations: (rows of a block, m), padded.
        noise: (rows of a block,) what a patch adds to the margin; then a factor per example.
        examples: of a block.
    """

    filters: Array
    change: Array
    activations: Array
    noise: Array
    examples: int


class Pulls(NamedTuple):
    """Per signal direction and class, from one step.

    Args:
        x_at: (K, 2) the attacked strength.
        clean_at: (K, 2) the clean margin of the signal.
        robust_at: (K, 2) the attacked one.
        clean_exp: (K, 2) exp of the first.
        robust_exp: (K, 2) exp of the second.
        pull: (K, 2, 2) how hard the clean and the robust part of the loss pull on u.
    """

    x_at: Array
    clean_at: Array
    robust_at: Array
    clean_exp: Array
    robust_exp: Array
    pull: Array


def rows_of(noise: Array, n_train: int) -> Rows:
    """Copy noise patches into whole tiles.

    Args:
        noise: (n, d) Xi of one seed.
        n_train: N.

    Returns:
        The padded copy.
    """
    n, d = noise.shape
    patches = padded(n, d)
    patches[:n, :d] = noise
    return Rows(patches, n // n_train)


def workspace(filters: Array, per_example: int) -> Workspace:
    """Room for steps, with the filters as they are.

    Args:
        filters: (d, m) W.
        per_example: P - 1.

    Returns:
        Padded matrices.
    """
    d, m = filters.shape
    own = padded(d, m)
    own[:d, :m] = filters
    # A multiple of ROWS examples, so that every block starts at a whole tile.
    examples = ROWS * max(1, PATCHES // (per_example * ROWS))
    n_rows = examples * per_example
    return Workspace(own, padded(d, m), padded(n_rows, m), np.zeros(n_rows), examples)


@jit
def _cubes_of_rows(z, n_rows, noise):
    """noise_j = sum_r phi(z_jr) and z becomes p(z), for odd q = 3. Inner loops of fixed length become vectors."""
    for j in range(n_rows):
        total = 0.0
        for first in range(0, z.shape[1], WIDTH):
            for r in range(first, first + WIDTH):
                p = z[j, r] * z[j, r]
                total += z[j, r] * p
                z[j, r] = p
        noise[j] = total


@jit
def _powers_of_rows(z, n_rows, noise, rule):
    """The same for every other activation, on the filters that are none of the padding."""
    n_filters = rule.signs.shape[0]
    for j in range(n_rows):
        noise[j] = noise_of_row(z[j, :n_filters], rule.power, rule.odd, rule.signs)


@jit
def _scale_rows(z, n_examples, per, factors):
    """Rows of example i times factors_i."""
    for i in range(n_examples):
        factor = factors[i]
        for j in range(i * per, (i + 1) * per):
            for first in range(0, z.shape[1], WIDTH):
                for r in range(first, first + WIDTH):
                    z[j, r] *= factor


@jit
def _factors(first, last, noise, examples, weights, rule, pulls):
    """From the noise of the patches of examples first .. last to the factor of each, in place; adds to the pulls."""
    n_train = examples.y.shape[0]
    per = noise.shape[0] // (last - first)
    for i in range(first, last):
        y = examples.y[i]
        learned = 0.0
        for j in range((i - first) * per, (i - first + 1) * per):
            learned += noise[j]
        learned *= y
        k = examples.group[i]
        c = 0
        if y <= 0:
            c = 1
        clean = pulls.clean_at[k, c]
        robust = pulls.robust_at[k, c]
        # One exponential where both products are in range; NaN fails the comparison and takes the other way.
        if max(abs(clean), abs(robust), abs(learned)) <= LARGEST_EXPONENT and learned == learned:
            e = math.exp(learned)
            of_clean = 1.0 / (1.0 + pulls.clean_exp[k, c] * e)
            of_robust = 1.0 / (1.0 + pulls.robust_exp[k, c] * e)
        else:
            of_clean = sigmoid_neg(clean + learned)
            of_robust = sigmoid_neg(robust + learned)
        scale = rule.lr * weights[i] / n_train
        a = scale * (1.0 - rule.robust_weight) * of_clean
        b = scale * rule.robust_weight * of_robust
        pulls.pull[k, c, 0] += a
        pulls.pull[k, c, 1] += b
        noise[i - first] = rule.power * y * (a + b)


@jit
def _one_step(u, work, rows, examples, weights, rule, pulls):
    """Z, the rule and Xi^T C block by block; then u and W move."""
    n_train = examples.y.shape[0]
    per = rows.per_example
    signal_by_class(u, rule, pulls.x_at, pulls.clean_at, pulls.robust_at)
    pulls.clean_exp[:] = np.exp(pulls.clean_at)
    pulls.robust_exp[:] = np.exp(pulls.robust_at)
    pulls.pull[:] = 0.0
    work.change[:] = 0.0
    for first in range(0, n_train, work.examples):
        last = min(first + work.examples, n_train)
        n_rows = (last - first) * per
        patches = rows.patches[first * per : min(first * per + work.examples * per, rows.patches.shape[0])]
        z = work.activations[: patches.shape[0]]
        z[:] = 0.0
        add_product(z, patches, work.filters)
        if rule.odd and rule.power == 3.0:
            _cubes_of_rows(z, n_rows, work.noise)
        else:
            _powers_of_rows(z, n_rows, work.noise, rule)
        _factors(first, last, work.noise[:n_rows], examples, weights, rule, pulls)
        _scale_rows(z, last - first, per, work.noise)
        add_product(work.change, patches.T, z)
    move_signal(u, pulls.pull, pulls.x_at, rule)
    work.filters[:] += work.change


@jit
def _steps(n_steps, u, work, rows, examples, weights, rule):
    n_signals = u.shape[0]
    pulls = Pulls(
        np.empty((n_signals, 2)),
        np.empty((n_signals, 2)),
        np.empty((n_signals, 2)),
        np.empty((n_signals, 2)),
        np.empty((n_signals, 2)),
        np.empty((n_signals, 2, 2)),
    )
    for t in range(n_steps):
        _one_step(u, work, rows, examples, weights[min(t, weights.shape[0] - 1)], rule, pulls)


def direct_steps(
    n_steps: int, u: Array, filters: Array, rows: Rows, *, examples: Examples, weights: Array, rule: Rule
) -> None:
    """n steps on the filters themselves: Z = Xi W, W += Xi^T C.

    Args:
        n_steps: how many.
        u: (K, m) signal components, changed.
        filters: (d, m) W without its signal components, changed.
        rows: the noise patches.
        examples: labels and signal directions.
        weights: (n_steps, N) of the examples, or (1, N) for the same in every step.
        rule: the constants.
    """
    work = workspace(filters, rows.per_example)
    _steps(n_steps, u, work, rows, examples, weights, rule)
    d, m = filters.shape
    filters[:] = work.filters[:d, :m]
