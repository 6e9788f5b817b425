"""A network for passes that only propose: BatchNorm folded into the convolution before it, and a faster max-pooling.

In evaluation mode both are affine: bn(w * x + b) = (s w) * x + (s (b - mean) + beta), s = gamma / sqrt(var + eps). They
are equal up to rounding, so the one may propose, in bfloat16 or in float32, and the other, the caller's own, decides.
Nothing of the caller's is written: what changes is a copy of the containers around the pair, which share all else.

A pair is folded only where it is known that the one is applied to the output of the other and to nothing else: in
`nn.Sequential`, and in classes that say so by an attribute of their own, `folds`, pairs of names. Below any other class
nothing is known: its forward may use a part twice, or look in between.

Pooling over windows of 2 x 2 is replaced in the same places, by the maximum of the four: the same values, to the bit.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from cgro.definitions.attacks.capturable import HOOKS, has_hooks
from cgro.definitions.losses import Model

FEW = 4
"""Examples below which `Halving` calls max_pool2d: there six operations in place of one cost more than they save.
Affects speed only. LeNet x2 and x4, one thread of a busy CPU: a pass is 0.87 and 0.90 times as fast for one example,
1.06 times for four."""
_FOR_EVERY_MODULE: list[dict[int, object]] = [
    hooks for name, hooks in vars(nn.modules.module).items() if name.startswith("_global_") and name[7:] in HOOKS
]
"""Hooks that torch calls for every module: dictionaries of torch's own, filled and emptied in place."""


def folded(model: Model, *, norms: bool = True) -> Model:
    """The same function with as many BatchNorms folded as are known to be foldable, and with `Halving` for pooling.

    Args:
        model: any; it is left as it is. Its modes are looked at: BatchNorm in training mode is never folded.
        norms: fold them. Without, the result has the same values, to the bit.

    Returns:
        A network that shares what is not folded, or `model` itself where nothing can be.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
        >>> [type(part).__name__ for part in folded(net)], type(net[1]).__name__
        (['Conv2d', 'Identity', 'ReLU'], 'BatchNorm2d')
    """
    # A graph in the making has no place for new modules; what compiles folds on its own.
    if not isinstance(model, nn.Module) or torch.compiler.is_compiling():
        return model
    return _folded(model, norms)


def _folded(module: nn.Module, norms: bool) -> nn.Module:
    pairs = _pairs(module)
    if pairs is None or getattr(module, "_compiled_call_impl", None) is not None:
        return module
    changed: dict[str, nn.Module] = {}
    for name, child in module._modules.items():
        if child is None:
            continue
        if _is_halving(child):
            changed[name] = Halving()
            continue
        found = _folded(child, norms)
        if found is not child:
            changed[name] = found
    for conv_name, norm_name in pairs if norms else ():
        pair = _foldable(module, conv_name, norm_name)
        if pair is not None:
            changed[conv_name] = _merged(*pair)
            changed[norm_name] = nn.Identity()
    if not changed:
        return module
    return _with(module, _modules={**module._modules, **changed})


def folds_norms(model: Model) -> bool:
    """Whether `folded` would fold any BatchNorm.

    Args:
        model: any, in its present modes.

    Returns:
        False for a function, and while a graph is made.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> folds_norms(net.train()), folds_norms(net.eval())
        (False, True)
    """
    if not isinstance(model, nn.Module) or torch.compiler.is_compiling():
        return False
    return _folds_any(model)


def _folds_any(module: nn.Module) -> bool:
    pairs = _pairs(module)
    if pairs is None or getattr(module, "_compiled_call_impl", None) is not None:
        return False
    if any(_foldable(module, *names) for names in pairs):
        return True
    return any(_folds_any(child) for child in module._modules.values() if child is not None)


def _foldable(module: nn.Module, conv_name: str, norm_name: str) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """Two parts of a module, if they are a convolution and a BatchNorm that can be folded into it."""
    conv = module._modules.get(conv_name)
    norm = module._modules.get(norm_name)
    if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and _is_plain(conv) and _is_plain(norm):
        return conv, norm
    return None


def _pairs(module: nn.Module) -> Sequence[tuple[str, str]] | None:
    """Names of parts of which the second is applied to the first's output alone; None where nothing is known."""
    if "forward" in vars(module):
        return None
    if type(module) is nn.Sequential:
        return list(pairwise(module._modules))
    # Of the class itself: one that inherits may have another forward. A class of others may mean something else by it.
    pairs = type(module).__dict__.get("folds")
    if not isinstance(pairs, tuple):
        return None
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(name in module._modules for name in pair)):
            return None
    return pairs


def _is_halving(module: nn.Module) -> bool:
    """Whether a part is max-pooling over windows of 2 x 2 that do not overlap, as torch computes it."""
    if type(module) is not nn.MaxPool2d or module.return_indices or _is_changed(module):
        return False
    settings = (module.kernel_size, module.stride, module.padding, module.dilation)
    for found, wanted in zip(settings, (2, 2, 0, 1), strict=True):
        if found not in (wanted, (wanted, wanted)):
            return False
    return not module.ceil_mode


class Halving(nn.Module):
    """Max-pooling over windows of 2 x 2 that do not overlap.

    max_pool2d notes where each maximum was, which only a gradient needs, and looks at values one by one. On a CPU that
    is up to half of a forward pass of a LeNet (docs/evaluation.md). With a gradient it is as fast as anything else that
    was tried, and is called.

    Example:
        >>> Halving()(torch.arange(32.0).view(4, 1, 2, 4)).flatten(1)
        tensor([[ 5.,  7.],
                [13., 15.],
                [21., 23.],
                [29., 31.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Take the largest value of each window.

        Args:
            x: (B, C, H, W).

        Returns:
            (B, C, H // 2, W // 2); a last row or column that is left over is not looked at.
        """
        wants_gradient = torch.is_grad_enabled() and x.requires_grad
        if x.device.type != "cpu" or wants_gradient or len(x) < FEW:
            return nn.functional.max_pool2d(x, 2)
        height = x.shape[-2] // 2 * 2
        width = x.shape[-1] // 2 * 2
        rows = torch.maximum(x[..., 0:height:2, :width], x[..., 1:height:2, :width])
        return torch.maximum(rows[..., 0::2], rows[..., 1::2])


def _is_changed(module: nn.Module) -> bool:
    """Whether a pass through a part of torch is more, or other, than what its class is known to compute.

    Somebody hooks into it, or into every module; or its `forward` is another, as libraries replace that of a layer
    (to load its weights late, or to add adapters), and that of a class for all layers.
    """
    if has_hooks(module) or any(_FOR_EVERY_MODULE):
        return True
    kind = type(module)
    of_torch = kind.forward.__module__ == kind.__module__ and not hasattr(kind.forward, "__wrapped__")
    return "forward" in vars(module) or not of_torch


def _is_plain(module: nn.Conv2d | nn.BatchNorm2d) -> bool:
    """Whether a part does what its class says, in evaluation, and statistics are kept."""
    if _is_changed(module):
        return False
    if isinstance(module, nn.BatchNorm2d):
        return not module.training and module.running_mean is not None and module.running_var is not None
    return True


def _merged(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Module:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    with torch.no_grad():
        scale = torch.rsqrt(variance + norm.eps)
        if norm.weight is not None:
            scale = norm.weight * scale
        shift = -mean
        if conv.bias is not None:
            shift = conv.bias + shift
        shift = shift * scale
        if norm.bias is not None:
            shift = shift + norm.bias
        # Elementwise, so the layout of the weight stays.
        weight = conv.weight * scale.view(-1, 1, 1, 1)
    return _with(conv, _parameters={"weight": _parameter(weight), "bias": _parameter(shift)})


def _parameter(value: Tensor) -> nn.Parameter:
    """One that requires a gradient: autocast casts it once a search, not once a pass, only then."""
    return nn.Parameter(value.detach(), requires_grad=True)


def _with(module: nn.Module, **changed: object) -> nn.Module:
    """The same module with other parts: a shallow copy, past `__init__` and `__setattr__`."""
    copy = module.__class__.__new__(module.__class__)
    copy.__dict__.update(module.__dict__)
    copy.__dict__.update(changed)
    return copy
