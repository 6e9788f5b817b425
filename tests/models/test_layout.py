"""The layout that is fast, where it is safe, and the count of parameters."""

import torch
from torch import nn

from cgro.models import build, fast_layout, n_parameters


def in_channels_last(module: nn.Module) -> bool:
    return any(
        p.ndim == 4 and not p.is_contiguous() and p.is_contiguous(memory_format=torch.channels_last)
        for p in module.parameters()
    )


def test_the_layout_that_corrupts_memory_is_avoided() -> None:
    """oneDNN 6035; the condition is tested, as the fault itself takes the process down (or not, which is worse)."""

    def strided(n_inputs: int, size: int = 1, stride: int = 2) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, n_inputs, 3), nn.Conv2d(n_inputs, 32, size, stride=stride))

    for narrow in (1, 4, 8, 15):
        assert not in_channels_last(fast_layout(strided(narrow)))
    for safe in (strided(16), strided(4, stride=1), strided(4, size=3)):
        assert in_channels_last(fast_layout(safe))
    for width in (1, 2, 4, 16):
        assert in_channels_last(fast_layout(build("preactresnet", (3, 32, 32), 10, width=width)))


def test_frozen_parameters_count_and_buffers_do_not() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))  # 8, and 4 beside three buffers
    assert n_parameters(model) == 12
    model[0].requires_grad_(False)
    assert n_parameters(model) == 12
