"""Pairs within reach and nearest points, for Assumption 4.2 and the certificate of Theorem 4.4: by brute force."""

import math
import os
import subprocess
import sys
from pathlib import Path

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


def test_the_first_process_that_compiles_gives_the_bits_of_the_later_ones(tmp_path: Path) -> None:
    """Sums of floats are rounded in an order that the compiled code decides: it must be that of the cached code."""
    code = (
        "import numpy as np\n"
        "from cgro.representation.neighbors import nearest_opposite\n"
        "points = np.random.default_rng(0).random((300, 40)).astype(np.float32)\n"
        "print(nearest_opposite(points, np.arange(300) % 3, 1.0, threads=1).tobytes().hex())\n"
    )
    found = []
    for _ in ("compiled", "from the cache"):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.append(done.stdout)
    assert list(tmp_path.rglob("*.nbc")), "the second process had something to read"
    assert found[0] == found[1]
