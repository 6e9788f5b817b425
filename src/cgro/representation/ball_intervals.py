"""Interval propagation over l_1 and l_2 balls through the written-out network of Theorem 4.4.

Intervals over the box around an l_1 or l_2 ball lose the constraint that couples the coordinates: the excess z_i of the
point's own indicator then comes out positive. Here the layers up to z_i are bounded over the ball itself, and intervals
go on from there. Nothing is taken from the formula but the place of that layer; all else is read off the weights, so
that a fault in them shows.

lean, p = 1    z is a sum of ReLUs. Those with positive weight are convex in x, the others concave: with the tangent at
               the center in place of the one kind, a bound is attained at a vertex x +- radius e_j.
shared, p = 2  z = sum_j g_ij(x_j), as every neuron before it reads one coordinate or is a sum that ReLU lets through.
               On a grid on which those neurons are affine their deviation e_j from x_j^2 is bounded in closed form:
               z_i = w (|x|^2 + e(x) + <a_i, x> + b_i), and |x + a_i / 2| varies by the radius.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from cgro.bounds import Interval, Layer, compose, enclosing_box, propagate_intervals
from cgro.representation.indicators import N_CLAMP, is_clamped
from cgro.representation.memorizer import RobustMemorizer

ROUNDING = 1e-11
"""Values so close to 0 count as 0: float64 sums of a thousand terms of size 1 are off by 1e-13."""
GRID_LIMIT = 20_000_000
"""Values of the sawtooth's neurons on its grid, at most: 160 MB a level. They grow like D^1.5 / radius."""


class NotProvableError(Exception):
    """The layers are not of the form that the bound is for: a fault in them, or another network."""


class Squares(NamedTuple):
    """What the separable layers compute, q(x) = |x|^2 + e(x) and u_j(x) = slope_j x_j + offset_j.

    Attributes:
        place: output that is q; the others are u.
        low, high: bounds of e over the range of the inputs.
        owner: (n,) coordinate that each output reads; meaningless at `place`.
        slope: (n,) of each output.
        offset: (n,) of each output.
    """

    place: int
    low: float
    high: float
    owner: Tensor
    slope: Tensor
    offset: Tensor


def ball_intervals(memorizer: RobustMemorizer, layers: Sequence[Layer], positions: Tensor) -> Interval:
    """Bound the outputs of a written-out network over training balls, p = 1 or 2.

    Args:
        memorizer: supplies points, threat and variant.
        layers: of the network.
        positions: (n,) training points.

    Returns:
        (n, n_out) bounds, float64; infinite where the layers are not of the form that can be bounded.
    """
    m = memorizer
    clamped = is_clamped(m.variant, m.supports.unbounded)
    level = 1 if m.variant == "lean" else m.supports.depth + 1
    if clamped:
        level += N_CLAMP
    centers = m.points(positions)
    before = propagate_intervals(layers[: level + 1], enclosing_box(centers, m.threat))[-1]
    try:
        memory = _memory_branch(m, layers, level)
        span = (m.supports.low, m.supports.high)
        if clamped:
            memory = _without_clamp(memory, m)
            centers = centers - span[0]
            span = (0.0, span[1] - span[0])
        if m.variant == "lean":
            bounds = [vertex_bounds(memory, center, m.threat.radius) for center in centers]
        else:
            squares = squares_of(memory[:-1], m.dim, span)
            bounds = [separable_bounds(squares, memory[-1], center, m.threat.radius) for center in centers]
    except NotProvableError:
        unknown = torch.full((len(positions), layers[-1].n_out), math.inf, dtype=torch.float64)
        return Interval(-unknown, unknown)
    own = Interval(torch.cat([one.low for one in bounds]), torch.cat([one.high for one in bounds]))
    n_own = memory[-1].n_out
    low = torch.cat([before.low[:, :-n_own], torch.maximum(before.low[:, -n_own:], own.low)], 1)
    high = torch.cat([before.high[:, :-n_own], torch.minimum(before.high[:, -n_own:], own.high)], 1)
    return propagate_intervals(layers[level + 1 :], Interval(low, high).relu())[-1]


def has_ball_intervals(memorizer: RobustMemorizer) -> bool:
    """Whether intervals can prove its balls: every point is memorized, and the sawtooth's grid is not too fine.

    Args:
        memorizer: of any norm.

    Returns:
        False where `interval_check` is no verdict, or would need too much memory.
    """
    m = memorizer
    if m.n_memorized < len(m.y):
        return False
    return m.variant != "shared" or (2**m.supports.depth + 1) * 3 * m.dim <= GRID_LIMIT


def _memory_branch(m: RobustMemorizer, layers: Sequence[Layer], level: int) -> list[Layer]:
    """The layers of the indicators, up to z: the rows behind those of the clean model, which read none of it."""
    clean = m.combination.branch(m.lowered_clean())
    found: list[Layer] = []
    first_in = 0
    for number, layer in enumerate(layers[: level + 1]):
        first_out = clean[min(number, len(clean) - 1)].n_out
        rows, cols = layer.weight.indices()
        kept = rows >= first_out
        if bool((cols[kept] < first_in).any()):
            raise NotProvableError("an indicator reads the clean model")
        index = torch.stack([rows[kept] - first_out, cols[kept] - first_in])
        shape = (layer.n_out - first_out, layer.n_in - first_in)
        weight = torch.sparse_coo_tensor(index, layer.weight.values()[kept], shape, check_invariants=False)
        found.append(Layer(weight.coalesce(), layer.bias[first_out:]))
        first_in = first_out
    return found


def _without_clamp(memory: list[Layer], m: RobustMemorizer) -> list[Layer]:
    """The layers behind the clamp, which on the range of the inputs must be x -> x - low."""
    everywhere = torch.ones(1, m.dim, dtype=torch.float64)
    inputs = Interval(m.supports.low * everywhere, m.supports.high * everywhere)
    clamp = memory[:N_CLAMP]
    least = min(float(bounds.low.min()) for bounds in propagate_intervals(clamp, inputs))
    passed = compose(*clamp)
    turned = (passed.weight.to_dense() - torch.eye(m.dim, dtype=torch.float64)).abs().max()
    moved = (passed.bias + m.supports.low).abs().max()
    if least < -ROUNDING or float(turned) > 0 or float(moved) > ROUNDING:
        raise NotProvableError("the clamp changes inputs of the range")
    return memory[N_CLAMP:]


def vertex_bounds(layers: Sequence[Layer], center: Tensor, radius: float) -> Interval:
    """Bound z = W ReLU(A x + c) + b over an l_1 ball (without the box); exact where W >= 0 and the center is no kink.

    With t(x) the tangent of ReLU(A x + c) at the center and W = W+ + W-,

        W+ ReLU + W- t  >=  z - b  >=  W+ t + W- ReLU,

    the left convex and the right concave in x: their largest and least values are at vertices center +- radius e_j.

    Args:
        layers: two of them.
        center: (D,).
        radius: of the ball.

    Returns:
        (1, n_out) bounds.

    Raises:
        NotProvableError: another number of layers.

    Example:
        |x_1| + |x_2| over the l_1 ball of radius 0.5 about 0, as 2 ReLU(x) - x; a box would give 1.0 at best.

        >>> from cgro.bounds import dense_layer
        >>> eye = torch.eye(2, dtype=torch.float64)
        >>> net = [dense_layer(torch.cat([eye, -eye])), dense_layer(torch.ones(1, 4, dtype=torch.float64))]
        >>> vertex_bounds(net, torch.zeros(2, dtype=torch.float64), 0.5).high.item()
        0.5
    """
    if len(layers) != 2:
        raise NotProvableError("two layers are bounded at vertices")
    first, second = layers
    at_center = first(center[None])[0]
    active = (at_center > 0).double()
    base = second(at_center[None].clamp_min(0))
    neurons = first.weight.indices()[0]
    weights = second.weight.values()
    plus = _matrix(second.weight, weights.clamp_min(0))
    minus = _matrix(second.weight, weights.clamp_max(0))
    most = least = np.zeros(second.n_out)
    for side in (radius, -radius):
        steps = side * first.weight.values()
        tangent = _matrix(first.weight, active[neurons] * steps)
        relu = _matrix(first.weight, (at_center[neurons] + steps).clamp_min(0) - at_center[neurons].clamp_min(0))
        most = np.maximum(most, (plus @ relu + minus @ tangent).max(axis=1).toarray().ravel())
        least = np.minimum(least, (plus @ tangent + minus @ relu).min(axis=1).toarray().ravel())
    return Interval(base + torch.from_numpy(least), base + torch.from_numpy(most))


def _matrix(weight: Tensor, values: Tensor) -> csr_array:
    """A sparse matrix with the same places and other values."""
    rows, cols = weight.indices().numpy()
    return csr_array((values.numpy(), (rows, cols)), shape=tuple(weight.shape))


def separable_bounds(squares: Squares, layer: Layer, center: Tensor, radius: float) -> Interval:
    """Bound z_i = w_i (|x|^2 + e(x) + <a_i, x> + b_i) over the part of an l_2 ball in the range of the inputs.

    |x|^2 + <a, x> = |x + a/2|^2 - |a|^2 / 4, and |x + a/2| lies within the radius of |center + a/2|.

    Args:
        squares: what the layers before compute.
        layer: from q and u to z.
        center: (D,).
        radius: of the ball.

    Returns:
        (1, n_out) bounds.

    Raises:
        NotProvableError: a z without a positive weight of q.
    """
    last = layer.weight.to_dense()
    weight = last[:, squares.place].clone()
    if not bool((weight > 0).all()):
        raise NotProvableError("an indicator without the squares")
    last[:, squares.place] = 0
    linear = torch.zeros(len(last), len(center), dtype=torch.float64)
    linear.index_add_(1, squares.owner, last * squares.slope)
    half = linear / (2 * weight[:, None])
    constant = layer.bias + (last * squares.offset).sum(1) - weight * (half**2).sum(1)
    distance = torch.linalg.vector_norm(center + half, dim=1)
    low = constant + weight * ((distance - radius).clamp_min(0) ** 2 + squares.low)
    high = constant + weight * ((distance + radius) ** 2 + squares.high)
    return Interval(low[None], high[None])


def squares_of(layers: Sequence[Layer], dim: int, span: tuple[float, float]) -> Squares:
    """Read what layers compute of which each neuron reads one coordinate or is a sum of such neurons.

    Args:
        layers: of the sawtooth, the last of them with the outputs u and q.
        dim: D.
        span: least and largest coordinate of an input.

    Returns:
        q and u as functions of the input, valid for every input in the range.

    Raises:
        NotProvableError: a neuron reads several coordinates and may be negative, or bends between two points of the
            grid; an output is not affine, or there is not exactly one sum.
    """
    low, high = span
    n_cells = 2 ** (len(layers) - 1)
    grid = low + (high - low) * torch.arange(n_cells + 1, dtype=torch.float64) / n_cells
    values = grid[:, None].expand(-1, dim)
    owner = torch.arange(dim)
    parts: dict[int, Tensor] = {}
    for number, layer in enumerate(layers):
        if number:
            values, parts = _relu(values, owner, parts)
        values, owner, parts = _through(layer, values, owner, parts, dim)
    if len(parts) != 1:
        raise NotProvableError("not exactly one sum of squares")
    ((place, part),) = parts.items()
    slope = (values[-1] - values[0]) / (high - low)
    straight = values[0] + slope * (grid - low)[:, None]
    bent = (values - straight).abs().amax(0)
    bent[place] = 0
    if float(bent.max()) > ROUNDING:
        raise NotProvableError("an output besides the squares is not affine")
    least, largest = _deviation(part[:-1], grid)
    constant = float(part[-1].sum())
    return Squares(place, least + constant, largest + constant, owner.clamp_min(0), slope, values[0] - slope * low)


def _through(
    layer: Layer, values: Tensor, owner: Tensor, parts: dict[int, Tensor], dim: int
) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
    """Values of a layer's outputs on the grid, the coordinate that each reads (-1: several), and the sums' parts.

    A part is (P + 1, D): by coordinate the values on the grid, and in the last row a constant.
    """
    rows, cols = layer.weight.indices()
    weights = layer.weight.values()
    is_sum = torch.zeros(layer.n_in, dtype=torch.bool)
    is_sum[list(parts)] = True
    first = torch.full((layer.n_out,), dim).scatter_reduce(0, rows, owner[cols], "amin")
    last = torch.full((layer.n_out,), -1).scatter_reduce(0, rows, owner[cols], "amax")
    single = (first == last) & (first >= 0)
    single[rows[is_sum[cols]]] = False
    found: dict[int, Tensor] = {}
    for row in torch.nonzero(~single).squeeze(1).tolist():
        part = torch.zeros(len(values) + 1, dim, dtype=torch.float64)
        part[-1, 0] = layer.bias[row]
        of_one = (rows == row) & ~is_sum[cols]
        part[:-1].index_add_(1, owner[cols[of_one]], weights[of_one] * values[:, cols[of_one]])
        of_sum = (rows == row) & is_sum[cols]
        for col, weight in zip(cols[of_sum].tolist(), weights[of_sum].tolist(), strict=True):
            part += weight * parts[col]
        found[row] = part
    return layer(values), torch.where(single, first, -1), found


def _relu(values: Tensor, owner: Tensor, parts: dict[int, Tensor]) -> tuple[Tensor, dict[int, Tensor]]:
    """ReLU where it is affine between neighbors of the grid; a sum must not be negative, and passes."""
    bends = (values[:-1] * values[1:] < 0) & (torch.minimum(values[:-1].abs(), values[1:].abs()) > ROUNDING)
    if bool(bends[:, owner >= 0].any()):
        raise NotProvableError("a neuron bends between two points of the grid")
    for part in parts.values():
        if float(part[:-1].amin(0).sum() + part[-1].sum()) < -ROUNDING * part.shape[1]:
            raise NotProvableError("a sum may be negative")
    return values.clamp_min(0), parts


def _deviation(parts: Tensor, grid: Tensor) -> tuple[float, float]:
    """Bounds of the sum over coordinates of h_j(x_j) - x_j^2, with h_j affine between the (P,) points of the grid.

    On a cell the difference is concave: least at an end, largest where x = slope / 2.
    """
    x = grid[:, None]
    slope = (parts[1:] - parts[:-1]) / (x[1:] - x[:-1])
    top = torch.minimum(torch.maximum(slope / 2, x[:-1]), x[1:])
    largest = parts[:-1] + slope * (top - x[:-1]) - top**2
    return float((parts - x**2).amin(0).sum()), float(largest.amax(0).sum())
