"""Random numbers of an augmentation: of a generator by row, of streams by example."""

import torch

from cgro.data.streams import integers, uniforms
from cgro.definitions import Draws


def test_both_sources_give_numbers_of_the_right_shape_and_range() -> None:
    x = torch.zeros(500, 1)
    for source in (torch.Generator().manual_seed(0), Draws.of(0, "augment", torch.arange(500))):
        whole = integers(source, 7, 3, x)
        fractions = uniforms(source, 2, x)
        assert whole.shape == (500, 3)
        assert set(whole.flatten().tolist()) == set(range(7))
        assert fractions.shape == (500, 2)
        assert fractions.dtype == torch.float64
        assert 0 <= float(fractions.min()) < 0.01
        assert 0.99 < float(fractions.max()) < 1


def test_streams_belong_to_examples() -> None:
    whole = uniforms(Draws.of(0, "augment", torch.arange(9)), 2, torch.zeros(9, 1))
    part = uniforms(Draws.of(0, "augment", torch.tensor([7, 2])), 2, torch.zeros(2, 1))
    assert torch.equal(whole[[7, 2]], part)
