"""When a search runs in bfloat16, and how far its margins may then be off."""

import contextlib
import os
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cgro.definitions.attacks.folding import folds_norms
from cgro.definitions.losses import Model

Precision = Literal["float32", "bfloat16", "auto"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "auto")
Proposing = Literal["exactly", "folded", "bfloat16"]
"""What a search moves by: the caller's network, so that its outputs are certain; the same in float32 with BatchNorm
folded; or that in bfloat16."""
ROUNDING: dict[Proposing, float] = {"exactly": 0.0, "folded": 2.0**-14, "bfloat16": 2.0**-7}
"""How far outputs that only propose may be off, relative to the largest: two roundings of 2^-8 each for bfloat16, and
for float32, whose roundings are 2^-24, what tens of layers make of them. A choice; measured in test_precision.py."""

MIN_PARAMETERS = 2**18
"""Smaller networks without convolutions lose more by casting than they gain. Measured on a CPU with AMX: an
MLP 784-64-32 takes 1.5 times as long in bfloat16, one of width 1024 0.6 times, LeNet x1 to x8 0.9 to 0.6 times; vision
transformers of 0.1, 0.9 and 2.4 million parameters 2.3, 0.9 and 0.7 times."""
INNER_LAYERS = 4.0
"""Factor on `rounding_margin` for what the layers before the last add. A choice; measured in docs/decisions.md."""


def bfloat16_pays(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32.

    On a CPU that takes the matrix instructions of AMX. With the vector instructions avx512_bf16 alone an Intel
    processor makes as many products of bfloat16 a second as of float32, and casting comes on top: measured, searches
    took 1.0 to 1.8 times as long as in float32 (docs/performance.md). AMD's have not been measured.

    Args:
        device: where the network is.

    Returns:
        True for matrix instructions that torch may use, False where there are none.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        allowed = os.environ.get(variable, "DEFAULT").upper()
        if "AMX" not in allowed and allowed not in ("ALL", "DEFAULT"):
            return False  # torch's own test looks at the processor, not at what its library is allowed
    # A private name of torch, looked up softly: another version may not have it.
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported())


def uses_bfloat16(precision: Precision, model: Model, x: Tensor) -> bool:
    """Whether a search runs in bfloat16.

    Args:
        precision: that was asked for. `auto` looks at the device and the network's size, at nothing that varies.
        model: the network; a function counts as large.
        x: (B, *S) inputs; only float32 ones are ever cast.

    Returns:
        True for bfloat16, False for the precision of x.

    Example:
        >>> uses_bfloat16("bfloat16", nn.Identity(), torch.zeros(1, 2))
        True
        >>> uses_bfloat16("bfloat16", nn.Identity(), torch.zeros(1, 2, dtype=torch.float64))
        False
    """
    if x.dtype != torch.float32 or precision == "float32":
        return False
    if precision == "bfloat16":
        return True
    return bfloat16_pays(x.device) and _is_large(model)


def _is_large(model: Model) -> bool:
    if not isinstance(model, nn.Module):
        return True
    n = 0
    has_convolution = False
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is None or is_lazy(parameter):
                continue
            if parameter.dtype in (torch.float16, torch.bfloat16):
                return False  # of low precision itself: autocast would mix the two
            n += parameter.numel()
            if parameter.ndim == 4 and not _cuts_patches(module):
                has_convolution = True
    return has_convolution or n >= MIN_PARAMETERS


def _cuts_patches(module: nn.Module) -> bool:
    """Whether a convolution only embeds patches that do not overlap, as in transformers; the bulk is not like it."""
    return isinstance(module, nn.Conv2d) and module.stride == module.kernel_size != (1, 1)


def proposing(precision: Precision, model: Model, x: Tensor) -> Proposing:
    """What a search moves by.

    Args:
        precision: that was asked for. `auto` takes bfloat16 where that is fast, else on a CPU the network with
            BatchNorm folded, where that is known to be possible.
        model: the network, in its present modes.
        x: (B, *S) inputs; float64 is never rounded to less.

    Returns:
        One word.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()
        >>> proposing("float32", net, torch.zeros(1, 3, 8, 8)), proposing("bfloat16", net, torch.zeros(1, 3, 8, 8))
        ('exactly', 'bfloat16')
    """
    if uses_bfloat16(precision, model, x):
        return "bfloat16"
    if precision == "auto" and x.dtype == torch.float32 and x.device.type == "cpu" and folds_norms(model):
        return "folded"
    return "exactly"


def rounding_margin(outputs: Tensor, by: Proposing = "bfloat16") -> Tensor:
    """How far a margin of outputs that propose may lie from that of the caller's network.

    What the layers before the last add in bfloat16 is not in it; it decides only at which points float32 looks.

    Args:
        outputs: (B, C) or (B,), of a pass that proposes.
        by: what it passed through.

    Returns:
        (B,), in the unit of the outputs.

    Example:
        >>> rounding_margin(torch.tensor([[128.0, -256.0]]))
        tensor([2.])
    """
    largest = outputs.abs()
    if outputs.ndim == 2:
        largest = largest.amax(1)
    return ROUNDING[by] * largest


@contextlib.contextmanager
def own_casts(device: torch.device) -> Iterator[None]:
    """Keep the weights that autocast has cast for a caller apart from those that it casts for a search.

    It remembers a cast until its outermost context ends, by the weight alone: of a caller in float16 a search would
    get weights of float16 with its images of bfloat16, and the caller's next pass weights of bfloat16. What is
    forgotten is cast once more.

    Args:
        device: where the network is.

    Returns:
        A context manager; nothing happens where the caller has no autocast.

    Example:
        >>> net, x = nn.Linear(2, 2), torch.zeros(1, 2)
        >>> with torch.autocast("cpu", torch.float16):
        ...     with own_casts(x.device), torch.autocast("cpu", torch.bfloat16):
        ...         inside = net(x).dtype
        ...     inside, net(x).dtype
        (torch.bfloat16, torch.float16)
    """
    shared = torch.is_autocast_enabled(device.type)
    if shared:
        torch.clear_autocast_cache()
    try:
        yield
    finally:
        if shared:
            torch.clear_autocast_cache()
