"""The soft indicators of Theorem 4.4 as ReLU layers, and how many parameters each construction has.

ind_i = ReLU(1 - z_i / gap_i) is 1 on B_p(x_i, inner) and 0 outside B_p(x_i, inner + ramp_i); z_i >= 0 is the excess of
the distance over `inner`. Layers end with 1 - z_i / gap_i, before its ReLU.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro.representation.network import Layer, sparse_layer

F64 = torch.float64


@dataclass(frozen=True)
class Balls:
    """What the layers are made from.

    Args:
        centers: (N, D) float64. inner: radius on which the indicator is 1. gap: (N,) excess at which it reaches 0.
        low, high: the box of the inputs. depth: sawtooth terms (p = 2 only).
    """

    centers: Tensor
    inner: float
    gap: Tensor
    low: float
    high: float
    depth: int = 0

    @property
    def threshold(self) -> float:
        """p = 2: the t of ReLU(q(x) - 2<x_i, x> + |x_i|^2 - t), inner^2 plus the error of the squares."""
        return self.inner**2 + sawtooth_error(self.centers.shape[1], self.low, self.high, self.depth)


def sawtooth_error(dim: int, low: float, high: float, depth: int) -> float:
    """The most by which the sawtooth square of |x|^2 is too large on the box: D (high - low)^2 / 4^(depth + 1)."""
    return dim * (high - low) ** 2 / 4.0 ** (depth + 1)


def sawtooth_excess(x: Tensor, low: float, high: float, depth: int) -> Tensor:
    """q(x) - |x|^2 >= 0, (B,): the sum over coordinates of u - sum_k T_k(u) / 4^k - u^2, scaled (Yarotsky, 2017).

    >>> round(float(sawtooth_excess(torch.tensor([[0.25, 0.5]]), 0.0, 1.0, 1)), 4)
    0.0625
    """
    u = (x.double() - low) / (high - low)
    total, tooth = u - u**2, u
    for k in range(1, depth + 1):
        tooth = 2 * tooth.clamp_min(0) - 4 * (tooth - 0.5).clamp_min(0)
        total = total - tooth / 4.0**k
    return (high - low) ** 2 * total.sum(1)


def _grid(n: int, dim: int) -> tuple[Tensor, Tensor]:
    """Point and coordinate of entry i D + j."""
    entry = torch.arange(n * dim)
    return entry // dim, entry % dim


def box_layers(b: Balls) -> list[Layer]:
    """p = inf: z_i = sum_j ReLU(x_j - x_ij - inner) + ReLU(x_ij - inner - x_j), the l_1 distance to the cube."""
    n, dim = b.centers.shape
    point, column = _grid(n, dim)
    flat, ones = b.centers.flatten(), torch.ones(n * dim, dtype=F64)
    first = sparse_layer(
        torch.arange(2 * n * dim), column.repeat(2), torch.cat([ones, -ones]),
        torch.cat([-(flat + b.inner), flat - b.inner]), dim,
    )  # fmt: skip
    second = sparse_layer(
        point.repeat(2), torch.arange(2 * n * dim), (-1 / b.gap)[point].repeat(2), torch.ones(n, dtype=F64), 2 * n * dim
    )
    return [first, second]


def _shared_thresholds(b: Balls) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct (coordinate, threshold, side) that act inside the box, (U, 3), and which of them each point uses."""
    n, dim = b.centers.shape
    point, column = _grid(n, dim)
    up, down = (b.centers + b.inner).flatten(), (b.centers - b.inner).flatten()
    live_up, live_down = up < b.high, down > b.low
    side = torch.cat([torch.ones(int(live_up.sum()), dtype=F64), -torch.ones(int(live_down.sum()), dtype=F64)])
    key = torch.stack(
        [torch.cat([column[live_up], column[live_down]]).double(), torch.cat([up[live_up], down[live_down]]), side], 1
    )
    distinct, use = torch.unique(key, dim=0, return_inverse=True)
    return distinct, use, torch.cat([point[live_up], point[live_down]])


def compact_layers(b: Balls) -> list[Layer]:
    """p = inf, inputs in the box: `box` with one neuron for equal thresholds and none for thresholds off the box.

    The same function as `box` on the box: a neuron ReLU(x_j - t) with t >= high is 0 there. Images have 256 values a
    pixel at most, so the first layer stops growing with N, and 2ND + O(D) remain of 6ND.
    """
    distinct, use, point = _shared_thresholds(b)
    column, threshold, side = distinct.T
    n_unique = len(distinct)
    first = sparse_layer(torch.arange(n_unique), column.long(), side, -side * threshold, b.centers.shape[1])
    second = sparse_layer(point, use, (-1 / b.gap)[point], torch.ones(len(b.centers), dtype=F64), n_unique)
    return [first, second]


def lean_layers(b: Balls) -> list[Layer]:
    """p = 1: z_i = ReLU(2 sum_j ReLU(x_j - x_ij) - S(x) + S_i - inner), S(x) = sum_j (x_j - low) one shared neuron."""
    n, dim = b.centers.shape
    point, column = _grid(n, dim)
    flat, size = b.centers.flatten(), n * dim
    first = sparse_layer(
        torch.cat([torch.arange(size), torch.full((dim,), size)]), torch.cat([column, torch.arange(dim)]),
        torch.ones(size + dim, dtype=F64), torch.cat([-flat, torch.tensor([-dim * b.low], dtype=F64)]), dim,
    )  # fmt: skip
    second = sparse_layer(
        torch.cat([point, torch.arange(n)]), torch.cat([torch.arange(size), torch.full((n,), size)]),
        torch.cat([torch.full((size,), 2.0, dtype=F64), -torch.ones(n, dtype=F64)]),
        (b.centers - b.low).sum(1) - b.inner, size + 1,
    )  # fmt: skip
    return [first, second, _closing(b.gap)]


def _closing(gap: Tensor) -> Layer:
    """z -> 1 - z / gap."""
    each = torch.arange(len(gap))
    return sparse_layer(each, each, -1 / gap, torch.ones(len(gap), dtype=F64), len(gap))


def shared_layers(b: Balls) -> list[Layer]:
    """p = 2: z_i = ReLU(q(x) - 2<x_i, x> + |x_i|^2 - t); the sawtooth squares of q are shared by all points."""
    n, dim = b.centers.shape
    span, each = b.high - b.low, torch.arange(dim)
    eye = torch.ones(dim, dtype=F64)

    def rows(*blocks: tuple[int, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(first output, input columns, values) on the diagonal of a block; one output for all if first < 0."""
        r = [each + start if start >= 0 else torch.full((dim,), -start) for start, _, _ in blocks]
        return torch.cat(r), torch.cat([c for _, c, _ in blocks]), torch.cat([v for _, _, v in blocks])

    # Neurons of a level: r = ReLU(T), r' = ReLU(T - 1/2), u carried on, and the running sum s. In the first, u = r.
    r, c, v = rows((0, each, eye / span), (dim, each, eye / span), (-2 * dim, each, eye / span))
    bias = torch.cat([-b.low / span * eye, (-b.low / span - 0.5) * eye, torch.tensor([-dim * b.low / span], dtype=F64)])
    layers = [sparse_layer(r, c, v, bias, dim)]
    width, carried = 2 * dim + 1, 0
    for k in range(2, b.depth + 1):
        tooth = [(0, each, 2 * eye), (0, each + dim, -4 * eye), (dim, each, 2 * eye), (dim, each + dim, -4 * eye)]
        total = [(-3 * dim, each, -2 * eye / 4.0 ** (k - 1)), (-3 * dim, each + dim, 4 * eye / 4.0 ** (k - 1))]
        r, c, v = rows(*tooth, (2 * dim, each + carried, eye), *total)
        r, c, v = (torch.cat([a, torch.tensor([z])]) for a, z in ((r, 3 * dim), (c, width - 1), (v, 1.0)))
        bias = torch.cat([torch.zeros(dim, dtype=F64), -0.5 * eye, torch.zeros(dim + 1, dtype=F64)])
        layers.append(sparse_layer(r, c, v, bias, width))
        width, carried = 3 * dim + 1, 2 * dim
    last = span**2 / 4.0**b.depth
    blocks = [(0, each + carried, eye), (-dim, each, -2 * last * eye), (-dim, each + dim, 4 * last * eye)]
    if b.low != 0:
        # |x|^2 = span^2 |u|^2 + 2 low span sum u + D low^2; without this layer's u being r itself when depth is 1.
        blocks.append((-dim, each + carried, 2 * b.low * span * eye))
    r, c, v = rows(*blocks)
    r, c, v = (torch.cat([a, torch.tensor([z])]) for a, z in ((r, dim), (c, width - 1), (v, span**2)))
    bias = torch.cat([torch.zeros(dim, dtype=F64), torch.tensor([dim * b.low**2], dtype=F64)])
    layers.append(sparse_layer(r, c, v, bias, width))
    point, column = _grid(n, dim)
    center = b.centers
    layers.append(
        sparse_layer(
            torch.cat([point, torch.arange(n)]), torch.cat([column, torch.full((n,), dim)]),
            torch.cat([-2 * span * center.flatten(), torch.ones(n, dtype=F64)]),
            (center**2).sum(1) - 2 * b.low * center.sum(1) - b.threshold, dim + 1,
        )
    )  # fmt: skip
    return [*layers, _closing(b.gap)]


def generic_count(variant: str, n: int, dim: int, depth: int = 0, low: float = 0.0) -> int:
    """Parameters of the indicator layers when no input is zero: 6ND + N, 3ND + 4N + D, ND + 4N + (8m-1)D + m.

    >>> generic_count("box", 5000, 784), generic_count("lean", 5000, 784) + 5000 + 16
    (23525000, 11785800)
    """
    shifted = low != 0
    if variant in ("box", "compact"):
        return 6 * n * dim + n
    if variant == "lean":
        return 3 * n * dim + 4 * n + dim + shifted
    return n * dim + 4 * n + (8 * depth - 1) * dim + depth + (shifted * (2 * dim + 2))


def expected_count(variant: str, b: Balls) -> int:
    """`generic_count` less the zeros that the data predict: the non-zeros of the indicator layers on these points.

    box: a bias x_ij - inner that is 0. lean: a bias x_ij = 0. shared: a weight x_ij = 0. compact: counted by distinct
    thresholds: two a neuron of the first layer, one a use, one bias a point.
    """
    n, dim = b.centers.shape
    if variant == "compact":
        distinct, use, _ = _shared_thresholds(b)
        return 2 * len(distinct) - int((distinct[:, 1] == 0).sum()) + len(use) + n
    generic = generic_count(variant, n, dim, b.depth, b.low)
    if variant == "box":
        return generic - int((b.centers == b.inner).sum()) - int((b.centers == -b.inner).sum())
    zeros = int((b.centers == 0).sum())
    if variant == "lean":
        return generic - zeros - int(((b.centers - b.low).sum(1) == b.inner).sum())
    offsets = (b.centers**2).sum(1) - 2 * b.low * b.centers.sum(1)
    half = dim if -b.low / (b.high - b.low) == 0.5 else 0  # the bias of ReLU(u - 1/2) vanishes
    return generic - zeros - int((offsets == b.threshold).sum()) - half


LAYERS: dict[str, Callable[[Balls], list[Layer]]] = {
    "box": box_layers, "compact": compact_layers, "lean": lean_layers, "shared": shared_layers,
}  # fmt: skip
NORM_OF = {"box": math.inf, "compact": math.inf, "lean": 1.0, "shared": 2.0}
DEFAULT_VARIANT = {math.inf: "box", 1.0: "lean", 2.0: "shared"}
