"""SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) on tensors: the arithmetic below `Draws`, and where it is cheap."""

import torch
from torch import Tensor

# SplitMix64's constants as signed integers: torch multiplies int64 alone, and wraps as uint64 would.
GAMMA = 0x9E3779B97F4A7C15 - 2**64
"""The step of the counter."""
_ROUNDS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
_LAST_SHIFT = 31
_MANTISSA = 53
BLOCK = 2**16
"""Numbers that are made at a time on a CPU: counter and scratch together then fit into a second-level cache of 1 to 2
MiB. Of 400,000 numbers, a third of the time of making all at once, whose temporaries come as new pages each."""


def mix(z: Tensor, scratch: Tensor | None = None) -> Tensor:
    """SplitMix64's output function.

    z <- (z xor (z >> 30)) * a;  z <- (z xor (z >> 27)) * b;  z xor (z >> 31), all modulo 2^64, shifts unsigned.

    Args:
        z: int64, overwritten.
        scratch: int64 of the same shape, overwritten; None means new memory.

    Returns:
        z itself.

    Example:
        >>> hex(int(mix(torch.tensor([GAMMA]))) % 2**64)  # the first number of the stream of key 0
        '0xe220a8397b1dcdaf'
    """
    if scratch is None:
        scratch = torch.empty_like(z)
    for shift, factor in _ROUNDS:
        z ^= _shifted(z, shift, scratch)
        z *= factor
    z ^= _shifted(z, _LAST_SHIFT, scratch)
    return z


def uniform_numbers(keys: Tensor, drawn: int, n: int) -> Tensor:
    """The numbers after the first `drawn` ones of each stream: u_k = (mix(key + k * gamma) >> 11) * 2^-53.

    Args:
        keys: (B,) int64, one per stream.
        drawn: how many numbers are left out.
        n: numbers per stream.

    Returns:
        (B, n) float64, uniform on the multiples of 2^-53 in [0, 1).
    """
    steps = torch.arange(drawn + 1, drawn + n + 1, device=keys.device).mul_(GAMMA)
    found = torch.empty((len(keys), n), dtype=torch.float64, device=keys.device)
    rows = len(keys)
    # A graph is to hold one block, and elsewhere than on a CPU every operation costs a launch.
    if keys.device.type == "cpu" and not torch.compiler.is_compiling():
        rows = min(rows, max(1, BLOCK // max(n, 1)))
    counters = torch.empty((rows, n), dtype=torch.int64, device=keys.device)
    scratch = torch.empty_like(counters)
    for first in range(0, len(keys), max(rows, 1)):
        part = found[first : first + rows]
        z, free = counters[: len(part)], scratch[: len(part)]
        torch.add(keys[first : first + rows, None], steps, out=z)
        mix(z, free)
        part.copy_(_shifted(z, 64 - _MANTISSA, free)).mul_(2.0**-_MANTISSA)
    return found


def _shifted(z: Tensor, shift: int, out: Tensor) -> Tensor:
    """z >> shift as of an unsigned integer."""
    torch.bitwise_right_shift(z, shift, out=out)
    out &= 2 ** (64 - shift) - 1
    return out
