"""A stand-in for CUDA graphs on the CPU: takes operations down with their tensors, does them again without Python."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

READS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique")
COPIES = ("lift_fresh", "lift_fresh_copy")
"""A tensor made from Python's numbers: on a GPU a copy from the host, which a capture refuses."""


class _Tape(TorchDispatchMode):
    """Takes operations down. Does them too, as they need outputs; the caller gives back what they wrote."""

    def __init__(self, *, copies: bool) -> None:
        super().__init__()
        self.done: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self.made: list[Tensor] = []
        self._copies = copies

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in READS or _selects(name, args):
            raise RuntimeError(f"aten.{name}: operation not permitted when stream is capturing")
        if name in COPIES and not self._copies:
            raise RuntimeError(f"aten.{name}: a copy from the host is not permitted when stream is capturing")
        outputs = func(*args, **kwargs)
        found = [value for value in tree_flatten(outputs)[0] if isinstance(value, Tensor)]
        given = {_place(value) for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)}
        new = [value for value in found if _place(value) not in given]
        if found and not new and not func._schema.is_mutable:
            return outputs  # a view: the same memory
        self.done.append((func, args, kwargs, found))
        self.made += new
        return outputs


def _selects(name: str, args: Any) -> bool:
    """Whether it indexes by a mask, whose number of true values is the shape."""
    if name not in ("index", "index_put", "index_put_"):
        return False
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _place(value: Tensor) -> int:
    return value.untyped_storage()._cdata


class Tape:
    """`cgro.definitions.graphs.Backend` for the CPU, stricter than CUDA where it can be.

    A replay does the operations on the very tensors of the capture, by which all that Python would do anew is missed.
    After a replay everything that was made within the capture, except the result, is overwritten with NaN: a graph may
    use that memory for something else.

    Args:
        poison: overwrite.
        copies: whether tensors may be made from numbers of the host.
    """

    def __init__(self, *, poison: bool = True, copies: bool = False) -> None:
        self.poison = poison
        self.copies = copies
        self.n_captures = 0
        self.n_operations = 0

    def warm_up(self, call: Callable[[], Tensor], *, strict: bool = False) -> Tensor:
        if not strict:
            return call()
        with _Tape(copies=self.copies):
            return call()

    def capture(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.n_captures += 1
        with _Tape(copies=self.copies) as tape:
            result = call()
        self.n_operations = len(tape.done)
        keep = _place(result)
        waste = [value for value in tape.made if value.is_floating_point() and _place(value) != keep]
        _spoil(waste if self.poison else [])

        def replay() -> Tensor:
            for func, args, kwargs, outputs in tape.done:
                _redo(func, args, kwargs, outputs)
            _spoil(waste if self.poison else [])
            return result

        return replay


@torch.no_grad()
def _redo(func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> None:
    again = [value for value in tree_flatten(func(*args, **kwargs))[0] if isinstance(value, Tensor)]
    for old, new in zip(outputs, again, strict=True):
        if _place(old) != _place(new):
            old.copy_(new)


@torch.no_grad()
def _spoil(tensors: list[Tensor]) -> None:
    for value in tensors:
        value.fill_(torch.nan)
