"""The three pieces of projections against bisection and a greedy loop, one example and coordinate at a time."""

import math

import pytest
import torch
from torch import Tensor

from cgro.definitions.projections import fill_largest, scale_to_sphere, shrink_to_simplex


def cases(seed: int) -> tuple[Tensor, Tensor]:
    """Sizes and rooms with zeros, ties, and coordinates whose room is none or without an end."""
    g = torch.Generator().manual_seed(seed)
    size = torch.rand(6, 9, generator=g, dtype=torch.float64)
    room = torch.rand(6, 9, generator=g, dtype=torch.float64)
    size[torch.rand(6, 9, generator=g) < 0.2] = 0.0
    size[:, 1] = size[:, 0]
    room[torch.rand(6, 9, generator=g) < 0.2] = math.inf
    room[torch.rand(6, 9, generator=g) < 0.1] = 0.0
    return size, room


def bisected(rises, target: float, high: float) -> float:
    """The largest x in [0, high] with rises(x) <= target."""
    low = 0.0
    if rises(high) <= target:
        return high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) <= target else (low, middle)
    return low


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("radius", [0.05, 0.7, 1.3, 5.0])
@pytest.mark.parametrize("largest", [1.0, 1e6])
def test_scaling_to_a_sphere(seed: int, radius: float, largest: float) -> None:
    size, room = cases(seed)
    found = scale_to_sphere(size, room, radius, largest)
    for a, cap, moved in zip(size, room, found, strict=True):
        s = bisected(lambda s, a=a, cap=cap: float(torch.minimum(s * a, cap).norm()), radius, largest)
        expected = torch.minimum(s * a, cap)
        torch.testing.assert_close(moved, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("radius", [0.05, 0.7, 1.3, 9.0])
def test_shrinking_to_a_simplex(seed: int, radius: float) -> None:
    size, room = cases(seed)
    found = shrink_to_simplex(size, room, radius)
    for a, cap, kept in zip(size, room, found, strict=True):
        left = bisected(lambda u, a=a, cap=cap: float(torch.minimum((a - 1 + u).clamp_min(0), cap).sum()), radius, 1.0)
        expected = torch.minimum((a - 1 + left).clamp_min(0), cap)
        torch.testing.assert_close(kept, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [0.1, 1.0, 20.0])
def test_filling_the_largest(seed: int, budget: float) -> None:
    weight, room = cases(seed)
    found = fill_largest(weight, room, budget)
    for w, cap, given in zip(weight.tolist(), room.tolist(), found.tolist(), strict=True):
        left = budget
        expected = [0.0] * len(w)
        for k in sorted(range(len(w)), key=lambda k: -w[k]):  # stable, as the code: of equals the first
            if w[k] > 0:
                expected[k] = min(cap[k], left)
                left -= expected[k]
        assert given == pytest.approx(expected, abs=1e-12)


def test_a_planted_fault_is_seen() -> None:
    """Without the room the sphere is another one: the oracle above tells them apart."""
    size, room = cases(0)
    plain = size / size.norm(dim=1, keepdim=True).clamp_min(1e-30) * 0.7
    assert not torch.allclose(scale_to_sphere(size, room, 0.7), plain, atol=1e-3)
