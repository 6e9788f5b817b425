"""Residual networks: PreActResNet-18, wide residual networks, and the small ResNet-9. All standardize inside."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from cgro._check import bad, count
from cgro.models.head import head

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2471, 0.2435, 0.2616)
"""By which every network here standardizes images of three channels, whatever they show."""
UNKNOWN_MEAN = (0.5,)
UNKNOWN_STD = (0.25,)
"""Of each channel where there are not three. A choice: black is -2, white is 2."""
SMALLEST_SIDE = 8
"""Pixels of an image, which three halvings leave without any below it."""


class Standardize(nn.Module):
    """(x - mean) / std per channel, inside the model, so that radii stay in units of the image.

    Args:
        mean: of each channel, C numbers.
        std: of each channel, C numbers.

    Example:
        >>> Standardize((0.5,), (0.25,))(torch.ones(1, 1, 1, 1)).item()
        2.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Standardize.

        Args:
            x: (B, C, H, W).

        Returns:
            (B, C, H, W).
        """
        return (x - self.mean) / self.std


def standardized(name: str, shape: tuple[int, ...], width: int) -> list[nn.Module]:
    """The first layers of each network here: standardization and a 3x3 convolution.

    Args:
        name: of the network, for messages.
        shape: (C, H, W) of the input.
        width: channels that the convolution gives.

    Returns:
        The two layers.

    Raises:
        BadRequest: images below 8x8, which three halvings leave without pixels.
    """
    channels, height, wide = shape
    if min(height, wide) < SMALLEST_SIDE:
        expected = f"inputs of at least {SMALLEST_SIDE}x{SMALLEST_SIDE}"
        raise bad(name, expected=expected, got=f"{height}x{wide}", remedy="use lenet")
    standardize = Standardize(UNKNOWN_MEAN * channels, UNKNOWN_STD * channels)
    if channels == 3:
        standardize = Standardize(CIFAR10_MEAN, CIFAR10_STD)
    return [standardize, nn.Conv2d(channels, count(width, "width"), 3, padding=1, bias=False)]


class PreActBlock(nn.Module):
    """x -> shortcut(relu(bn(x)) or x) + conv(relu(bn(conv(relu(bn(x)))))); 1x1 shortcut where the shape changes.

    The shortcut's stride is taken before its convolution: equal, and safe in channels_last (`fast_layout` says why); by
    a pooling window of one pixel, since the gradient of slicing fills and copies once per axis. What no gradient needs
    is overwritten. Together a sixth of an attack's pass (docs/decisions.md), to the same bits.

    Args:
        n_inputs: channels that come in.
        n_outputs: channels that go out, C'.
        stride: of the first convolution and of the shortcut.
    """

    folds = (("conv1", "bn2"),)
    """Read by `cgro.definitions.attacks.folding`: the second is applied to the output of the first, and to nothing
    else."""

    def __init__(self, n_inputs: int, n_outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_inputs)
        self.bn2 = nn.BatchNorm2d(n_outputs)
        self.conv1 = nn.Conv2d(n_inputs, n_outputs, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(n_outputs, n_outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or n_inputs != n_outputs:
            self.shortcut = nn.Conv2d(n_inputs, n_outputs, 1, bias=False)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """The block's equation.

        Args:
            x: (B, C, H, W).

        Returns:
            (B, C', H/stride, W/stride).
        """
        activated = self.bn1(x).relu_()
        kept = x
        if self.shortcut is not None:
            kept = self.shortcut(avg_pool2d(activated, 1, self.stride))
        return self.conv2(self.bn2(self.conv1(activated)).relu_()).add_(kept)


def _stages(n_inputs: int, widths: tuple[int, ...], n_blocks: int) -> list[nn.Module]:
    """Stages of blocks, each but the first at half the resolution, then BatchNorm, ReLU and average pooling."""
    layers: list[nn.Module] = []
    for stage, width in enumerate(widths):
        for block in range(n_blocks):
            halves = stage > 0 and block == 0
            layers.append(PreActBlock(n_inputs, width, 2 if halves else 1))
            n_inputs = width
    return [*layers, nn.BatchNorm2d(n_inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def preactresnet(shape: tuple[int, ...], n_outputs: int, *, width: int = 64) -> nn.Sequential:
    """PreActResNet-18 by base width: four stages of two blocks with w, 2w, 4w, 8w channels, then average pooling.

    He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.

    Args:
        shape: (C, H, W), at least 8x8.
        n_outputs: classes, or 1 for (B,) scores.
        width: w; 64 is the standard network.

    Returns:
        The network, (B, C, H, W) -> (B, n_outputs) or (B,).

    Raises:
        BadRequest: smaller images, a width below 1.

    Example:
        >>> sum(p.numel() for p in preactresnet((3, 32, 32), 10).parameters())
        11172170
    """
    w = width
    return nn.Sequential(
        *standardized("preactresnet", shape, w),
        *_stages(w, (w, 2 * w, 4 * w, 8 * w), 2),
        *head(8 * w, n_outputs),
    )


def wide_resnet(shape: tuple[int, ...], n_outputs: int, *, depth: int, widen: int) -> nn.Sequential:
    """WRN-d-k without dropout: a convolution to 16 channels, three stages of (d - 4) / 6 blocks with 16k, 32k, 64k.

    Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, with their initial weights: convolutions
    N(0, 2 / (9 C_out)) (fan-out), of 1x1 N(0, 2 / C_out); the last bias is 0.

    Args:
        shape: (C, H, W), at least 8x8.
        n_outputs: classes, or 1 for (B,) scores.
        depth: d, 6n + 4: layers with weights.
        widen: k.

    Returns:
        The network, (B, C, H, W) -> (B, n_outputs) or (B,).

    Raises:
        BadRequest: a depth that is not 6n + 4, smaller images, k below 1.

    Example:
        >>> sum(p.numel() for p in wide_resnet((3, 32, 32), 10, depth=34, widen=10).parameters())  # "46.2 million"
        46160474
    """
    name = f"wrn-{depth}-{widen}"
    if depth < 10 or (depth - 4) % 6:
        raise bad(name, expected="a depth of 6n + 4: 10, 16, 22, 28, 34, ...", got=depth)
    k = count(widen, f"{name}: width")
    stages = _stages(16, (16 * k, 32 * k, 64 * k), (depth - 4) // 6)
    model = nn.Sequential(*standardized(name, shape, 16), *stages, *head(64 * k, n_outputs))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return model


class Residual(nn.Module):
    """x -> x + f(x)

    Args:
        layers: f, one after the other.
    """

    folds = ()
    """See `PreActBlock.folds`: nothing here, but in f."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The block's equation.

        Args:
            x: (B, C, H, W).

        Returns:
            (B, C, H, W).
        """
        return x + self.body(x)


class Scaled(nn.Module):
    """x -> factor * x

    Args:
        factor: a constant, not trained.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """The product.

        Args:
            x: of any shape.

        Returns:
            The same shape.
        """
        return self.factor * x


def _conv_bn_relu(n_inputs: int, n_outputs: int) -> list[nn.Module]:
    conv = nn.Conv2d(n_inputs, n_outputs, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(n_outputs), nn.ReLU()]


LOGIT_SCALE = 0.125
"""Of ResNet-9's logits; from its source."""


def resnet9(shape: tuple[int, ...], n_outputs: int, *, width: int = 64) -> nn.Sequential:
    """ResNet-9 by base width: conv-BN-ReLU with w, 2w, 4w, 8w channels, residual pairs after the second and the last.

    David Page, "How to Train Your ResNet" (2018), the network `net` of cifar10-fast: max pooling by 2 after each
    but the first, over what is left at the end, a last layer without bias, logits times 1/8.

    Args:
        shape: (C, H, W), at least 8x8.
        n_outputs: classes, or 1 for (B,) scores.
        width: w; 64 is the standard network.

    Returns:
        The network, (B, C, H, W) -> (B, n_outputs) or (B,).

    Raises:
        BadRequest: smaller images, a width below 1.

    Example:
        >>> sum(p.numel() for p in resnet9((3, 32, 32), 10).parameters())
        6573120
    """
    w = width
    layers: list[nn.Module] = [*standardized("resnet9", shape, w), nn.BatchNorm2d(w), nn.ReLU()]
    for n_inputs, has_pair in ((w, True), (2 * w, False), (4 * w, True)):
        n_channels = 2 * n_inputs
        layers += [*_conv_bn_relu(n_inputs, n_channels), nn.MaxPool2d(2)]
        if has_pair:
            layers.append(Residual(*_conv_bn_relu(n_channels, n_channels), *_conv_bn_relu(n_channels, n_channels)))
    # The scale belongs to the logits: behind the linear layer, before the step that makes scores of them.
    last, *scores = head(8 * w, n_outputs, bias=False)
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), last, Scaled(LOGIT_SCALE), *scores)
