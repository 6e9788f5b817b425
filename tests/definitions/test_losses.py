"""Losses and their invariances."""

import torch

from cgro.definitions import (
    dlr,
    targeted_dlr,
)


def test_dlr_ignores_shift_and_scale_and_moves_for_every_number_of_classes() -> None:
    g = torch.Generator().manual_seed(0)
    for n_classes in (2, 3, 4, 10):
        z = torch.randn(50, n_classes, generator=g)
        y = z.argmax(1)
        targets = (y + 1) % n_classes
        for loss in (dlr, lambda o, y, t=targets: targeted_dlr(o, y, t)):
            v = z.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(v, y).sum(), v)
            assert bool((gradient.abs().sum(1) > 0).all()), n_classes
            if n_classes > 2:
                torch.testing.assert_close(loss(7 * z + 3, y), loss(z, y), atol=1e-5, rtol=1e-5)
