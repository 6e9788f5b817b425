"""The soft indicators of Theorem 4.4 as ReLU layers.

ind_i = ReLU(1 - z_i / gap_i) is 1 on B_p(x_i, inner) and 0 outside B_p(x_i, inner + ramp_i); z_i >= 0 is the excess of
the distance over `inner`. Four constructions of z_i:

    box      p = inf   sum_j ReLU(x_j - x_ij - inner) + ReLU(x_ij - inner - x_j)
    compact  p = inf   the same on the box, with equal neurons shared
    lean     p = 1     ReLU(2 sum_j ReLU(x_j - x_ij) - S(x) + S_i - inner),  S(x) = sum_j (x_j - low)
    shared   p = 2     ReLU(q(x) - 2 <x_i, x> + |x_i|^2 - t),  q(x) >= |x|^2 the sawtooth squares

Each function below returns the layers up to 1 - z_i / gap_i, before the last ReLU. All but `box` are made for inputs in
[low, high]. Where that range holds all supports, `compact` and `lean` are right outside of it too, and before `shared`
`indicator_layers` puts a clamp.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from cgro.bounds import Layer, sparse_layer
from cgro.representation.sawtooth import sawtooth_error

F64 = torch.float64


@dataclass(frozen=True)
class Balls:
    """What the layers are made from.

    Args:
        centers: (N, D) float64, the memorized points x_i.
        inner: radius on which the indicator is 1.
        gap: (N,) excess z_i at which the indicator reaches 0.
        low: least coordinate of an input.
        high: largest coordinate of an input.
        depth: terms of the sawtooth (p = 2 only).
        unbounded: whether inputs may lie outside [low, high], which then holds all supports.
    """

    centers: Tensor
    inner: float
    gap: Tensor
    low: float
    high: float
    depth: int = 0
    unbounded: bool = False

    @property
    def threshold(self) -> float:
        """For p = 2 the t of ReLU(q(x) - 2 <x_i, x> + |x_i|^2 - t): inner^2 plus the error of the squares."""
        return self.inner**2 + sawtooth_error(self.centers.shape[1], self.low, self.high, self.depth)

    def from_zero(self) -> "Balls":
        """The same in the coordinates x - low, in which clamped inputs come: none is negative, so ReLU lets them pass.

        Returns:
            Balls on [0, high - low].
        """
        return replace(self, centers=self.centers - self.low, low=0.0, high=self.high - self.low, unbounded=False)


class Thresholds(NamedTuple):
    """The distinct neurons ReLU(+-(x_j - t)) of `compact` and who uses them.

    Args:
        column: (U,) coordinate j of each neuron.
        threshold: (U,) t.
        side: (U,) +1 or -1.
        point: (K,) memorized point of each use.
        use: (K,) neuron of each use.
    """

    column: Tensor
    threshold: Tensor
    side: Tensor
    point: Tensor
    use: Tensor


class _Entries:
    """Entries of a sparse weight matrix, collected block by block."""

    def __init__(self) -> None:
        self.rows: list[Tensor] = []
        self.cols: list[Tensor] = []
        self.values: list[Tensor] = []

    def add(self, rows: Tensor, cols: Tensor, values: Tensor) -> None:
        self.rows.append(rows)
        self.cols.append(cols)
        self.values.append(values)

    def diagonal(self, row: int, col: int, values: Tensor) -> None:
        """Output row + j takes values_j times input col + j."""
        each = torch.arange(len(values))
        self.add(row + each, col + each, values)

    def sum_of(self, row: int, col: int, values: Tensor) -> None:
        """Output `row` adds values_j times input col + j, over all j."""
        each = torch.arange(len(values))
        self.add(torch.full_like(each, row), col + each, values)

    def single(self, row: int, col: int, value: float) -> None:
        self.add(torch.tensor([row]), torch.tensor([col]), torch.tensor([value], dtype=F64))

    def layer(self, bias: Tensor, n_in: int) -> Layer:
        return sparse_layer(torch.cat(self.rows), torch.cat(self.cols), torch.cat(self.values), bias, n_in)


def _grid(n: int, dim: int) -> tuple[Tensor, Tensor]:
    """Point i and coordinate j of entry i D + j."""
    entry = torch.arange(n * dim)
    return entry // dim, entry % dim


def box_layers(b: Balls) -> list[Layer]:
    """Build the indicators for p = inf: z_i is the l_1 distance to the cube, so no maximum is needed.

    z_i = sum_j ReLU(x_j - x_ij - inner) + ReLU(x_ij - inner - x_j). Theorem 4.4, 6 N D + N parameters.

    Args:
        b: centers and radii.

    Returns:
        Two layers.
    """
    n, dim = b.centers.shape
    point, column = _grid(n, dim)
    flat = b.centers.flatten()
    first = _Entries()
    first.add(torch.arange(n * dim), column, torch.ones(n * dim, dtype=F64))
    first.add(torch.arange(n * dim, 2 * n * dim), column, -torch.ones(n * dim, dtype=F64))
    bias = torch.cat([-(flat + b.inner), flat - b.inner])
    slope = (-1 / b.gap)[point].repeat(2)
    second = sparse_layer(point.repeat(2), torch.arange(2 * n * dim), slope, torch.ones(n, dtype=F64), 2 * n * dim)
    return [first.layer(bias, dim), second]


def shared_thresholds(b: Balls) -> Thresholds:
    """Find the distinct neurons of `box` that act inside the box of the inputs, and which of them each point uses.

    Args:
        b: centers and radii.

    Returns:
        The neurons in the order of (coordinate, threshold, side).
    """
    point, column = _grid(*b.centers.shape)
    up = (b.centers + b.inner).flatten()
    down = (b.centers - b.inner).flatten()
    acts_up = up < b.high
    acts_down = down > b.low
    columns = torch.cat([column[acts_up], column[acts_down]]).double()
    side = torch.cat([torch.ones(int(acts_up.sum()), dtype=F64), -torch.ones(int(acts_down.sum()), dtype=F64)])
    key = torch.stack([columns, torch.cat([up[acts_up], down[acts_down]]), side], 1)
    distinct, use = torch.unique(key, dim=0, return_inverse=True)
    users = torch.cat([point[acts_up], point[acts_down]])
    return Thresholds(distinct[:, 0].long(), distinct[:, 1], distinct[:, 2], users, use)


def compact_layers(b: Balls) -> list[Layer]:
    """Build `box` with one neuron for equal thresholds and none for thresholds off the box; inputs in the box.

    The same function as `box` on the box: a neuron ReLU(x_j - t) with t >= high is 0 there. Images have 256 values per
    pixel at most, so the first layer stops growing with N, and 2 N D + O(D) remain of 6 N D.

    Args:
        b: centers and radii.

    Returns:
        Two layers.
    """
    t = shared_thresholds(b)
    n_neurons = len(t.column)
    first = sparse_layer(torch.arange(n_neurons), t.column, t.side, -t.side * t.threshold, b.centers.shape[1])
    slope = (-1 / b.gap)[t.point]
    second = sparse_layer(t.point, t.use, slope, torch.ones(len(b.centers), dtype=F64), n_neurons)
    return [first, second]


def lean_layers(b: Balls) -> list[Layer]:
    """Build the indicators for p = 1 from |a| = 2 ReLU(a) - a, the linear part shared by all points.

    z_i = ReLU(2 sum_j ReLU(x_j - x_ij) - S(x) + S_i - inner), S(x) = sum_j (x_j - low) one neuron, S_i likewise.
    Theorem 4.4, 3 N D + 4 N + D parameters.

    Args:
        b: centers and radii.

    Returns:
        Three layers.
    """
    n, dim = b.centers.shape
    size = n * dim
    point, column = _grid(n, dim)
    first = _Entries()
    first.add(torch.arange(size), column, torch.ones(size, dtype=F64))
    first.sum_of(size, 0, torch.ones(dim, dtype=F64))
    bias = torch.cat([-b.centers.flatten(), torch.tensor([-dim * b.low], dtype=F64)])
    second = _Entries()
    second.add(point, torch.arange(size), torch.full((size,), 2.0, dtype=F64))
    second.add(torch.arange(n), torch.full((n,), size), -torch.ones(n, dtype=F64))
    offset = (b.centers - b.low).sum(1) - b.inner
    return [first.layer(bias, dim), second.layer(offset, size + 1), _closing(b.gap)]


def _closing(gap: Tensor) -> Layer:
    """z -> 1 - z / gap."""
    each = torch.arange(len(gap))
    return sparse_layer(each, each, -1 / gap, torch.ones(len(gap), dtype=F64), len(gap))


def shared_layers(b: Balls) -> list[Layer]:
    """Build the indicators for p = 2; the sawtooth squares do not depend on the point and are shared by all.

    z_i = ReLU(q(x) - 2 <x_i, x> + |x_i|^2 - t), q(x) the sawtooth squares, t = inner^2 + their error. Theorem 4.4,
    N D + 4 N + (8 depth - 1) D + depth parameters: no logarithm on N D.

    Args:
        b: centers and radii, depth >= 1.

    Returns:
        depth + 3 layers.
    """
    n, dim = b.centers.shape
    span = b.high - b.low
    layers = [_first_tooth(dim, b.low, span)]
    for k in range(2, b.depth + 1):
        layers.append(_next_tooth(dim, k, layers[-1].n_out))
    layers.append(_squares(b, layers[-1].n_out))
    # From (u, q): q - 2 <x_i, x> + |x_i|^2 - t with x = span u + low.
    point, column = _grid(n, dim)
    entries = _Entries()
    entries.add(point, column, -2 * span * b.centers.flatten())
    entries.add(torch.arange(n), torch.full((n,), dim), torch.ones(n, dtype=F64))
    offset = (b.centers**2).sum(1) - 2 * b.low * b.centers.sum(1) - b.threshold
    return [*layers, entries.layer(offset, dim + 1), _closing(b.gap)]


# Neurons of a level of the sawtooth, all ReLU: r = T (dim), r' = T - 1/2 (dim), u carried on (dim), and the running sum
# s (1). In the first level T_0 = u, so r is u and is not written twice: its width is 2 dim + 1, not 3 dim + 1.


def _first_tooth(dim: int, low: float, span: float) -> Layer:
    """x -> (u, u - 1/2, sum of u), u = (x - low) / span."""
    eye = torch.ones(dim, dtype=F64)
    entries = _Entries()
    entries.diagonal(0, 0, eye / span)
    entries.diagonal(dim, 0, eye / span)
    entries.sum_of(2 * dim, 0, eye / span)
    total = torch.tensor([-dim * low / span], dtype=F64)
    return entries.layer(torch.cat([-low / span * eye, (-low / span - 0.5) * eye, total]), dim)


def _next_tooth(dim: int, k: int, n_in: int) -> Layer:
    """T_(k-1) = 2 r - 4 r' into r and r', and off the running sum: s -> s - T_(k-1) / 4^(k-1)."""
    eye = torch.ones(dim, dtype=F64)
    entries = _Entries()
    for row in (0, dim):
        entries.diagonal(row, 0, 2 * eye)
        entries.diagonal(row, dim, -4 * eye)
    entries.diagonal(2 * dim, _place_of_u(dim, n_in), eye)
    entries.sum_of(3 * dim, 0, -2 * eye / 4.0 ** (k - 1))
    entries.sum_of(3 * dim, dim, 4 * eye / 4.0 ** (k - 1))
    entries.single(3 * dim, n_in - 1, 1.0)
    return entries.layer(torch.cat([torch.zeros(dim, dtype=F64), -0.5 * eye, torch.zeros(dim + 1, dtype=F64)]), n_in)


def _squares(b: Balls, n_in: int) -> Layer:
    """(r, r', u, s) -> (u, q): q = span^2 (s - T_depth / 4^depth) + 2 low span sum u + D low^2."""
    dim = b.centers.shape[1]
    span = b.high - b.low
    eye = torch.ones(dim, dtype=F64)
    last = span**2 / 4.0**b.depth
    entries = _Entries()
    entries.diagonal(0, _place_of_u(dim, n_in), eye)
    entries.sum_of(dim, 0, -2 * last * eye)
    entries.sum_of(dim, dim, 4 * last * eye)
    if b.low != 0:
        entries.sum_of(dim, _place_of_u(dim, n_in), 2 * b.low * span * eye)
    entries.single(dim, n_in - 1, span**2)
    return entries.layer(torch.cat([torch.zeros(dim, dtype=F64), torch.tensor([dim * b.low**2], dtype=F64)]), n_in)


def _place_of_u(dim: int, width: int) -> int:
    """Where a level of this width has u: in the first one it is r."""
    return 0 if width == 2 * dim + 1 else 2 * dim


LAYERS: Mapping[str, Callable[[Balls], list[Layer]]] = {
    "box": box_layers,
    "compact": compact_layers,
    "lean": lean_layers,
    "shared": shared_layers,
}
NORM_OF = {"box": math.inf, "compact": math.inf, "lean": 1.0, "shared": 2.0}
DEFAULT_VARIANT = {math.inf: "box", 1.0: "lean", 2.0: "shared"}
N_CLAMP = 2
"""Layers of the clamp."""


def is_clamped(variant: str, unbounded: bool) -> bool:
    """Whether the layers of a construction have a clamp before them.

    Args:
        variant: construction of the indicators.
        unbounded: whether inputs may lie outside of the range that it is made for.

    Returns:
        Only for `shared`: outside of the range its squares fall below the square. Where the range holds all supports,
        `compact` leaves no threshold out, and of `lean` S_i - inner >= gap: no indicator answers where S(x) < 0.

    Example:
        >>> is_clamped("shared", True), is_clamped("shared", False), is_clamped("lean", True)
        (True, False, False)
    """
    return unbounded and variant == "shared"


def clamp_layers(dim: int, low: float, high: float) -> list[Layer]:
    """Build x -> clamp(x, low, high) - low as ReLU(span - ReLU(high - x)), which no huge input rounds to another value.

    Args:
        dim: D, the number of coordinates.
        low: least coordinate of the result, before low is taken off.
        high: largest.

    Returns:
        Two layers, before the last ReLU.

    Example:
        >>> from cgro.bounds import evaluate
        >>> x = torch.tensor([[-1e30], [-1.0], [0.5], [1e30]])
        >>> evaluate(clamp_layers(1, -1.0, 2.0), x).clamp_min(0).flatten().tolist()
        [0.0, 0.0, 1.5, 3.0]
    """
    each = torch.arange(dim)
    minus = -torch.ones(dim, dtype=F64)
    levels = (high, high - low)
    return [sparse_layer(each, each, minus, torch.full((dim,), level, dtype=F64), dim) for level in levels]


def indicator_layers(variant: str, b: Balls) -> list[Layer]:
    """Build the indicators for every input of the network: with a clamp where inputs have no bounds.

    Beyond [low, high] no support reaches, so the clamp, which moves an input to the end of the range, changes no
    indicator. Without it the sawtooth falls below the square there, and indicators of far points answer (`is_clamped`).

    Args:
        variant: construction of the indicators.
        b: centers and radii.

    Returns:
        Layers up to 1 - z_i / gap_i, before the last ReLU.
    """
    if is_clamped(variant, b.unbounded):
        return [*clamp_layers(b.centers.shape[1], b.low, b.high), *LAYERS[variant](b.from_zero())]
    return LAYERS[variant](b)
