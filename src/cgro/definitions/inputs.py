"""What callers hand in, made into what the searches compute with: ordinary tensors, labels as int64."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from cgro._check import bad

P = ParamSpec("P")
Result = TypeVar("Result")


def ordinary_tensors(function: Callable[P, Result]) -> Callable[P, Result]:
    """Run a function outside inference mode, whatever mode its caller is in.

    Tensors made in inference mode carry no gradients, and `torch.enable_grad` does not change that: a search called
    there would find every network not differentiable.

    Args:
        function: any.

    Returns:
        The same function. Tensors that it returns are ordinary ones.

    Example:
        >>> @ordinary_tensors
        ... def slope(x):
        ...     with torch.enable_grad():
        ...         x = x.clone().requires_grad_()
        ...         return torch.autograd.grad((x * x).sum(), x)[0]
        >>> with torch.inference_mode():
        ...     slope(torch.tensor([3.0]))
        tensor([6.])
    """

    @functools.wraps(function)
    def outside(*args: P.args, **kwargs: P.kwargs) -> Result:
        if not torch.is_inference_mode_enabled():
            return function(*args, **kwargs)
        with torch.inference_mode(False):
            return function(*args, **kwargs)

    return outside


def as_inputs(x: Tensor) -> Tensor:
    """Inputs that belong to no graph and may be differentiated by.

    Args:
        x: (B, *S) tensor.

    Returns:
        (B, *S), sharing memory with x unless x was made in inference mode.

    Raises:
        BadRequest: x is no tensor, or has no values.

    Example:
        >>> as_inputs(torch.ones(2, requires_grad=True) * 3)
        tensor([3., 3.])
    """
    _require_tensor(x, "inputs", remedy="convert them, as in torch.as_tensor(x)")
    if x.is_meta:
        raise bad("inputs", expected="values", got="a tensor on the meta device", remedy="make them anew")
    x = x.detach()
    return x.clone() if x.is_inference() else x


def as_labels(y: Tensor, device: torch.device) -> Tensor:
    """Labels that index: integers of any width, and booleans as 0 and 1, become int64; floating point stays.

    Args:
        y: (B,) tensor.
        device: of the inputs.

    Returns:
        (B,), sharing memory with y where nothing has to change.

    Raises:
        BadRequest: y is no tensor, is complex, or lies on another device.

    Example:
        >>> as_labels(torch.tensor([0, 7], dtype=torch.uint8), torch.device("cpu"))
        tensor([0, 7])
    """
    _require_tensor(y, "labels", remedy="convert them, as in torch.as_tensor(y)")
    if y.is_complex():
        raise bad("labels", expected="integers", got=y.dtype)
    if y.device != device:
        raise bad("labels", expected=f"the device of the inputs, {device}", got=y.device, remedy="use y.to(x.device)")
    y = y.detach()
    if not y.is_floating_point():
        y = y.long()
    return y.clone() if y.is_inference() else y


def logits_of(outputs: object) -> Tensor:
    """The logits or scores that a network returned: the one place that reads what a call of a network gives.

    A tensor is taken as it is, of an object with an attribute `logits` (as the models of transformers return) that. A
    tuple or a dictionary does not say which of its parts are the logits, so it is refused.

    Args:
        outputs: whatever a network returned; shapes are checked with the labels.

    Returns:
        (B, C) logits or (B,) scores.

    Raises:
        BadRequest: a tuple, a dictionary, None, integers.

    Example:
        >>> from types import SimpleNamespace
        >>> logits_of(SimpleNamespace(logits=torch.tensor([1.0]), hidden_states=None))
        tensor([1.])
    """
    logits = outputs
    if not isinstance(outputs, Tensor):
        logits = getattr(outputs, "logits", outputs)
    if not isinstance(logits, Tensor):
        remedy = "wrap the model in a function that returns the logits alone, such as lambda x: model(x)[0]"
        raise bad(
            "model output", expected="a torch tensor, or an object with .logits", got=describe(logits), remedy=remedy
        )
    if not logits.is_floating_point():
        remedy = "return the logits before rounding"
        raise bad("model output", expected="floating point", got=logits.dtype, remedy=remedy)
    return logits


def _require_tensor(value: object, what: str, *, remedy: str) -> None:
    if not isinstance(value, Tensor):
        raise bad(what, expected="a torch tensor", got=describe(value), remedy=remedy)


def describe(value: object) -> str:
    """How a message names a value of the wrong type.

    Args:
        value: any.

    Returns:
        A few words.

    Example:
        >>> describe(None), describe("pgd10"), describe(int), describe((1, 2))
        ('None', "'pgd10'", 'the class int', 'a value of type tuple')
    """
    if value is None or isinstance(value, str):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a value of type {type(value).__name__}"
