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

from cgro.representation.neighbors import Levels, Neighbors, apart, nearest_opposite

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


def kept_apart(levels: Levels, queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(B, N), whether some coordinate is high in one point and low in the other; from the packed bits."""
    a = levels.bits(queries)
    b = levels.bits(points)
    common = (a.high[:, :, None] & b.low[:, None]) | (a.low[:, :, None] & b.high[:, None])
    return (common != 0).any(0)


def largest_differences(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(B, N) l_inf distances with float32 differences, as the compiled search has them."""
    return np.abs(queries[:, None] - points[None]).max(2)


CLOUDS = {
    "uniform": lambda rng: rng.random((90, 65)),
    "pixels": lambda rng: rng.integers(0, 256, (90, 130)) / 255,
    "far from zero": lambda rng: 1e4 + rng.random((90, 64)),
    "negative, of many sizes": lambda rng: -np.exp(rng.normal(0, 3, (90, 7))),
    "constant coordinates": lambda rng: np.where(np.arange(70) % 3 == 0, rng.random((90, 70)), 0.5),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_bits_keep_apart_only_what_is_apart(name: str) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        points = CLOUDS[name](rng).astype(np.float32)
        distance = largest_differences(points, points)
        for share in (0.05, 0.3, 0.6):
            limit = float(np.quantile(distance[distance > 0], share)) if seed else float(distance[3, 4]) * share
            levels = apart(points, limit)
            assert levels is not None
            found = kept_apart(levels, points, points)
            assert (distance[found] >= limit).all()
        assert found.any()


@pytest.mark.parametrize("name", CLOUDS)
def test_pairs_by_bits_are_those_without_in_the_same_order(name: str) -> None:
    rng = np.random.default_rng(7)
    points = torch.from_numpy(np.concatenate([CLOUDS[name](rng) for _ in range(6)]))
    queries = points[5:400:3]
    distance = largest_differences(queries.float().numpy(), points.float().numpy())
    for share in (0.001, 0.1, 0.7):
        reach = np.quantile(distance, share) * rng.uniform(0.7, 1.0, len(points))
        expected = Neighbors(points, math.inf, bits=False).within(queries, reach)
        found = Neighbors(points, math.inf).within(queries, reach)
        np.testing.assert_array_equal(found, expected)
    assert len(expected[0]) > 1000


def test_levels_that_are_too_close_are_noticed() -> None:
    """Planted: low levels one twentieth higher keep pairs apart that are within reach."""
    points = CLOUDS["uniform"](np.random.default_rng(1)).astype(np.float32)
    levels = apart(points, 0.9)
    assert levels is not None
    wrong = Levels(levels.high, levels.low + np.float32(0.05))
    distance = largest_differences(points, points)
    assert (distance[kept_apart(levels, points, points)] >= 0.9).all()
    assert not (distance[kept_apart(wrong, points, points)] >= 0.9).all()


def test_points_that_no_bit_can_tell_apart_are_measured() -> None:
    assert apart(np.zeros((3, 5), np.float32), 0.0) is None
    assert apart(np.zeros((0, 5), np.float32), 0.1) is None
    points = torch.rand(40, 9)
    rows, cols = Neighbors(points, math.inf).within(points, np.full(40, 2.0))
    assert len(rows) == len(cols) == 1600


def test_one_prepared_set_answers_different_reaches() -> None:
    """The bits of one limit are kept for the next call: they must not be used for another limit."""
    points = torch.rand(200, 70, generator=torch.Generator().manual_seed(0))
    distance = largest_differences(points.numpy(), points.numpy())
    prepared = Neighbors(points, math.inf)
    for reach in (0.5, 0.9, 0.5, 0.0, 0.95):
        rows, cols = prepared.within(points, np.full(200, reach))
        found = np.zeros((200, 200), bool)
        found[rows, cols] = True
        assert (found >= (distance <= reach)).all()
        assert not (found & (distance > reach * 1.001 + 1e-3)).any()


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
