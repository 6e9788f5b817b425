"""Small networks of the paper's experiments on MNIST: LeNet by width, LeNet-5, and a fully connected one."""

import torch
from torch import nn

from cgro._check import bad, count
from cgro.models.head import head


def lenet(shape: tuple[int, ...], n_outputs: int, *, width: int = 1) -> nn.Sequential:
    """LeNet by width, as in Table 1: 5x5 convolutions with 2w and 4w channels, 64w hidden units.

    A ReLU stands behind its max pooling: the same function and gradients, to the bit, on a quarter of the numbers.

    Args:
        shape: (C, H, W) of the input.
        n_outputs: classes, or 1 for (B,) scores.
        width: w; the paper's x1 .. x16.

    Returns:
        The network, (B, C, H, W) -> (B, n_outputs) or (B,).

    Raises:
        BadRequest: a width below 1.

    Example:
        >>> sum(p.numel() for p in lenet((1, 28, 28), 10, width=1).parameters())
        13514
    """
    channels, height, wide = shape
    w = count(width, "width")
    n_features = 4 * w * (height // 4) * (wide // 4)
    return nn.Sequential(
        *_convolution(channels, 2 * w, padding=2),
        *_convolution(2 * w, 4 * w, padding=2),
        nn.Flatten(),
        *_dense(n_features, 64 * w),
        *head(64 * w, n_outputs),
    )


def lenet5(shape: tuple[int, ...], n_outputs: int) -> nn.Sequential:
    """LeNet-5 (LeCun et al., 1998) with ReLU and max pooling: 6 and 16 channels, 120 and 84 hidden units.

    Args:
        shape: (C, H, W) of the input, at least 12x12.
        n_outputs: classes, or 1 for (B,) scores.

    Returns:
        The network, (B, C, H, W) -> (B, n_outputs) or (B,).

    Raises:
        BadRequest: smaller images.

    Example:
        >>> sum(p.numel() for p in lenet5((1, 28, 28), 10).parameters())
        61706
    """
    channels, height, wide = shape
    h = (height // 2 - 4) // 2
    w = (wide // 2 - 4) // 2
    if h < 1 or w < 1:
        raise bad("lenet5", expected="inputs of at least 12x12", got=f"{height}x{wide}", remedy="use lenet")
    return nn.Sequential(
        *_convolution(channels, 6, padding=2),
        *_convolution(6, 16, padding=0),
        nn.Flatten(),
        *_dense(16 * h * w, 120),
        *_dense(120, 84),
        *head(84, n_outputs),
    )


def mlp(shape: tuple[int, ...], n_outputs: int, *, width: int = 64) -> nn.Sequential:
    """A ReLU network D - width - width/2 - outputs; the default clean model of Theorem 4.4 has width 64.

    Args:
        shape: of one input; D is the product of its sizes.
        n_outputs: classes, or 1 for (B,) scores.
        width: units of the first hidden layer.

    Returns:
        The network, (B, *shape) -> (B, n_outputs) or (B,).

    Raises:
        BadRequest: a width below 1.

    Example:
        >>> sum(p.numel() for p in mlp((1, 8, 8), 1, width=4).parameters())  # 64 * 4 + 4 + 4 * 2 + 2 + 2 + 1
        273
    """
    n_inputs = torch.Size(shape).numel()
    half = max(1, width // 2)
    return nn.Sequential(
        nn.Flatten(),
        *_dense(n_inputs, count(width, "width")),
        *_dense(width, half),
        *head(half, n_outputs),
    )


def _convolution(n_inputs: int, n_outputs: int, *, padding: int) -> list[nn.Module]:
    """A 5x5 convolution, max pooling by 2, and ReLU."""
    return [nn.Conv2d(n_inputs, n_outputs, 5, padding=padding), nn.MaxPool2d(2), nn.ReLU()]


def _dense(n_inputs: int, n_outputs: int) -> list[nn.Module]:
    return [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
