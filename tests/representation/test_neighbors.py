"""Pairs within reach and nearest points, against brute force."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from cgro.representation.neighbors import Neighbors, nearest_opposite

NORMS = [math.inf, 1.0, 2.0]


@pytest.mark.parametrize("p", NORMS)
def test_active_pairs_hold_every_pair_within_reach(p):
    g = torch.Generator().manual_seed(1)
    points, queries = torch.rand(600, 150, generator=g), torch.rand(33, 150, generator=g)
    queries[:20] = points[:20] + 0.05 * torch.randn(20, 150, generator=g)
    d = torch.cdist(queries.double(), points.double(), p=p)
    reach = d.flatten().kthvalue(9000).values * (0.5 + torch.rand(600, generator=g, dtype=torch.float64))
    rows, cols = Neighbors(points, p).within(queries, reach.numpy())
    found = torch.zeros(33, 600, dtype=torch.bool)
    found[rows, cols] = True
    assert (found >= (d <= reach)).all()
    assert not (found & (d > reach * 1.001 + 1e-3)).any(), "exceeds by rounding only"
    assert len(rows) > 4 * 33 + 1024, "the buffer was enlarged"


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("seed", range(4))
def test_pairs_within_reach_are_those_of_brute_force(p: float, seed: int) -> None:
    """Every pair within reach, also at the very edge, and none beyond it by more than rounding."""
    rng = np.random.default_rng(seed)
    points, queries = rng.random((300, 40)).astype(np.float32), rng.random((290, 40)).astype(np.float32)
    queries[:20] = points[:20]
    d = cdist(
        queries.astype(float), points.astype(float), {1.0: "cityblock", 2.0: "euclidean", math.inf: "chebyshev"}[p]
    )
    reach = np.quantile(d, rng.uniform(0.0, 0.2, 300), axis=None)
    reach[5] = d[7, 5]  # exactly on the edge
    rows, cols = Neighbors(torch.from_numpy(points), p).within(torch.from_numpy(queries), reach)
    found = set(zip(rows.tolist(), cols.tolist(), strict=True))
    assert len(found) == len(rows)
    assert set(zip(*(v.tolist() for v in np.nonzero(d <= reach)), strict=True)) <= found
    assert found <= set(zip(*(v.tolist() for v in np.nonzero(d <= reach * (1 + 1e-4) + 1e-4)), strict=True))
    assert (7, 5) in found


def test_squared_distances_of_pixels_are_exact_integers() -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.integers(0, 256, (600, 784)), rng.integers(0, 3, 600)
    truth = cdist(points, points, "sqeuclidean")
    truth[labels[:, None] == labels] = np.inf
    found = nearest_opposite(points.astype(np.float32), labels, 2.0, integers=True)
    assert np.array_equal(found, truth.min(1))
    assert np.array_equal(found, nearest_opposite(points.astype(np.float32), labels, 2.0))
