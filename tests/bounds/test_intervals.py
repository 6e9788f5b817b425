"""Interval arithmetic: sound on sampled points, tight where a vertex attains the bound, exact where nothing varies."""

import itertools

import pytest
import torch

from cgro.bounds import (
    Interval,
    affine_image,
    dense_layer,
    enclosing_box,
    evaluate,
    product,
    propagate_intervals,
)
from cgro.definitions import ThreatModel

F64 = torch.float64


def random_box(shape: tuple[int, ...], g: torch.Generator) -> Interval:
    low = torch.randn(shape, generator=g, dtype=F64)
    return Interval(low, low + torch.rand(shape, generator=g, dtype=F64))


def vertices(box: Interval) -> torch.Tensor:
    """All 2^D corners of a box (1, D)."""
    return torch.tensor(
        list(itertools.product(*zip(box.low[0].tolist(), box.high[0].tolist(), strict=True))), dtype=F64
    )


def test_affine_bounds_are_attained_at_corners() -> None:
    g = torch.Generator().manual_seed(0)
    box = random_box((1, 6), g)
    weight, bias = torch.randn(4, 6, generator=g, dtype=F64), torch.randn(4, generator=g, dtype=F64)
    values = vertices(box) @ weight.T + bias
    for found in (affine_image(box, weight, bias), propagate_intervals([dense_layer(weight, bias)], box)[0]):
        torch.testing.assert_close(found.low[0], values.amin(0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.high[0], values.amax(0), rtol=1e-12, atol=1e-12)


def test_one_matrix_per_example_is_each_example_alone() -> None:
    g = torch.Generator().manual_seed(1)
    box = random_box((3, 5), g)
    weight, bias = torch.randn(3, 4, 5, generator=g, dtype=F64), torch.randn(3, 4, generator=g, dtype=F64)
    found = affine_image(box, weight, bias)
    for i in range(3):
        alone = affine_image(Interval(box.low[i : i + 1], box.high[i : i + 1]), weight[i], bias[i])
        torch.testing.assert_close(found.low[i], alone.low[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.high[i], alone.high[0], rtol=1e-12, atol=1e-12)


def test_network_bounds_hold_on_samples_and_points_are_not_widened() -> None:
    g = torch.Generator().manual_seed(2)
    layers = [
        dense_layer(torch.randn(n_out, n_in, generator=g, dtype=F64), torch.randn(n_out, generator=g, dtype=F64))
        for n_out, n_in in ((8, 4), (6, 8), (2, 6))
    ]
    box = random_box((1, 4), g)
    x = box.low + torch.rand(500, 4, generator=g, dtype=F64) * (box.high - box.low)
    for depth, bounds in enumerate(propagate_intervals(layers, box), 1):
        values = evaluate(layers[:depth], x)
        assert bool((values >= bounds.low - 1e-12).all())
        assert bool((values <= bounds.high + 1e-12).all())
    low, high = propagate_intervals(layers, Interval(x, x))[-1]
    assert torch.equal(low, high)
    torch.testing.assert_close(low, evaluate(layers, x), rtol=1e-12, atol=1e-12)


def test_products_cover_every_pair_of_factors() -> None:
    g = torch.Generator().manual_seed(3)
    a, b = random_box((50,), g), random_box((50,), g)
    found = product(a, b)
    grid = torch.linspace(0, 1, 11, dtype=F64)
    values = torch.stack([(a.low + s * (a.high - a.low)) * (b.low + t * (b.high - b.low)) for s in grid for t in grid])
    assert bool((values >= found.low - 1e-12).all())
    assert bool((values <= found.high + 1e-12).all())
    torch.testing.assert_close(values.amin(0), found.low, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(values.amax(0), found.high, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("box", [(0.0, 1.0), None])
def test_the_box_encloses_what_the_threat_can_reach(p: str, box: tuple[float, float] | None) -> None:
    g = torch.Generator().manual_seed(4)
    x = torch.rand(20, 5, generator=g)
    threat = ThreatModel(p, 0.3, box)
    found = enclosing_box(x, threat)
    inside = threat.project(x + torch.randn(20, 5, generator=g), x).double()
    assert bool((inside >= found.low - 1e-6).all())
    assert bool((inside <= found.high + 1e-6).all())
    wider = enclosing_box(x, threat, scale=2.0)
    assert bool((wider.low <= found.low).all())
    assert bool((wider.high >= found.high).all())
    if box is None:
        torch.testing.assert_close(wider.high - wider.low, 2 * (found.high - found.low))
