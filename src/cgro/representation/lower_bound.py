"""Theorem 4.7, without tricks: a worst-case family, a counting floor for every robust network, and one that is robust.

The counting argument below is our derivation (Warren's theorem, layer by layer), not the paper's text; its constant is
explicit. It says that SOME labeling of the grid is hard, and names none.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro._check import BadRequest, bad, count, number, seed_number
from cgro.bounds import Interval, Layer, dense_layer, propagate_intervals

SLACK = 1e-9
"""The network is made for a radius this much larger (relatively), so that rounding cannot leave the ball."""

LARGEST_GRID = 2**16
"""Points of the largest family that is written down."""

F64 = torch.float64


def grid_side(radius: float) -> int:
    """Return k, the largest integer with 1 / (k - 1) > 2 radius: neighbors on the grid are more than 2 radius apart.

    Args:
        radius: delta in (0, 1/2).

    Returns:
        k, points per coordinate.

    Raises:
        BadRequest: a radius of 1/2 or more.

    Example:
        >>> grid_side(0.1), grid_side(0.2)
        (5, 3)
    """
    radius = number(radius, "radius", low=1e-6)
    if radius >= 0.5:
        raise bad("radius", expected="below 1/2, or no two grid points fit into the box", got=f"{radius:g}")
    k = math.ceil(1 / (2 * radius)) + 1
    while 1 / (k - 1) <= 2 * radius:
        k -= 1
    return k


def binary_entropy(share: float) -> float:
    """Return H(a) = -a log2 a - (1 - a) log2 (1 - a), in bits.

    Args:
        share: a in [0, 1].

    Returns:
        H(a); 0 at both ends.

    Raises:
        BadRequest: a share outside of [0, 1].

    Example:
        >>> binary_entropy(0.5), binary_entropy(0.0)
        (1.0, 0.0)
    """
    share = number(share, "share", low=0.0, high=1.0)
    if share in (0, 1):
        return 0.0
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)


def _log2_growth(log2_w: float, n_layers: int, log2_m: float, dim: int) -> float:
    """log2 of [ L + L W log2(2 e m L) + W log2(e (D + W + 1)(W + 1) / W) ] for W = 2^log2_w, safe for huge m."""
    log2_sum = max(log2_w, 0.0) + math.log2(2.0 ** min(0.0, log2_w) + (dim + 1) * 2.0 ** -max(log2_w, 0.0))
    shape = math.log2(math.e) + log2_sum + math.log2(1 + 2.0**-log2_w)
    per_weight = n_layers * (math.log2(2 * math.e * n_layers) + log2_m) + shape
    return log2_w + math.log2(per_weight + n_layers * 2.0**-log2_w)


def log2_floor(radius: float, dim: int, *, n_layers: int = 3, error: float = 0.1) -> float | None:
    """Return log2 of the parameters that a robust network must exceed on the worst labeling (Theorem 4.7, counted).

    The m = k^(D-1) grid points need m labels. At most 2^G(W) labelings are realized by networks with W non-zero
    parameters in L weight layers, G = L + L W log2(2 e m L) + W log2(e (D+W+1)(W+1)/W); each is within error a of at
    most 2^(H(a) m) others. While G + H(a) m < m some labeling has robust error above a for every such network, in
    any l_p norm. It does not say which labeling, nor anything about a data set such as MNIST.

    Args:
        radius: delta, of the threat.
        dim: D >= 2.
        n_layers: L.
        error: a in [0, 1/2).

    Returns:
        log2 of the largest such W, or None where the argument is vacuous (not even W = 1).

    Raises:
        BadRequest: a value out of its range.

    Example:
        >>> [round(log2_floor(0.1, d), 1) for d in (5, 10, 20, 50, 784)]
        [2.9, 13.5, 35.7, 104.0, 1804.3]
    """
    dim = count(dim, "dim", low=2)
    n_layers = count(n_layers, "n_layers")
    error = number(error, "error", low=0.0, high=0.4999999)
    log2_m = (dim - 1) * math.log2(grid_side(radius))
    budget = log2_m + math.log2(1 - binary_entropy(error))
    if _log2_growth(0.0, n_layers, log2_m, dim) >= budget:
        return None
    low = 0.0
    high = log2_m
    for _ in range(200):  # bisection to the last bit: the growth rises with W
        middle = (low + high) / 2
        if _log2_growth(middle, n_layers, log2_m, dim) < budget:
            low = middle
        else:
            high = middle
    return low


def log2_construction(radius: float, dim: int) -> float:
    """Return log2 of the parameters of `robust_network` on a random labeling: 5 (k-1)(D-1) + 1.5 m.

    Args:
        radius: delta.
        dim: D >= 2.

    Returns:
        log2 of the count; a random labeling has m / 2 runs of equal labels.

    Raises:
        BadRequest: a radius of 1/2 or more, a dimension below 2.

    Example:
        >>> 3.9 < log2_construction(0.2, 3) < 6
        True
    """
    k = grid_side(radius)
    dim = count(dim, "dim", low=2)
    log2_m = (dim - 1) * math.log2(k)
    linear = 5 * (k - 1) * (dim - 1)
    return log2_m + math.log2(1.5 + linear * 2.0**-log2_m)


@dataclass(frozen=True)
class Family:
    """The points (s, 1/2 + eta phi(s)), s in a grid of k^(D-1), labeled phi(s); clean error 0 with 2 parameters.

    Args:
        points: (m, D) float64.
        labels: (m,) phi, -1 / +1.
        digits: (m, D-1) grid positions 0 .. k-1.
        radius: delta.
        side: k.
    """

    points: Tensor
    labels: Tensor
    digits: Tensor
    radius: float
    side: int


def _grid_digits(side: int, dim: int) -> Tensor:
    """The digits to base k of 0 .. k^(D-1) - 1, lowest first, (m, D-1)."""
    return torch.arange(side ** (dim - 1))[:, None] // side ** torch.arange(dim - 1) % side


def worst_case_family(radius: float, dim: int, labels: Tensor | None = None, *, seed: int = 0) -> Family:
    """Build the family of Theorem 4.7 with given or random labels, eta = radius / 2.

    Classes are then more than 2 radius apart, as the grid points are.

    Args:
        radius: delta.
        dim: D >= 2.
        labels: (k^(D-1),) phi; None for random ones, which may all be equal.
        seed: of random labels.

    Returns:
        The family.

    Raises:
        BadRequest: a grid of more than 65,536 points, labels that do not fit, a dimension below 2.

    Example:
        >>> f = worst_case_family(0.2, 3)
        >>> len(f.points), bool(((f.points[:, -1] - 0.5).sign() == f.labels).all())
        (9, True)
    """
    k = grid_side(radius)
    radius = number(radius, "radius")
    dim = count(dim, "dim", low=2)
    if (dim - 1) * math.log2(k) > math.log2(LARGEST_GRID):
        raise bad("dim", expected=f"a grid of at most {LARGEST_GRID} points", got=f"{k}^{dim - 1}")
    digits = _grid_digits(k, dim)
    m = len(digits)
    if labels is None:
        labels = 2 * torch.randint(0, 2, (m,), generator=torch.Generator().manual_seed(seed_number(seed))) - 1
    if labels.shape != (m,) or not bool((labels.abs() == 1).all()):
        raise bad("labels", expected=f"{m} values -1 or +1", got=tuple(labels.shape))
    last = 0.5 + radius / 2 * labels.double()
    return Family(torch.cat([digits.double() / (k - 1), last[:, None]], 1), labels, digits, radius, k)


def checkerboard(radius: float, dim: int) -> Tensor:
    """Return the labeling (-1)^(sum of digits): it looks hard, and 8 (k-1)(D-1) + O(1) parameters realize it.

    Args:
        radius: delta.
        dim: D >= 2.

    Returns:
        (k^(D-1),) labels -1 / +1.

    Raises:
        BadRequest: a radius of 1/2 or more, a dimension below 2.
    """
    return 1 - 2 * (_grid_digits(grid_side(radius), count(dim, "dim", low=2)).sum(1) % 2)


def _interpolation(values: Tensor) -> tuple[Tensor, Tensor, float, float]:
    """A zigzag of slopes +-1 with the sign of values[i] at i and size >= 1/2: kinks, slope changes, offset, slope.

    It crosses 0 midway between runs of equal sign and turns in the middle of each inner run.
    """
    change = torch.nonzero(values[1:] != values[:-1]).squeeze(1).double() + 0.5
    first = float(values[0])
    if not len(change):
        return change, change, first, 0.0
    kinks = (change[1:] + change[:-1]) / 2
    slope = -first
    turns = 2 * first * (-1.0) ** torch.arange(len(kinks), dtype=F64)
    return kinks, turns, -slope * float(change[0]), slope


def _labels_by_index(family: Family, index: Tensor) -> Tensor:
    """The label at every integer 0 .. max(index); integers that no point has take that of the last one before."""
    values = torch.zeros(int(index.max()) + 1, dtype=F64)
    values[index] = family.labels.double()
    if not bool((values[index] == family.labels).all()):
        raise BadRequest("projection: expected one label per index, got different labels on one; use k^j")
    known = torch.nonzero(values).squeeze(1)
    last_known = (torch.arange(len(values))[:, None] >= known).sum(1).clamp_min(1) - 1
    return values[known[last_known]]


def robust_network(family: Family, *, projection: Tensor | None = None) -> list[Layer]:
    """Round, project, interpolate: a network that is right on every ball of the family, 5 weight layers.

    It meets the floor of Theorem 4.7 up to logarithms. v_jt = ReLU(1 - ReLU(1 - (x_j - a_t)/w)) is 1 exactly if the
    digit is at least t, anywhere in the ball; the index sum_j c_j sum_t v_jt is then an integer, and a zigzag through
    the labels along the index has their sign. 5 (k-1)(D-1) + 3 (runs) + O(1) parameters, runs of equal labels along the
    index.

    Args:
        family: points and labels.
        projection: (D-1,) integer weights c; None takes k^j, which tells all points apart.

    Returns:
        Five layers, outputs (B, 1).

    Raises:
        BadRequest: the projection maps points of different labels to one index.

    Example:
        >>> f = worst_case_family(0.2, 3)
        >>> float(family_margins(robust_network(f), f).min())
        0.5
    """
    n_steps = family.side - 1
    n = family.digits.shape[1]
    weights = family.side ** torch.arange(n) if projection is None else projection
    kinks, turns, offset, slope = _interpolation(_labels_by_index(family, family.digits @ weights))
    # Step t of a coordinate rises from 0 to 1 between the balls of digits t - 1 and t.
    h = 1 / n_steps
    inner = family.radius * (1 + SLACK)
    start = torch.arange(n_steps, dtype=F64) * h + inner
    width = h - 2 * inner
    steps = torch.zeros(n * n_steps, n + 1, dtype=F64)
    steps[torch.arange(n * n_steps), torch.arange(n).repeat_interleave(n_steps)] = -1 / width
    eye = torch.eye(n * n_steps, dtype=F64)
    lines = torch.cat([torch.zeros(1, dtype=F64), -kinks])
    slopes = torch.cat([torch.tensor([slope], dtype=F64), turns])
    return [
        dense_layer(steps, 1 + start.repeat(n) / width),
        dense_layer(-eye, torch.ones(len(eye))),
        dense_layer(weights.double().repeat_interleave(n_steps)[None]),
        dense_layer(torch.ones(len(lines), 1, dtype=F64), lines),
        dense_layer(slopes[None], torch.tensor([offset])),
    ]


def family_margins(layers: list[Layer], family: Family) -> Tensor:
    """Certify y f on every ball of the family, by interval arithmetic.

    Args:
        layers: of a network with outputs (B, 1).
        family: points, labels and radius.

    Returns:
        (m,) lower bounds of y f over ‖X' - X‖_inf <= radius; sound for smaller balls such as l_1 and l_2.
    """
    balls = Interval(family.points - family.radius, family.points + family.radius)
    low, high = propagate_intervals(layers, balls)[-1]
    return torch.where(family.labels > 0, low[:, 0], -high[:, 0])
