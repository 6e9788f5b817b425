"""Assumption 4.2: exact distances between classes against a slow second implementation."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from cgro._check import BadRequest
from cgro.representation.separation import as_pixels, separation

NORMS = [math.inf, 1.0, 2.0]


def exact_table(x: torch.Tensor, y: torch.Tensor, p: float) -> list[int]:
    """Nearest opposite point in Python integers; squares for p = 2."""
    rows, labels = x.flatten(1).tolist(), y.tolist()
    result = []
    for a, s in zip(rows, labels, strict=True):
        found = []
        for b, t in zip(rows, labels, strict=True):
            if s != t:
                d = [abs(u - v) for u, v in zip(a, b, strict=True)]
                found.append(max(d) if p == math.inf else sum(d) if p == 1 else sum(v * v for v in d))
        result.append(min(found))
    return result


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("threads", [1, 2])
def test_pixels_are_compared_in_integers(p, threads):
    g = torch.Generator().manual_seed(int(min(p, 9)))
    x = torch.randint(0, 256, (90, 1, 13, 11), generator=g).to(torch.uint8)
    y = torch.randint(0, 3, (90,), generator=g)
    found = separation(x, y, p, threads=threads)
    table = exact_table(x, y, p)
    assert found.exact is not None
    assert found.exact.tolist() == table
    i, k = found.pair
    assert y[i] != y[k]
    assert i == int(np.argmin(table))
    from_floats = separation(x.float() / 255, y, p)
    assert from_floats.exact is not None
    assert from_floats.exact.tolist() == table


def test_blocks_and_tiles_do_not_lose_a_pair():
    """More rows than a block and a tile; the one close pair sits far apart in the order."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (700, 70), generator=g).to(torch.uint8)
    x[650] = x[3]
    x[650, 69] ^= 7
    y = torch.arange(700) % 2
    y[650], y[3] = 1, 0
    for p in NORMS:
        found = separation(x, y, p)
        assert found.pair == (3, 650)
        d = torch.cdist(x.double(), x.double(), p=p)
        d[y[:, None] == y[None]] = math.inf
        nearest = d.min(1).values / 255
        assert torch.allclose(torch.from_numpy(found.nearest), nearest, rtol=1e-6)


@pytest.mark.parametrize("p", NORMS)
def test_floats_are_rounded_down(p):
    g = torch.Generator().manual_seed(4)
    x, y = torch.rand(40, 37, generator=g, dtype=torch.float64), torch.arange(40) % 2
    found = separation(x, y, p)
    for i in range(40):
        rows = [[abs(Fraction(float(a)) - Fraction(float(b))) for a, b in zip(x[i], x[k], strict=True)]
                for k in range(40) if y[k] != y[i]]  # fmt: skip
        if p == 2:
            truth = min(sum(v * v for v in row) for row in rows)
            assert Fraction(float(found.nearest[i])) ** 2 <= truth
            assert float(found.nearest[i]) ** 2 >= float(truth) * (1 - 1e-13)
        else:
            truth = min(max(row) if p == math.inf else sum(row) for row in rows)
            assert Fraction(float(found.nearest[i])) <= truth
            assert float(found.nearest[i]) >= float(truth) * (1 - 1e-13)


def test_requests_that_cannot_be_done():
    x = torch.rand(4, 2)
    with pytest.raises(BadRequest, match="two classes"):
        separation(x, torch.ones(4), 2)
    with pytest.raises(BadRequest, match="one per point"):
        separation(x, torch.ones(3), 2)
    with pytest.raises(BadRequest, match="NaN"):
        separation(torch.full((4, 2), torch.nan), torch.arange(4), 2)
    with pytest.raises(BadRequest, match="1, 2 or inf"):
        separation(x, torch.arange(4), 3)


def test_a_radius_just_too_large_is_not_printed_as_the_limit() -> None:
    found = separation(torch.tensor([[0.0], [190 / 255]]), torch.tensor([0, 1]), "inf")
    with pytest.raises(BadRequest) as refused:
        found.require(found.value / 2 + 1e-9)
    assert "expected below 0.37254902, half the l_inf separation 0.745098, got 0.372549021;" in str(refused.value)
    with pytest.raises(BadRequest, match=r"1 / \(2 \+ 1e-06\) of the l_inf separation 0.745098"):
        found.require(found.value / 2, 1e-6)


def test_the_pair_is_the_nearest_in_its_own_norm() -> None:
    """From the point 0 the nearest is another one in each norm: 1.0, 1.2, 1.6 in l_1; 1.0, 0.85, 0.8 in l_2; ..."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.6, 0.6], [0.7, 0.4], [-9.0, -9.0]], dtype=torch.float64)
    y = torch.tensor([0, 1, 1, 1, 0])
    for p in NORMS:
        table = torch.cdist(x, x, p=p)[0, 1:4]
        assert len({float(v) for v in table}) == 3
        assert separation(x, y, p).pair == (0, 1 + int(table.argmin()))
    assert {separation(x, y, p).pair[1] for p in NORMS} == {1, 2, 3}


def test_pixels_are_told_from_other_floats() -> None:
    every = torch.arange(256) / 255
    found = as_pixels(every)
    assert found is not None
    assert found.dtype == torch.uint8
    assert found.tolist() == list(range(256))
    for other in (256 / 255, -1 / 255, 0.5, 1 / 254):
        assert as_pixels(torch.tensor([0.0, other])) is None
    bytes_ = torch.tensor([3], dtype=torch.uint8)
    assert as_pixels(bytes_) is bytes_


@pytest.mark.parametrize("p", NORMS)
def test_distances_of_floats_are_rounded_down_and_hardly(p: float) -> None:
    g = torch.Generator().manual_seed(1)
    x = torch.rand(20, 7, generator=g, dtype=torch.float64)
    y = torch.arange(20) % 2
    found = separation(x, y, p)
    for i in range(20):
        differences = [[abs(Fraction(a) - Fraction(b)) for a, b in zip(x[i].tolist(), x[k].tolist(), strict=True)]
                       for k in range(20) if y[k] != y[i]]  # fmt: skip
        if p == 2:
            exact = min(sum(d * d for d in row) for row in differences)
            below, above = Fraction(float(found.nearest[i])) ** 2, exact
        else:
            exact = min(max(row) if p == math.inf else sum(row) for row in differences)
            below, above = Fraction(float(found.nearest[i])), exact
        assert below <= above
        assert below >= above * (1 - Fraction(1, 10**13))


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("size", [2.0**640, 2.0**-640])
def test_distances_of_huge_and_tiny_points_are_those_of_the_same_points_at_another_scale(p: float, size: float) -> None:
    """Squares of 1e200 are inf, those of 1e-200 are 0; a power of two changes no digit."""
    g = torch.Generator().manual_seed(2)
    x, y = torch.randn(20, 5, generator=g, dtype=torch.float64), torch.arange(20) % 3
    found, usual = separation(x * size, y, p), separation(x, y, p)
    assert found.pair == usual.pair
    assert found.nearest / size == pytest.approx(usual.nearest, rel=1e-12)
    assert 0 < found.value < math.inf


def test_a_distance_beyond_double_precision_is_refused() -> None:
    for p in NORMS:
        with pytest.raises(BadRequest, match="inputs: expected distances that are numbers of double precision"):
            separation(torch.tensor([[1.5e308], [-1.5e308]], dtype=torch.float64), torch.tensor([0, 1]), p)


def test_arrays_and_labels_of_any_kind_are_taken() -> None:
    g = torch.Generator().manual_seed(3)
    x, y = torch.rand(9, 4, generator=g), torch.arange(9) % 2
    expected = separation(x, y, 2)
    for given in ((x.numpy(), y.numpy()), (x.numpy().astype(np.float64), y.numpy().astype(np.int8)), (x, y / 2)):
        found = separation(*given, 2)
        assert found.nearest.tolist() == expected.nearest.tolist()
        assert found.pair == expected.pair


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.rand(5), torch.arange(5), r"inputs: .* got shape \(5,\)"),
        (torch.rand(5, 0), torch.arange(5), "inputs: expected real numbers"),
        (torch.rand(5, 2) + 1j, torch.arange(5), "inputs: expected real numbers"),
        (torch.rand(5, 2), torch.arange(5)[:, None], r"labels: .* got \(5, 1\); use y.squeeze\(1\)"),
        (torch.rand(3, 2), torch.tensor([0.0, 1.0, math.nan]), "labels: expected finite values"),
        ([[0.1], [0.2]], torch.arange(2), "inputs: expected a torch tensor"),
    ],
)
def test_points_and_labels_that_are_none_are_refused(x: torch.Tensor, y: torch.Tensor, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        separation(x, y, 2)


def test_threads_and_radii_that_are_none_are_refused() -> None:
    x, y = torch.rand(5, 2), torch.arange(5)
    for threads in (0, -3, 1.5):
        with pytest.raises(BadRequest, match="threads: expected an integer >= 1"):
            separation(x, y, 2, threads=threads)  # type: ignore[arg-type]
    found = separation(x, y, 2)
    for radius in (math.nan, -1, math.inf, None):
        with pytest.raises(BadRequest, match="radius: expected"):
            found.require(radius)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="slack"):
        found.require(0.0, math.nan)
    found.require(0.0)
