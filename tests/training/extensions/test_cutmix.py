"""CutMix: pixels of two images, labels by area."""

import torch

from cgro.definitions import Draws
from cgro.training import CutMix


def test_pixels_are_of_one_or_the_other_and_the_share_is_counted() -> None:
    x, other = torch.zeros(50, 2, 6, 6), torch.ones(50, 2, 6, 6)
    asked = torch.linspace(0, 1, 50)
    mixed, share = CutMix().mixed(x, other, asked, Draws.of(0, "", torch.arange(50)))
    assert set(mixed.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(mixed[:, 0], mixed[:, 1])
    torch.testing.assert_close(share, 1 - mixed.mean((1, 2, 3)))
    assert (share >= asked - 1e-6).all()  # sides are rounded down, the border cuts off
    assert float(share[-1]) == 1.0
    whole = (mixed[:, 0].sum(2) > 0).float().sum(1) * (mixed[:, 0].sum(1) > 0).float().sum(1)
    torch.testing.assert_close(whole, mixed[:, 0].sum((1, 2)))  # one rectangle each
