"""float32 that is float32: how a process multiplies it is switched to the full precision where results are decided."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

FULL = ("ieee", "none")
"""Values of torch's newer flags at which float32 is multiplied as float32; `none` is the default, without a parent that
says otherwise."""


@contextlib.contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Multiply float32 as float32 where results are decided; the caller's flags are put back.

    What torch calls float32 is TF32 in the convolutions of NVIDIA GPUs unless told otherwise, with 10 bits of mantissa,
    and after `torch.set_float32_matmul_precision("medium")` bfloat16 in products, on CPUs too. Measured on an H100: the
    outputs of a PreActResNet-18 are then off by 2.2e-4 of their norm instead of 4e-7.

    A process has one set of flags: other threads that multiply meanwhile do so in full precision as well. Where several
    decide at the same time, the last of them puts the flags back.

    Args:
        device: where the network is. On a CPU the flags of cuDNN do not matter and are left alone.

    Returns:
        A context manager; nothing is written where nothing has to change.

    Example:
        >>> torch.set_float32_matmul_precision("medium")
        >>> with full_float32(torch.device("cpu")):
        ...     torch.get_float32_matmul_precision()
        'highest'
        >>> torch.get_float32_matmul_precision()
        'medium'
        >>> torch.set_float32_matmul_precision("highest")
    """
    # A graph takes the flags of the time at which it is made, and cannot change them inside.
    if torch.compiler.is_compiling():
        yield
        return
    changed: list[tuple[_Flag, object]] = []
    thread = threading.get_ident()
    with _GUARD:
        _INSIDE[thread] = _INSIDE.get(thread, 0) + 1
    try:
        with _GUARD:
            for flag in _flags(device.type):
                before = flag.read()
                if before not in flag.full:
                    changed.append((flag, before))
                    flag.write(flag.full[0])
        yield
    finally:
        with _GUARD:
            _leave(thread, changed)


_GUARD = threading.RLock()
_INSIDE: dict[int, int] = {}
"""Threads that are deciding -> how many of these contexts they are in."""
_OWED: "list[tuple[_Flag, object]]" = []
"""Flags that a thread changed and could not put back, as another was still deciding; the earliest first."""


def _leave(thread: int, changed: "list[tuple[_Flag, object]]") -> None:
    """Put back what a context changed, or leave that to the threads that are still deciding."""
    _INSIDE[thread] -= 1
    if not _INSIDE[thread]:
        del _INSIDE[thread]
    if any(other != thread for other in _INSIDE):
        _OWED.extend(changed)
        return
    for flag, before in reversed(changed):
        flag.put_back(before)
    if thread in _INSIDE:
        return
    for flag, before in reversed(_OWED):
        if flag.read() in flag.full:  # else somebody has set it since
            flag.put_back(before)
    _OWED.clear()


@dataclass(frozen=True)
class _Flag:
    """A process-wide flag, and the values at which float32 is multiplied as float32."""

    get: Callable[[], object]
    write: Callable[..., object]
    full: tuple[object, ...]
    inherits: bool = False

    def read(self) -> object:
        try:
            return self.get()
        except RuntimeError:
            # An older flag where the newer ones were used, which torch refuses to mix: those come after it here.
            return self.full[0]

    def put_back(self, before: object) -> None:
        if self.inherits:
            self.write("none")  # gives the parent's value, and goes on to, where this flag had none of its own
            if self.read() == before:
                return
        self.write(before)


@functools.cache
def _flags(device_type: str) -> tuple[_Flag, ...]:
    """The older flags, which say all that there is until somebody uses the newer ones, and then those."""
    flags = [_Flag(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, ("highest",))]
    backend: object = torch.backends.mkldnn
    products: object = getattr(torch.backends.mkldnn, "matmul", None)
    if device_type == "cuda":
        cudnn = torch.backends.cudnn
        backend = cudnn
        products = torch.backends.cuda.matmul
        flags.append(_Flag(lambda: cudnn.allow_tf32, partial(setattr, cudnn, "allow_tf32"), (False,)))
    for owner in (getattr(backend, "conv", None), getattr(backend, "rnn", None), products):
        if _has_precision(owner):
            get = partial(getattr, owner, "fp32_precision")
            flags.append(_Flag(get, partial(setattr, owner, "fp32_precision"), FULL, inherits=True))
    return tuple(flags)


def _has_precision(owner: object) -> bool:
    """Whether this torch has the newer flag; since 2.9."""
    try:
        return isinstance(getattr(owner, "fp32_precision", None), str)
    except (AttributeError, RuntimeError):
        return False
