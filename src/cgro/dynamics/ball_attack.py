"""The adversary that moves every patch: structured starts, then projected gradient. A search, so a lower bound.

The margin y f(X + v) depends on a displacement v through the activations <w_r, X[j] + v[j]> only. For p = 2 the part of
v off the span of the filters costs radius and changes nothing: the search lives in coordinates on an orthonormal basis
of that span, k = min(d, m) numbers per patch. For p = inf the ball is a product over patches and f a sum over them, so
each patch is an example of its own, with k = d.

A power q > 2 has hardly a gradient where the activations are small: from X, or from random points, the search stalls
where a better point can be written down. So it also starts at those (`own_patches`, `against_filters`): an example's
own patches turned against it in every patch, the signal's among them, and every filter in every patch.

Sizes: S seeds, n examples of P patches in d dimensions, m filters.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from cgro.definitions import ThreatModel
from cgro.definitions.draws import Draws
from cgro.dynamics.rule import Array, Rule

FIRST_STEP, LAST_STEP = 0.6, 0.02
"""Sizes of steps as shares of the radius, falling linearly: long enough to cross the ball, short enough to settle. By
`tests/dynamics/test_ball_attack.py` ten of them find the exhaustive minimum."""
TINY = 1e-300
"""Keeps a division by the length of a zero vector finite."""
AT_ONCE = 16
"""Starts that are searched in one pass, before examples that are broken are left out. A choice."""


class Examples(NamedTuple):
    """Inputs in the coordinates of the search.

    Args:
        x: (S, n, P, k) patches.
        y: (S, n) labels -1 and +1.
        filters: (S, k, m).
    """

    x: Array
    y: Array
    filters: Array

    def again(self, times: int) -> "Examples":
        """The same examples several times in a row.

        Args:
            times: C.

        Returns:
            Of C n examples.
        """
        return Examples(np.tile(self.x, (1, times, 1, 1)), np.tile(self.y, (1, times)), self.filters)


def ball_of(adversary: str, radius: float) -> ThreatModel:
    """Read the ball of a full-ball adversary; inputs have no box.

    Args:
        adversary: "l2" or "linf".
        radius: delta, in units of the input.

    Returns:
        The set ‖X' - X‖_p <= delta, all patches as one vector.
    """
    return ThreatModel(adversary.removeprefix("l"), radius, None)


def scores(rule: Rule, bank: Array, x: Array) -> Array:
    """Evaluate f(X) = sum_j sum_r phi(<w_r, X[j]>), with phi(z) = z * slope(z).

    Args:
        rule: activation and second layer.
        bank: (S, d, m) filters.
        x: (S, n, P, d) inputs.

    Returns:
        (S, n).
    """
    s, n, p, d = x.shape
    z = x.reshape(s, n * p, d) @ bank
    return (z * rule.slope(z)).sum(-1).reshape(s, n, p).sum(-1)


def ascend(threat: ThreatModel, moved: Array, gradient: Array, *, size: float) -> Array:
    """Take one step of projected gradient ascent from a displacement within the ball.

    p = inf: clip(moved + size sign(g)). p = 2: moved + size g / ‖g‖, scaled back to the sphere if it is outside.

    Args:
        threat: the ball, without a box.
        moved: (S, n, P, k) X' - X.
        gradient: (S, n, P, k).
        size: of the step.

    Returns:
        (S, n, P, k) the next X' - X, within the ball.
    """
    # `ThreatModel.direction` and `project` compute the same, up to rounding, and a test holds them together. They are
    # not called here because they are made for large batches of images with a box: at 48 examples of 200 numbers they
    # made training a third to a half slower for p = inf; for p = 2 `project` sorts, and takes 20 times the scaling.
    radius = threat.radius
    if threat.p == np.inf:
        return np.clip(moved + size * np.sign(gradient), -radius, radius)
    moved = moved + size * gradient / np.maximum(_lengths(gradient), TINY)
    return moved * np.minimum(1.0, radius / np.maximum(_lengths(moved), TINY))


def _lengths(v: Array) -> Array:
    """‖v‖_2 over all patches, (S, n, 1, 1)."""
    return np.sqrt(np.einsum("snpk,snpk->sn", v, v))[..., None, None]


def descend(threat: ThreatModel, rule: Rule, examples: Examples, moved: Array, *, n_steps: int) -> tuple[Array, Array]:
    """Lower the margin y f(X + v) by projected gradient descent, and keep the best point passed, the start included.

    Args:
        threat: the ball, without a box.
        rule: activation and second layer.
        examples: in the coordinates of the search.
        moved: (S, n, P, k) displacements to start from, within the ball.
        n_steps: of falling size.

    Returns:
        The displacements of least margin, (S, n, P, k), and these margins, (S, n).
    """
    s, n, p, k = moved.shape
    x, y, filters = examples
    back = np.ascontiguousarray(filters.transpose(0, 2, 1))
    best = moved
    least = np.full((s, n), np.inf)
    for t in range(n_steps + 1):
        z = (x + moved).reshape(s, n * p, k) @ filters
        slope = rule.slope(z)
        margin = y * np.einsum("sam,sam->sa", z, slope).reshape(s, n, p).sum(-1)
        better = margin < least
        least = np.where(better, margin, least)
        best = np.where(better[..., None, None], moved, best)
        if t < n_steps:
            gradient = (slope @ back).reshape(s, n, p, k) * -y[..., None, None]
            size = threat.radius * (FIRST_STEP * (1 - t / n_steps) + LAST_STEP)
            moved = ascend(threat, moved, gradient, size=size)
    return best, least


class Search(NamedTuple):
    """Examples, and the directions that they and the filters give.

    Args:
        examples: in the coordinates of the search.
        own: (S, n, C, k) directions that the examples' own patches give, of length delta.
        basis: (S, d, k) of the filters' span; None for p = inf.
    """

    examples: Examples
    own: Array
    basis: Array | None


def prepare(threat: ThreatModel, bank: Array, x: Array, y: Array) -> Search:
    """Write examples in the coordinates of the search.

    An own patch X[j] gives the direction -X[j]. For p = 2 it comes twice: as written, of length delta in d dimensions,
    so that no point that can be written down is missed, and with its part in the filters' span at length delta.

    Args:
        threat: the ball, without a box.
        bank: (S, d, m) filters.
        x: (S, n, P, d) inputs.
        y: (S, n) labels.

    Returns:
        The search.
    """
    s, n, p, d = x.shape
    if threat.p == np.inf:
        own = np.repeat(-threat.radius * np.sign(x), p, axis=1)
        return Search(Examples(x.reshape(s, n * p, 1, d), np.repeat(y, p, axis=1), bank), own, None)
    basis = np.linalg.qr(bank)[0]
    inside = (x.reshape(s, n * p, d) @ basis).reshape(s, n, p, -1)
    written = np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), TINY)
    within = np.maximum(np.linalg.norm(inside, axis=-1, keepdims=True), TINY)
    own = -threat.radius * np.concatenate([inside / written, inside / within], axis=2)
    return Search(Examples(inside, y, basis.transpose(0, 2, 1) @ bank), own, basis)


def own_patches(search: Search) -> Array:
    """Start from an example's own patches turned against it: each in every patch alone, and in all in equal shares.

    The signal's patch in all patches is the point X - (delta / sqrt P) y w*, which wins against the signal alone for
    every delta > alpha / sqrt 2 where P = 2.

    Args:
        search: the examples.

    Returns:
        (C, S, n, P, k) displacements.
    """
    p = search.examples.x.shape[2]
    shares = np.eye(p)
    if p > 1:
        shares = np.vstack([shares, np.full(p, p**-0.5)])
    starts = []
    for direction in np.moveaxis(search.own, 2, 0):
        for share in shares:
            starts.append(direction[:, :, None, :] * share[:, None])
    return np.stack(starts)


def against_filters(threat: ThreatModel, rule: Rule, examples: Examples) -> Array:
    """Directions -y a_r w_r, at length delta: what raises the response of filter r against the label.

    Args:
        threat: the ball, without a box.
        rule: second layer.
        examples: in the coordinates of the search.

    Returns:
        (S, m, k), for the label +1.
    """
    filters = examples.filters.transpose(0, 2, 1) * -rule.signs[:, None]
    if threat.p == np.inf:
        return threat.radius * np.sign(filters)
    return threat.radius * filters / np.maximum(np.linalg.norm(filters, axis=-1, keepdims=True), TINY)


def filter_start(threat: ThreatModel, rule: Rule, examples: Examples, number: int) -> Array:
    """One filter in one patch.

    Args:
        threat: the ball, without a box.
        rule: second layer.
        examples: in the coordinates of the search.
        number: of the pair; m P of them follow each other, then the first comes again.

    Returns:
        (S, n, P, k) displacements.
    """
    p = examples.x.shape[2]
    r, patch = divmod(number % (p * len(rule.signs)), p)
    moved = np.zeros_like(examples.x)
    moved[:, :, patch] = examples.y[..., None] * against_filters(threat, rule, examples)[:, None, r]
    return moved


def all_starts(threat: ThreatModel, rule: Rule, search: Search) -> Iterator[Array]:
    """X, the own patches turned, and every filter in every patch.

    Args:
        threat: the ball, without a box.
        rule: second layer.
        search: the examples.

    Yields:
        (S, n, P, k) displacements.
    """
    yield np.zeros_like(search.examples.x)
    yield from own_patches(search)
    for number in range(search.examples.x.shape[2] * len(rule.signs)):
        yield filter_start(threat, rule, search.examples, number)


def strongest_filter(threat: ThreatModel, rule: Rule, examples: Examples) -> Array:
    """The one filter in the one patch that lowers its own response most, by example.

    Only the response of that filter is compared, not those of the others along its direction: S n P m numbers.

    Args:
        threat: the ball, without a box.
        rule: activation and second layer.
        examples: in the coordinates of the search.

    Returns:
        (S, n, P, k) displacements.
    """
    x, y, filters = examples
    s, n, p, k = x.shape
    against = against_filters(threat, rule, examples)
    reach = np.einsum("smk,skm->sm", against, filters)  # what the response of r becomes larger by, for y = +1
    z = (x.reshape(s, n * p, k) @ filters).reshape(s, n, p, -1)
    raised = z + y[..., None, None] * reach[:, None, None]
    change = y[..., None, None] * (raised * rule.slope(raised) - z * rule.slope(z))
    patch, r = np.divmod(change.reshape(s, n, -1).argmin(-1), len(rule.signs))
    seed = np.arange(s)[:, None]
    moved = np.zeros_like(x)
    moved[seed, np.arange(n), patch] = y[..., None] * against[seed, r]
    return moved


class Carried(NamedTuple):
    """What one step of training hands to the next.

    Args:
        moved: (S, n, P, d) displacements X' - X; zeros before the first.
        turn: number of the step.
    """

    moved: Array
    turn: int = 0


def attack(
    threat: ThreatModel, rule: Rule, bank: Array, *, x: Array, y: Array, n_steps: int, carried: Carried
) -> Carried:
    """Attack as training does: from four starts, the same ones in every run.

    They are where the last step of training left off, the best of the own patches turned, the filter that would lower
    its own response most, and one filter in one patch, the next one in each step of training. As the weights change
    little from step to step, `carried` keeps the best point that any turn has found.

    Args:
        threat: the ball, without a box.
        rule: activation and second layer.
        bank: (S, d, m) filters.
        x: (S, n, P, d) inputs.
        y: (S, n) labels.
        n_steps: from each start.
        carried: from the last step of training.

    Returns:
        The displacements of least margin, for the next step.
    """
    search = prepare(threat, bank, x, y)
    examples = search.examples
    if search.basis is None:
        kept = carried.moved.reshape(examples.x.shape)
    else:
        s, n, p, d = x.shape
        kept = (carried.moved.reshape(s, n * p, d) @ search.basis).reshape(examples.x.shape)
    starts = [
        kept,
        _best_of(rule, examples, own_patches(search)),
        strongest_filter(threat, rule, examples),
        filter_start(threat, rule, examples, carried.turn),
    ]
    found, margins = descend(threat, rule, examples.again(len(starts)), np.concatenate(starts, axis=1), n_steps=n_steps)
    s, n, p, k = examples.x.shape
    best = margins.reshape(s, len(starts), n).argmin(1)
    moved = found.reshape(s, len(starts), n, p, k)[np.arange(s)[:, None], best, np.arange(n)]
    if search.basis is not None:
        moved = moved.reshape(s, n * p, k) @ search.basis.transpose(0, 2, 1)
    return Carried(moved.reshape(x.shape), carried.turn + 1)


def _best_of(rule: Rule, examples: Examples, starts: Array) -> Array:
    """Of several displacements the one of least margin, by example; (C, S, n, P, k) to (S, n, P, k)."""
    c, s, n, p, k = starts.shape
    stacked = examples.again(c)
    moved = starts.transpose(1, 0, 2, 3, 4).reshape(s, c * n, p, k)
    margins = stacked.y * scores(rule, examples.filters, stacked.x + moved)
    best = margins.reshape(s, c, n).argmin(1)
    return starts[best, np.arange(s)[:, None], np.arange(n)]


def worst_margins(
    threat: ThreatModel, rule: Rule, bank: Array, *, x: Array, y: Array, n_steps: int, streams: Sequence[Draws] = ()
) -> Array:
    """Attack one seed as evaluation does: from all structured starts and from random points.

    Args:
        threat: the ball, without a box.
        rule: activation and second layer.
        bank: (d, m) filters.
        x: (n, P, d) inputs.
        y: (n,) labels.
        n_steps: from each start.
        streams: random numbers of the examples, one `Draws` for each random start.

    Returns:
        (n,) least margins found; where one is at most 0, the search for this example has ended there.
    """
    search = prepare(threat, bank[None], x[None], y[None])
    starts = [*all_starts(threat, rule, search), *_random(threat, search, streams)]
    rows_each = search.examples.x.shape[1] // len(y)
    least = np.full((len(y), rows_each), np.inf)
    left = np.arange(len(y))
    for first in range(0, len(starts), AT_ONCE):
        group = starts[first : first + AT_ONCE]
        rows = (left[:, None] * rows_each + np.arange(rows_each)).ravel()
        margins = _searched(threat, rule, search.examples, group, rows, n_steps)
        least[left] = np.minimum(least[left], margins.reshape(len(left), rows_each))
        left = np.nonzero(least.sum(1) > 0)[0]
        if not len(left):
            break
    return least.sum(1)


def _searched(
    threat: ThreatModel, rule: Rule, examples: Examples, starts: Sequence[Array], rows: Array, n_steps: int
) -> Array:
    """The least margins from several starts of some of the examples, (rows,)."""
    some = Examples(examples.x[:, rows], examples.y[:, rows], examples.filters)
    moved = np.concatenate([start[:, rows] for start in starts], axis=1)
    _, margins = descend(threat, rule, some.again(len(starts)), moved, n_steps=n_steps)
    return margins.reshape(len(starts), len(rows)).min(0)


def _random(threat: ThreatModel, search: Search, streams: Sequence[Draws]) -> Iterator[Array]:
    """Points drawn from the ball in the coordinates of the search; an example's numbers are its own."""
    x = search.examples.x
    for draws in streams:
        # For p = inf an example's patches are rows of their own here, and one stream draws for all of them.
        centers = torch.zeros(len(draws.keys), x[0].size // len(draws.keys), dtype=torch.float64)
        yield threat.sample(centers, draws).numpy().reshape(x.shape)
