"""Residual networks with pre-activation (He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016)."""

import torch
from torch import Tensor, nn

from cgro._check import bad, count
from cgro.models.head import head


class Standardize(nn.Module):
    """(x - mean) / std per channel, inside the model, so that radii stay in units of the image."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return (x - self.mean) / self.std


CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


class PreActBlock(nn.Module):
    """x -> shortcut(relu(bn(x)) or x) + conv(relu(bn(conv(relu(bn(x)))))); 1x1 shortcut where the shape changes."""

    def __init__(self, n_inputs: int, n_outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(n_inputs), nn.BatchNorm2d(n_outputs)
        self.conv1 = nn.Conv2d(n_inputs, n_outputs, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(n_outputs, n_outputs, 3, padding=1, bias=False)
        changes = stride != 1 or n_inputs != n_outputs
        self.shortcut = nn.Conv2d(n_inputs, n_outputs, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/stride, W/stride)"""
        activated = torch.relu(self.bn1(x))
        kept = x if self.shortcut is None else self.shortcut(activated)
        return kept + self.conv2(torch.relu(self.bn2(self.conv1(activated))))


def preactresnet(shape: tuple[int, ...], n_outputs: int, *, width: int = 64) -> nn.Sequential:
    """PreActResNet-18 by base width: four stages of two blocks with w, 2w, 4w, 8w channels, then average pooling.

    Args:
        shape: (C, H, W), at least 8x8. n_outputs: classes, or 1 for (B,) scores. width: w; 64 is the standard network.

    Example:
        >>> sum(p.numel() for p in preactresnet((3, 32, 32), 10).parameters())
        11172170
    """
    channels, height, wide = shape
    if min(height, wide) < 8:
        raise bad("preactresnet", expected="inputs of at least 8x8", got=f"{height}x{wide}", remedy="use lenet")
    w = count(width, "width")
    mean, std = (CIFAR10_MEAN, CIFAR10_STD) if channels == 3 else ((0.5,) * channels, (0.25,) * channels)
    layers: list[nn.Module] = [Standardize(mean, std), nn.Conv2d(channels, w, 3, padding=1, bias=False)]
    n_inputs = w
    for stage in range(4):
        for stride in (1 if stage == 0 else 2, 1):
            layers.append(PreActBlock(n_inputs, w * 2**stage, stride))
            n_inputs = w * 2**stage
    layers += [nn.BatchNorm2d(n_inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *head(n_inputs, n_outputs))
