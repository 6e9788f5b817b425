"""Layouts, and networks that write on their input."""

import torch
from tests.cases import THREATS
from torch import Tensor, nn

from cgro.definitions import (
    APGD,
    PGD,
)


def test_models_that_view_their_input_work_and_channels_last_weights_get_channels_last_inputs() -> None:
    """`x.view(B, -1)` fails on channels_last activations: only a model that asks for that layout may see it."""
    seen: list[bool] = []

    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 3)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.is_contiguous())
            z = torch.relu(self.conv(x))
            return self.last(z.view(len(z), -1) if z.is_contiguous() else z.flatten(1))

    x, y = torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.long)
    for attack in (PGD(THREATS[0], n_steps=2), APGD(THREATS[0], n_steps=2)):
        seen.clear()
        attack(Views().eval(), x, y)
        assert all(seen)
        seen.clear()
        attack(Views().eval().to(memory_format=torch.channels_last), x, y)  # type: ignore[call-overload]
        assert not all(seen)
