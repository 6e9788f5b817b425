"""The memorizer of Theorem 4.4 on the worst-case family of Theorem 4.7: CGRO whose errors are known to the last point.

It shows Remark 3.5: as the dimension grows, clean and robust training error stay 0 and robust test error goes to 1.
"""

import math

import numpy as np
import torch
from torch import Tensor

from cgro._check import count
from cgro.definitions import ThreatModel
from cgro.representation.certificate import certify
from cgro.representation.lower_bound import Family, grid_side, worst_case_family
from cgro.representation.memorizer import RobustMemorizer
from cgro.representation.separation import Separation
from cgro.results import FamilyRow

STEEP = 1e3
"""Slope of the clean score; any that is large keeps float64 rounding away from its sign."""

LARGEST_DIM = 64


def _clean(x: Tensor) -> Tensor:
    """sign(x_D - 1/2) as a score: 2 parameters, error 0 on the whole family."""
    return STEEP * (x[:, -1] - 0.5)


def errors_on_family(
    radius: float, dim: int, n_points: int = 300, *, p: float | str = "inf", seed: int = 0
) -> FamilyRow:
    """Measure the memorizer trained on N draws from the family, exactly, over all m points of it.

    Its balls are certified on the points that were drawn. On every other point the adversary moves the last
    coordinate across 1/2, by twice eta = radius / 2, where F is f_clean: robust test error = 1 - |seen| / m.

    Labels and draws are not conditioned on: where all draws have one label (half of all labelings of two points do),
    the errors are as exact, and their expectation over all draws is (1 - 1/m)^N.

    Args:
        radius: delta.
        dim: D >= 2.
        n_points: N >= 1 draws with replacement.
        p: norm.
        seed: of labels and draws.

    Returns:
        The errors.

    Raises:
        BadRequest: a grid of more than 65,536 points, a radius of 1/2 or more, no draw, a dimension below 2.

    Example:
        >>> r = errors_on_family(0.2, 4, 20)
        >>> r.exact, r.clean_test, round(r.robust_test, 9) == round(1 - r.seen / 27, 9)
        (True, 0.0, True)
    """
    n_points = count(n_points, "n_points")
    family = worst_case_family(radius, dim, seed=seed)
    radius, dim = family.radius, family.points.shape[1]
    m = len(family.points)
    draws = torch.randint(0, m, (n_points,), generator=torch.Generator().manual_seed(seed + 1)).unique()
    seen = torch.zeros(m, dtype=torch.bool)
    seen[draws] = True
    threat = ThreatModel(p, radius)
    labels = family.labels[draws]
    apart = None
    if len(labels.unique()) == 1:
        apart = _grid_separation(family, len(draws), threat.p)
    memorizer = RobustMemorizer(_clean, family.points[draws], labels, threat, separation=apart)
    certificate = certify(memorizer)
    flipped = family.points.clone()
    flipped[:, -1] = 1 - flipped[:, -1]
    broken = ~(memorizer(flipped) * family.labels > 0)
    wrong = memorizer(family.points) * family.labels <= 0
    return FamilyRow(
        dim=dim,
        m=m,
        n=n_points,
        p=str(p),
        radius=radius,
        seen=int(seen.sum()),
        clean_test=float(wrong.double().mean()),
        robust_train=1 - float((certificate.margin > 0).double().mean()),
        robust_test=float(broken.double().mean()),
        expected=expected_unseen(radius, dim, n_points),
        exact=bool((broken == ~seen).all()) and certificate.holds,
    )


def _grid_separation(family: Family, n: int, p: float) -> Separation:
    """How far n points of one label are from the other class: what the family grants, as the sample has none of it.

    Two points of different labels differ in a coordinate of the grid, by 1 / (k - 1) or more, in every l_p.
    """
    step = 1 / (family.side - 1)
    return Separation(p, step, (0, 0), np.full(n, step), None)


def expected_unseen(radius: float, dim: int, n: int) -> float:
    """Return (1 - 1/m)^N: the expected robust test error of the memorizer that saw N draws from the family.

    Args:
        radius: delta.
        dim: D >= 2.
        n: N draws with replacement.

    Returns:
        The expected share of points that were not drawn.

    Raises:
        BadRequest: a radius of 1/2 or more, a dimension below 2.

    Example:
        >>> round(expected_unseen(0.2, 6, 300), 3)
        0.29
    """
    dim = count(dim, "dim", low=2)
    return math.exp(count(n, "n", low=0) * math.log1p(-(float(grid_side(radius)) ** -(dim - 1))))


def dims_of_grids_up_to(radius: float, largest: int) -> list[int]:
    """List the dimensions from 2 on whose family has at most so many points.

    Args:
        radius: delta.
        largest: the most points.

    Returns:
        Dimensions in increasing order.

    Example:
        >>> dims_of_grids_up_to(0.2, 30)
        [2, 3, 4]
    """
    k = grid_side(radius)
    return [dim for dim in range(2, LARGEST_DIM) if k ** (dim - 1) <= largest]
