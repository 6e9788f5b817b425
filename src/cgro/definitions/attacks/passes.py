"""Passes through a network: forward, backward to the input, and networks that write on what they are given."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cgro._check import bad
from cgro.definitions.attacks.float32 import full_float32
from cgro.definitions.inputs import logits_of, shape_of
from cgro.definitions.losses import Loss, Model, cross_entropy_slope, default_loss


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
        require_same_kind(model, x)
        raise
    return logits_of(outputs)


def evaluated_outputs(model: Model, x: Tensor) -> Tensor:
    """Evaluate a network in float32: no gradients, no autocast, no TF32, in the precision of x and the weights.

    Args:
        model: (B, *S) -> (B, C) or (B,). It is given a copy, so x stays as it is whatever the network does.
        x: (B, *S).

    Returns:
        (B, C) or (B,).

    Raises:
        BadRequest: see `outputs_of`.

    Example:
        >>> x = torch.tensor([[0.5]])
        >>> evaluated_outputs(lambda v: v.mul_(2)[:, 0], x), x
        (tensor([1.]), tensor([[0.5000]]))
    """
    with full_float32(x.device):
        return outputs_of(model, x.clone())


def loss_gradient(model: Model, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Forward and backward pass: the outputs at x, and the gradient of each example's loss with respect to its input.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (B, *S).
        y: (B,) labels.
        loss: (outputs, y) -> (B,).

    Returns:
        Outputs, (B, C) or (B,), and gradients, (B, *S), both in the dtype of x.

    Raises:
        BadRequest: the output does not depend differentiably on the input; the loss is not one number per example, or
            does not depend differentiably on the outputs.

    Example:
        >>> outputs, gradient = loss_gradient(lambda v: v[:, 0] ** 2, torch.tensor([[3.0]]), torch.tensor([1]),
        ...                                   lambda outputs, y: outputs)
        >>> outputs, gradient
        (tensor([9.]), tensor([[6.]]))
    """
    gradient = None
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        outputs = logits_of(model(x))
        value = outputs.to(x.dtype)
        if loss is default_loss and value.ndim == 2:
            upstream = cross_entropy_slope(value.detach(), y)
        else:
            value = _per_example(loss(value, y), y)
            # Ones, not the sum of the losses: the same gradient with fewer operations.
            upstream = torch.ones_like(value)
        if value.requires_grad:
            # It may hang on the weights alone, where the network detaches its input: then there is none.
            (gradient,) = torch.autograd.grad(value, x, upstream, allow_unused=True)
    if outputs.requires_grad and not value.requires_grad:
        remedy = "leave out no_grad, detach and argmax, and use the outputs that it is given"
        raise bad("loss", expected="one that is differentiable in the outputs", got="no gradient", remedy=remedy)
    if gradient is None:
        raise bad(
            "model",
            expected="an output that is differentiable in the input",
            got="no gradient",
            remedy="remove no_grad, rounding and detach from the forward pass, or use a score-based attack",
        )
    return outputs.detach().to(x.dtype), gradient


def _per_example(value: object, y: Tensor) -> Tensor:
    """A loss of the right shape. One of (B, C) or (B, 1) has a gradient, too, and the mean depends on the batch."""
    if not isinstance(value, Tensor) or value.shape != y.shape:
        expected = f"one value per example, shape {tuple(y.shape)}"
        remedy = 'sum over the classes alone; losses of torch take reduction="none"'
        raise bad("loss", expected=expected, got=shape_of(value), remedy=remedy)
    return value


def image_layout(x: Tensor, model: Model) -> Tensor:
    """Lay images out with the channels last where the model's weights are.

    It is faster there, and unsafe elsewhere: a network that calls `view` on an image fails on this layout. Any third
    layout, such as that of a transposed array, is copied: results depend on the values alone, to the bit.

    Args:
        x: (B, *S).
        model: whose weights are looked at.

    Returns:
        The same values.
    """
    if x.ndim == 4 and is_channels_last(model):
        return x.contiguous(memory_format=torch.channels_last)
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def is_channels_last(model: Model) -> bool:
    """Whether a model's convolutions have weights in channels-last layout.

    Args:
        model: any; a function has no weights.

    Returns:
        Whether any weight of four axes lies so, and not as usual at the same time.
    """
    if not isinstance(model, nn.Module):
        return False
    for module in model.modules():
        for weight in module._parameters.values():
            if weight is None or weight.ndim != 4 or weight.is_contiguous():
                continue
            if weight.is_contiguous(memory_format=torch.channels_last):
                return True
    return False


def first_pass(model: Model, x: Tensor) -> tuple[Tensor, Model]:
    """A search's first pass, on a copy of x, which shows whether the network writes on its input.

    `normalize(inplace=True)` does. In a search it would move the iterates, so such a network is given copies from then
    on; all others are called as they are, at no cost.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (B, *S), finite.

    Returns:
        The outputs, and the network to go on with: `model`, or one around it that copies its input.

    Example:
        >>> double = lambda v: v.mul_(2)[:, 0]
        >>> outputs, network = first_pass(double, torch.tensor([[0.5]]))
        >>> outputs, network is double
        (tensor([1.]), False)
    """
    copy = x.clone()
    version = copy._version
    outputs = outputs_of(model, copy)
    # A write through `.data` does not count as a new version; one that happens to change no value does.
    written = copy._version != version or not torch.equal(copy, x)
    if written:
        return outputs, on_copies(model)
    return outputs, model


def first_look(model: Model, x: Tensor, *, bfloat16: bool = False) -> tuple[Tensor, Model, list[Tensor]]:
    """As `first_pass`, but nothing is read: a write that shows in the values alone is left to be found later.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (B, *S), finite.
        bfloat16: see `outputs_of`.

    Returns:
        The outputs, the network to go on with, and () bool tensors of which one is true if the network wrote on its
        input past autograd, as through `.data`; none where the write was seen, or x has no values.
    """
    copy = x.clone()
    compiling = torch.compiler.is_compiling()  # a graph has no versions; there only the values tell
    version = 0 if compiling else copy._version
    if bfloat16:
        outputs = outputs_of(model, copy, bfloat16=True)
    else:
        with full_float32(x.device):
            outputs = outputs_of(model, copy)
    if not compiling and copy._version != version:
        return outputs, on_copies(model), []
    if isinstance(model, _OnCopies) or not x.numel():
        return outputs, model, []
    # By a difference, as numbers are subtracted and compared four times as fast as (copy != x).any(). NaN is not 0.
    return outputs, model, [(copy - x).abs_().amax() != 0]


class _OnCopies(nn.Module):
    """A network that works in place, given a copy: the input stays, and gradients pass through the copy."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = getattr(model, "training", False)  # `torch.jit.freeze` leaves none

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.clone())


def on_copies(model: Model) -> Model:
    """A network that works in place, given copies of its input.

    Args:
        model: any.

    Returns:
        The same function; its input stays as it is.
    """
    if isinstance(model, nn.Module):
        return _OnCopies(model)
    return lambda x: model(x.clone())


def require_same_kind(model: Model, x: Tensor) -> None:
    """Explain a failed pass of a network that has no tensor of the input's device, or none of its dtype.

    Args:
        model: that raised; nothing is known of a function.
        x: (B, *S) that it was given.

    Raises:
        BadRequest: it has none.
    """
    if not isinstance(model, nn.Module):
        return
    devices: set[torch.device] = set()
    dtypes: set[torch.dtype] = set()
    for tensor in (*model.parameters(), *model.buffers()):
        if is_lazy(tensor):
            continue
        devices.add(tensor.device)
        if tensor.is_floating_point():
            dtypes.add(tensor.dtype)
    if devices and x.device not in devices:
        expected = f"the device of the network, {_listed(devices)}"
        remedy = "move the network or the inputs with .to(device)"
        raise bad("inputs", expected=expected, got=x.device, remedy=remedy)
    if dtypes and x.dtype not in dtypes:
        expected = f"the dtype of the network, {_listed(dtypes)}"
        remedy = "convert the network or the inputs with .to(dtype)"
        raise bad("inputs", expected=expected, got=x.dtype, remedy=remedy)


def _listed(values: set[torch.device] | set[torch.dtype]) -> str:
    return " or ".join(sorted(map(str, values)))
