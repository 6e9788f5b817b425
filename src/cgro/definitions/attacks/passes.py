"""Forward passes without gradients, and networks that write on what they are given."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cgro._check import bad
from cgro.definitions.inputs import require_outputs
from cgro.definitions.losses import Model

Result = TypeVar("Result")


def outputs_of(model: Model, x: Tensor, *, bfloat16: bool = False) -> Tensor:
    """One forward pass on x itself, without gradients. For inner loops, whose network is known not to write on x.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (B, *S).
        bfloat16: under autocast; otherwise without it, whatever the caller's context is.

    Returns:
        (B, C) or (B,), in the dtype that the network gave.

    Raises:
        BadRequest: no single tensor of floating point numbers, a network of another dtype or device than x.
    """
    try:
        with torch.no_grad(), torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            outputs = model(x)
    except (RuntimeError, NotImplementedError):
        _require_same_kind(model, x)
        raise
    return require_outputs(outputs)


def judge(model: Model, x: Tensor) -> Tensor:
    """The outputs that count: no gradients, no autocast, in the precision of x and the weights.

    Args:
        model: (B, *S) -> (B, C) or (B,). It is given a copy, so x stays as it is whatever the network does.
        x: (B, *S).

    Returns:
        (B, C) or (B,).

    Raises:
        BadRequest: see `outputs_of`.

    Example:
        >>> x = torch.tensor([[0.5]])
        >>> judge(lambda v: v.mul_(2)[:, 0], x), x
        (tensor([1.]), tensor([[0.5000]]))
    """
    return outputs_of(model, x.clone())


def first_pass(model: Model, x: Tensor, look: Callable[[Model, Tensor], Result] = outputs_of) -> tuple[Result, Model]:
    """A search's first pass, on a copy of x, which shows whether the network writes on its input.

    `normalize(inplace=True)` does. In a search it would move the iterates, so such a network is given copies from then
    on; all others are called as they are, at no cost.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (B, *S), finite.
        look: (model, x) -> anything; one forward pass.

    Returns:
        What `look` returned, and the network to go on with: `model`, or one around it that copies its input.

    Example:
        >>> double = lambda v: v.mul_(2)[:, 0]
        >>> outputs, network = first_pass(double, torch.tensor([[0.5]]))
        >>> outputs, network is double
        (tensor([1.]), False)
    """
    copy = x.clone()
    version = copy._version
    result = look(model, copy)
    # A write through `.data` does not count as a new version; one that happens to change no value does.
    written = copy._version != version or not torch.equal(copy, x)
    return result, _on_copies(model) if written else model


class _OnCopies(nn.Module):
    """A network that works in place, given a copy: the input stays, and gradients pass through the copy."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.training = model, model.training

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.clone())


def _on_copies(model: Model) -> Model:
    return _OnCopies(model) if isinstance(model, nn.Module) else lambda x: model(x.clone())


def _require_same_kind(model: Model, x: Tensor) -> None:
    """Explain a failed pass of a network that has no tensor of the input's device, or none of its dtype."""
    if not isinstance(model, nn.Module):
        return
    tensors = [t for t in (*model.parameters(), *model.buffers()) if not is_lazy(t)]
    devices, dtypes = {t.device for t in tensors}, {t.dtype for t in tensors if t.is_floating_point()}
    if devices and x.device not in devices:
        raise bad(
            "inputs", expected=f"the device of the network, {_listed(devices)}", got=x.device,
            remedy="move the network or the inputs with .to(device)",
        )  # fmt: skip
    if dtypes and x.dtype not in dtypes:
        raise bad(
            "inputs", expected=f"the dtype of the network, {_listed(dtypes)}", got=x.dtype,
            remedy="convert the network or the inputs with .to(dtype)",
        )  # fmt: skip


def _listed(values: set[torch.device] | set[torch.dtype]) -> str:
    return " or ".join(sorted(map(str, values)))
