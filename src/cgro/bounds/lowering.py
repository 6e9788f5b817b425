"""A torch module as affine layers with ReLU between them."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from cgro._check import bad
from cgro.bounds.layers import DENSE_LIMIT, Layer, compose, dense_layer

_AFFINE = (nn.Linear, nn.Conv2d, nn.Conv1d, nn.AvgPool2d, nn.AvgPool1d, nn.BatchNorm1d, nn.BatchNorm2d)
_RESHAPING = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d)
_MODE_DEPENDENT = (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d)
_COLUMNS = 512
"""Basis vectors that pass through an affine module at a time."""
_N_COMPARED = 16
"""Inputs on which the layers are compared with the module. A choice: one shows a forward pass of another kind."""


def to_layers(model: nn.Module, shape: Sequence[int], *, limit: int = DENSE_LIMIT, what: str = "model") -> list[Layer]:
    """Write a module as affine layers with ReLU between them, exact up to float64 rounding.

    Consecutive affine modules become one layer. Convolutions lose their weight sharing: their non-zeros are counted
    as often as they are used. A module of your own that only reshapes its input, such as a head (B, 1) -> (B,), is
    accepted when it has an attribute `only_reshapes = True`, as `cgro.models.head.Scores` has.

    Args:
        model: an `nn.Sequential`, also a nested one; BatchNorm and Dropout in eval mode.
        shape: of one input, without the batch.
        limit: the most dense entries that a layer may have.
        what: name of the model in error messages.

    Returns:
        The layers, first to last, on flat inputs; ReLU stands between them.

    Raises:
        BadRequest: a module that is not affine or ReLU (named), BatchNorm or Dropout in train mode, a layer beyond the
            size limit, a ReLU without an affine layer before it, outputs that are not flat, a model that computes
            something else than its modules one after another, by a `forward` of its own or a hook.

    Example:
        >>> from cgro.bounds import evaluate
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1), nn.Flatten(0)).eval()
        >>> x = torch.rand(5, 1, 2, 2)
        >>> bool(torch.allclose(evaluate(to_layers(net, (1, 2, 2)), x.flatten(1))[:, 0].float(), net(x), atol=1e-6))
        True
    """
    layers: list[Layer] = []
    now = torch.Size(shape)
    after_affine = False  # whether the next affine module continues the last layer
    with torch.no_grad():
        for module in _in_order(model, what):
            if module.training and isinstance(module, _MODE_DEPENDENT):
                got = f"{type(module).__name__} in train mode"
                raise bad(what, expected="eval mode", got=got, remedy="call model.eval() first")
            part = copy.deepcopy(module).double().cpu()
            if isinstance(part, nn.ReLU):
                if not after_affine:
                    raise bad(what, expected="an affine layer before every ReLU", got="a ReLU without one")
                after_affine = False
            elif _only_reshapes(part):
                now = _output_shape(part, now)
            else:
                layer = _as_layer(part, now, limit, what)
                now = _output_shape(part, now)
                layers = [*layers[:-1], compose(layers[-1], layer)] if after_affine else [*layers, layer]
                after_affine = True
    # A head may have dropped the last axis of (B, 1); of a wider output it would have mixed the examples.
    if not after_affine or len(now) > 1 or layers[-1].n_out != now.numel():
        raise bad(what, expected="an affine last layer with a flat output", got=f"output shape {tuple(now)}")
    _require_same_function(layers, model, shape, what)
    return layers


@torch.no_grad()
def _require_same_function(layers: Sequence[Layer], model: nn.Module, shape: Sequence[int], what: str) -> None:
    """Refuse a model that computes something else than its modules in their order say.

    A subclass of `nn.Sequential` or `nn.Linear` with a `forward` of its own, and a hook, do; a certificate of the
    modules would be one of another network. Those that only reshape or count pass: what they compute is compared.
    """
    network = copy.deepcopy(model).cpu()
    dtype = torch.float64
    for parameter in network.parameters():
        if parameter.is_floating_point():
            dtype = parameter.dtype
    generator = torch.Generator("cpu").manual_seed(0)
    x = torch.rand(_N_COMPARED, *shape, dtype=torch.float64, generator=generator, device="cpu")
    x[0] = 0.0
    x[1] = 1.0
    x = x.to(dtype)
    z = x.flatten(1).double()
    size = 1.0
    for position, layer in enumerate(layers):
        if position > 0:
            z = z.clamp_min(0)
        z = layer(z)
        size = max(size, float(z.abs().max()))
    outputs: object = network(x)
    if isinstance(outputs, Tensor) and outputs.numel() == z.numel():
        difference = float((outputs.reshape(z.shape).double() - z).abs().max())
        if not difference > math.sqrt(torch.finfo(dtype).eps) * size:  # roundings of its own precision
            return
    raise bad(
        what,
        expected="the function that its modules are one after another",
        got=f"another one, by a forward method of its own or by a hook, from {type(model).__name__}",
        remedy="only these modules are bounded; write the rest as Linear layers and ReLU",
    )


def _in_order(module: nn.Module, what: str) -> Iterator[nn.Module]:
    """The modules of nested `nn.Sequential`s in the order of the forward pass."""
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _in_order(child, what)
        return
    pools_all = isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))
    if not (isinstance(module, (*_AFFINE, nn.ReLU)) or pools_all or _only_reshapes(module)):
        raise bad(
            what,
            expected="an nn.Sequential of Linear layers, Conv, AvgPool, BatchNorm, Flatten, Dropout and ReLU",
            got=type(module).__name__,
            remedy="its expansion into a ReLU network of affine layers is not supported",
        )
    yield module


def _only_reshapes(module: nn.Module) -> bool:
    # By attribute and not by class: the head `Scores` is in `cgro.models`, on the same floor as this folder, and
    # people have heads of their own.
    return isinstance(module, _RESHAPING) or getattr(module, "only_reshapes", False) is True


def _output_shape(module: nn.Module, shape: torch.Size) -> torch.Size:
    """Shape of one output for inputs of this shape."""
    return module(torch.zeros(1, *shape, dtype=torch.float64, device="cpu")).shape[1:]


def _as_layer(module: nn.Module, shape: torch.Size, limit: int, what: str) -> Layer:
    """The matrix of an affine module on flat inputs."""
    n_entries = shape.numel() * _output_shape(module, shape).numel()
    if n_entries > limit:
        raise bad(what, expected=f"layers of at most {limit:,} dense entries", got=f"{n_entries:,}")
    if isinstance(module, nn.Linear) and len(shape) == 1:
        # As it stands: its values on the basis would be (w + b) - b, which rounds where b is much larger than w.
        return dense_layer(module.weight.detach(), module.bias)
    return _from_basis(module, shape)


def _from_basis(affine: Callable[[Tensor], Tensor], shape: torch.Size) -> Layer:
    """An affine map from its values on the basis, f(e_j) - f(0); the constant part is f(0)."""
    zero = affine(torch.zeros(1, *shape, dtype=torch.float64, device="cpu"))
    basis = torch.eye(shape.numel(), dtype=torch.float64, device="cpu")
    columns = [(affine(part.view(-1, *shape)) - zero).flatten(1) for part in basis.split(_COLUMNS)]
    return dense_layer(torch.cat(columns).T, zero.flatten())
