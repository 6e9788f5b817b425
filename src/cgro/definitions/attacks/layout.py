"""The memory layout in which a search calls a network: chosen here, never visible to the caller.

Convolutions are fastest with the channels of an image next to each other ("channels last"). The weights that a caller
has are as a rule not laid out so. For the duration of a search its convolutions are given copies that are; the caller's
own parameters are neither moved nor written.
"""

import contextlib
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cgro.definitions.attacks.precision import Precision, uses_bfloat16
from cgro.definitions.losses import Model


@contextlib.contextmanager
def fast_weights(model: Model, x: Tensor, precision: Precision) -> Iterator[bool]:
    """Give the convolutions of a network copies of their weights in channels-last layout.

    To be entered inside `preserve_state`, which keeps other threads out.

    Args:
        model: any; nothing happens to one that is no module, or was compiled for the weights it has.
        x: (B, *S) the batch; nothing happens unless it holds images.
        precision: of the search. On a GPU the layout is faster in bfloat16 alone.

    Returns:
        A context manager. Its value is whether any weight was replaced.

    Example:
        >>> net = nn.Conv2d(3, 8, 3)
        >>> weight = net.weight
        >>> with fast_weights(net, torch.zeros(1, 3, 8, 8), "float32") as converted:
        ...     converted, net.weight.is_contiguous(memory_format=torch.channels_last)
        (True, True)
        >>> net.weight is weight, weight.is_contiguous()
        (True, True)
    """
    owners = _convolutions(model, x, precision)
    copies: dict[int, nn.Parameter] = {}
    try:
        for module, weight in owners:
            if id(weight) not in copies:
                # Not by `contiguous`, which leaves a weight of one channel its strides, and with them the layout that
                # the convolution takes.
                laid_out = torch.empty_like(weight, memory_format=torch.channels_last).copy_(weight.detach())
                # Autocast casts a weight once a search, not once a pass, only if it requires a gradient.
                copies[id(weight)] = nn.Parameter(laid_out.detach(), requires_grad=True)
            # Past `__setattr__`, which networks override.
            module._parameters.update(weight=copies[id(weight)])
        yield bool(owners)
    finally:
        for module, weight in owners:
            module._parameters.update(weight=weight)


def _convolutions(model: Model, x: Tensor, precision: Precision) -> list[tuple[nn.Module, nn.Parameter]]:
    """The convolutions whose weights are to be replaced."""
    if x.ndim != 4 or not isinstance(model, nn.Module):
        return []
    if x.device.type != "cpu" and not uses_bfloat16(precision, model, x):
        return []
    found: list[tuple[nn.Module, nn.Parameter]] = []
    for module in model.modules():
        if hasattr(module, "_orig_mod") or isinstance(module, torch.jit.ScriptModule):
            return []  # compiled for the weights it has
        if type(module) is not nn.Conv2d:
            continue
        weight = module._parameters.get("weight")
        # Exactly a parameter: sharded ones and those of other libraries are subclasses.
        if type(weight) is nn.Parameter and weight.stride(1) != 1:
            found.append((module, weight))
    return found


def is_about_conversion(error: RuntimeError) -> bool:
    """Whether a pass failed because of the layout or the precision that a search chose.

    Such as `view` on an image in channels-last layout, an operation that bfloat16 does not have (at all, or on this
    processor, for which oneDNN then has no "primitive": an LSTM without AVX-512), or a network of float16 behind a
    function, which meets bfloat16.

    Args:
        error: that it raised.

    Returns:
        True if its message speaks of strides, contiguous memory, types, or primitives.
    """
    about = (
        r"view size|contiguous|stride|memory.format|dtype|scalar type|BFloat16|not implemented for|create a primitive"
    )
    return re.search(about, str(error), re.IGNORECASE) is not None
