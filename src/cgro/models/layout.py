"""Of any module: its number of parameters, and the memory layout in which it is fast."""

import torch
from torch import nn

SAFE_CHANNELS = 16
"""Input channels per group from which a strided 1x1 convolution is safe in channels_last: a register of AVX-512."""


def fast_layout(model: nn.Module) -> nn.Module:
    """The same module with weights in channels_last, unless training in that layout would corrupt memory.

    oneDNN (issue 6035; torch 2.13, CPUs) writes past its workspace in the weight gradient of a 1x1 convolution with a
    stride whose input has fewer channels than a register block: crashes, hangs, or wrong weights without a word. Seen
    with AVX2 below 8 channels; below 16 is avoided, the block of AVX-512, which was not tried. Such modules keep the
    layout they have. Ours have none: `PreActBlock` takes every other pixel. A module that a caller converts is not
    looked at.

    Args:
        model: any module; its weights are converted in place.

    Returns:
        The module itself.
    """
    if any(_corrupts_memory(module) for module in model.modules()):
        return model
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _corrupts_memory(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d):
        return False
    is_strided_1x1 = set(module.kernel_size) == {1} and max(module.stride) > 1
    return is_strided_1x1 and module.in_channels // module.groups < SAFE_CHANNELS


def n_parameters(model: nn.Module) -> int:
    """Count the parameters, trainable and frozen; buffers are not counted.

    Args:
        model: any module.

    Returns:
        The number of scalars.

    Example:
        >>> n_parameters(nn.Linear(3, 2).requires_grad_(False))
        8
    """
    return sum(parameter.numel() for parameter in model.parameters())
