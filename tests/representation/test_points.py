"""Training points keep pixels as integers and give the same float64 values."""

import torch

from cgro.representation.points import TrainingPoints, evenly_spaced


def test_pixels_given_as_integers_or_as_floats_are_the_same_points() -> None:
    k = torch.randint(0, 256, (7, 1, 3, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    some = torch.tensor([5, 0, 2])
    for x in (k, k.float() / 255):
        points = TrainingPoints.of(x)
        assert points.pixels is not None
        assert torch.equal(points.pixels, k)
        assert points.inputs.dtype == torch.uint8
        assert torch.equal(points.at(some), k[some].flatten(1).double() / 255)
        assert (len(points), points.dim, points.shape) == (7, 12, (1, 3, 4))
        assert points.range == (int(k.min()) / 255, int(k.max()) / 255)


def test_other_floats_stay_as_they_are() -> None:
    x = torch.tensor([[-0.25, 0.3], [1.5, 0.1]], dtype=torch.float64)
    points = TrainingPoints.of(x)
    assert points.pixels is None
    assert torch.equal(points.at(torch.arange(2)), x)
    assert points.range == (-0.25, 1.5)


def test_positions_are_distinct_and_reach_both_ends() -> None:
    for n in range(1, 12):
        for total in range(1, 15):
            chosen = evenly_spaced(n, total).tolist()
            assert chosen == sorted(set(chosen))
            assert chosen[0] == 0
            assert n == 1 or chosen[-1] == total - 1
            assert len(chosen) == min(n, total)
