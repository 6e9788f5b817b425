"""Squares by ReLU, for the l_2 balls of Theorem 4.4: above the square, and by no more than stated."""

import torch

from cgro.representation.sawtooth import sawtooth_error, sawtooth_excess


def test_sawtooth_is_above_the_square_by_at_most_its_stated_error():
    x = torch.linspace(-0.3, 1.7, 4001, dtype=torch.float64)[:, None]
    for depth in (1, 2, 5, 9):
        excess = sawtooth_excess(x, -0.3, 1.7, depth)
        assert excess.min() > -1e-14
        bound = sawtooth_error(1, -0.3, 1.7, depth)
        assert 0.98 * bound < excess.max() <= bound * (1 + 1e-12)
