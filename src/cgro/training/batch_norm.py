"""BatchNorm over the examples of all processes, on any device: `torch.nn.SyncBatchNorm` is for GPUs alone.

For each channel, with sums over the examples of all processes and the places of an image,

    mean = sum x / n,   var = sum (x - mean)^2 / n,   y = (x - mean) / sqrt(var + eps) * weight + bias,

as Ioffe and Szegedy (ICML 2015) have it for one process. The sums are exchanged in the forward pass and their gradients
in the backward pass, by a function that may be differentiated again. Two passes over x, so that var loses no digits.
"""

import contextlib
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from cgro._check import bad
from cgro.training.part import Part

LAYERS: tuple[type[nn.modules.batchnorm._BatchNorm], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
POLICIES = ("local", "synchronized")


class _Sum(torch.autograd.Function):
    """The sum over processes; each process's gradient is the sum of all gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, part: Part) -> Tensor:
        ctx.part = part  # type: ignore[attr-defined]  # kept for the backward pass
        return part.add(values)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        part: Part = ctx.part  # type: ignore[attr-defined]
        return cast(Tensor, _Sum.apply(gradient.contiguous(), part)), None


def sum_over(values: Tensor, part: Part) -> Tensor:
    """The sum over the whole batch, differentiable as often as one likes.

    The gradient is of the sum of the losses of all processes, which is what training minimizes.

    Args:
        values: sums of this process.
        part: of the batch that it has.

    Returns:
        Of the same shape.
    """
    return cast(Tensor, _Sum.apply(values, part))


class Synchronized:
    """Behavior of a BatchNorm layer whose class is exchanged for the time of a step; see `synchronized`."""

    part: Part

    def forward(self, x: Tensor) -> Tensor:
        """Normalize.

        Args:
            x: (B, C, *S).

        Returns:
            Of the same shape and type.
        """
        layer = cast(nn.modules.batchnorm._BatchNorm, self)
        if not layer.training and layer.running_mean is not None:
            return super().forward(x)  # type: ignore[misc]  # of the layer's own class
        return normalized(layer, x, self.part)


def normalized(layer: nn.modules.batchnorm._BatchNorm, x: Tensor, part: Part) -> Tensor:
    """What a BatchNorm layer in training mode makes of the whole batch, seen by one process.

    Args:
        layer: its running averages are moved.
        x: (B, C, *S) examples of this process.
        part: of the batch that it has.

    Returns:
        Of the same shape and type.

    Raises:
        ValueError: one value per channel, which has no variance.
    """
    dims = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    if x.numel() == x.shape[1]:
        raise ValueError(f"expected more than 1 value per channel when training, got {tuple(x.shape)}")
    wide = x.double() if x.dtype == torch.float64 else x.float()
    channels = wide.shape[1]
    counted = wide.new_full((1,), x.numel() / channels)
    both = sum_over(torch.cat([wide.sum(dims), counted]), part)
    # The number of values is no function of the weights.
    n = both[channels].detach()
    mean = both[:channels] / n
    centered = wide - mean.view(shape)
    var = sum_over(centered.square().sum(dims), part) / n
    _follow(layer, mean.detach(), var.detach(), n)
    y = centered * (var + layer.eps).rsqrt().view(shape)
    if layer.affine:
        y = y * layer.weight.view(shape).to(y.dtype) + layer.bias.view(shape).to(y.dtype)
    return y.to(x.dtype)


@torch.no_grad()
def _follow(layer: nn.modules.batchnorm._BatchNorm, mean: Tensor, var: Tensor, n: Tensor) -> None:
    """Move the running averages, whose variance is unbiased, as torch's layer does."""
    if layer.running_mean is None or layer.running_var is None:
        return
    share = layer.momentum
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if share is None:
            share = 1.0 / float(layer.num_batches_tracked)
    if share is None:
        share = 0.0
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
    layer.running_var.lerp_((var * n / (n - 1)).to(layer.running_var.dtype), share)


def require_synchronizable(network: nn.Module) -> None:
    """Refuse a network with layers of which only their authors know how they are synchronized.

    Args:
        network: any.

    Raises:
        BadRequest: a subclass of BatchNorm; torch's own SyncBatchNorm synchronizes itself.
    """
    for layer in network.modules():
        is_other = isinstance(layer, nn.modules.batchnorm._BatchNorm) and type(layer) not in LAYERS
        if is_other and not isinstance(layer, nn.SyncBatchNorm):
            got = f"{type(layer).__name__}, of another kind"
            raise bad("--batch-norm synchronized", expected="torch's BatchNorm layers", got=got, remedy="use local")


@contextlib.contextmanager
def synchronized(network: nn.Module, part: Part) -> Iterator[None]:
    """In the block, BatchNorm layers in training mode normalize over the examples of all processes.

    The classes of the layers are exchanged, so that copies which attacks make of the network do so as well, and
    neither keys nor hooks of the network change.

    Args:
        network: its layers.
        part: of the batch that this process has.

    Yields:
        Nothing.
    """
    kinds = {kind: type(f"Synchronized{kind.__name__}", (Synchronized, kind), {"part": part}) for kind in LAYERS}
    changed = [layer for layer in network.modules() if type(layer) in kinds]
    for layer in changed:
        layer.__class__ = kinds[type(layer)]  # type: ignore[assignment]  # a subclass of the same layout
    try:
        yield
    finally:
        for layer in changed:
            layer.__class__ = type(layer).__mro__[2]
