"""Theorem 4.7: the counting against brute force in big integers, the construction against its certificate."""

import math
from fractions import Fraction

import pytest
import torch

from cgro._check import BadRequest
from cgro.bounds import evaluate
from cgro.representation.lower_bound import (
    binary_entropy,
    checkerboard,
    family_margins,
    grid_side,
    log2_construction,
    log2_floor,
    robust_network,
    worst_case_family,
)


def growth(w: int, n_layers: int, m: int, dim: int) -> float:
    shape = math.log2(math.e) + math.log2(dim + w + 1) + math.log2(w + 1) - math.log2(w)
    return n_layers + n_layers * w * (math.log2(2 * math.e * n_layers) + math.log2(m)) + w * shape


@pytest.mark.parametrize(("radius", "error", "n_layers"), [(0.1, 0.1, 3), (0.2, 0.0, 2), (0.05, 0.3, 6)])
def test_floor_is_the_last_width_that_counting_excludes(radius, error, n_layers):
    for dim in (5, 6, 8):
        k = grid_side(radius)
        m = k ** (dim - 1)
        budget = m * (1 - binary_entropy(error))
        w = 0
        while growth(w + 1, n_layers, m, dim) < budget and w < 20_000:
            w += 1
        floor = log2_floor(radius, dim, n_layers=n_layers, error=error)
        if w == 0:
            assert floor is None
        elif w < 20_000:
            assert floor is not None
            assert math.floor(2**floor + 1e-9) == w


def test_floor_stays_finite_where_the_grid_does_not_fit_a_float():
    floor = log2_floor(0.1, 784)
    assert floor is not None
    assert 1803 < floor < 1805


def test_grid_neighbors_are_more_than_two_radii_apart():
    for radius in (0.01, 0.05, 0.1, 0.125, 0.2, 0.24, 0.25, 0.3, 0.49):
        k = grid_side(radius)
        assert Fraction(1, k - 1) > 2 * Fraction(radius)
        assert Fraction(1, k) <= 2 * Fraction(radius)
    with pytest.raises(BadRequest, match="1/2"):
        grid_side(0.5)


@pytest.mark.parametrize(("radius", "dim"), [(0.2, 2), (0.2, 4), (0.2, 7), (0.1, 4), (0.3, 5)])
def test_construction_is_certified_on_every_ball_and_as_small_as_stated(radius, dim):
    for seed in range(3):
        family = worst_case_family(radius, dim, seed=seed)
        layers = robust_network(family)
        assert float(family_margins(layers, family).min()) >= 0.5 - 1e-9
        assert len(layers) == 5
        runs = 1 + int((family.labels[1:] != family.labels[:-1]).sum())
        size = sum(a.n_nonzero for a in layers)
        assert size <= 5 * (grid_side(radius) - 1) * (dim - 1) + 3 * runs + 2
        g = torch.Generator().manual_seed(seed)
        inside = family.points + family.radius * (
            2 * torch.rand(family.points.shape, generator=g, dtype=torch.float64) - 1
        )
        assert (evaluate(layers, inside)[:, 0].sign() == family.labels).all()


def test_a_known_labeling_costs_51_parameters():
    """k = 3, D - 1 = 3, 7 runs: the notes give 51 parameters."""
    labels = torch.tensor([1, 1, 1, -1, -1, 1, 1, 1, 1, -1, 1, 1, -1, -1, 1] + [1] * 12)
    family = worst_case_family(0.2, 4, labels)
    assert 1 + int((labels[1:] != labels[:-1]).sum()) == 7
    assert sum(a.n_nonzero for a in robust_network(family)) <= 51


def test_checkerboard_is_easy_and_a_wrong_projection_is_refused():
    for radius, dim in ((0.2, 6), (0.1, 4)):
        family = worst_case_family(radius, dim, checkerboard(radius, dim))
        ones = family.digits.new_ones(dim - 1)
        layers = robust_network(family, projection=ones)
        assert float(family_margins(layers, family).min()) >= 0.5 - 1e-9
        assert sum(a.n_nonzero for a in layers) <= 8 * (grid_side(radius) - 1) * (dim - 1) + 3
    random = worst_case_family(0.2, 4, seed=1)
    with pytest.raises(BadRequest, match="different labels on one"):
        robust_network(random, projection=torch.ones(3, dtype=torch.long))


def test_a_radius_beyond_the_construction_is_not_certified():
    family = worst_case_family(0.2, 3)
    wider = type(family)(family.points, family.labels, family.digits, 0.26, family.side)
    assert float(family_margins(robust_network(family), wider).min()) < 0.5


def test_bad_requests_are_one_line():
    for share in (-0.1, 1.5, math.nan):
        with pytest.raises(BadRequest, match=r"share: expected a finite number in \[0, 1\]"):
            binary_entropy(share)
    for function in (worst_case_family, checkerboard, log2_floor, log2_construction):
        with pytest.raises(BadRequest, match="dim: expected an integer >= 2, got 1"):
            function(0.2, 1)
    assert len(worst_case_family(0.2, 3.0).points) == 9  # type: ignore[arg-type]
    assert grid_side("1/5") == grid_side(0.2) == 3  # type: ignore[arg-type]
