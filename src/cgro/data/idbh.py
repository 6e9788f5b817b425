"""IDBH: flip, crop and shift, one change of color or shape, and erasing.

Li and Spratling, "Data augmentation alone can improve adversarial training" (ICLR 2023); stages, probabilities and
ranges are those of the authors' published code.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cgro._check import bad, count, number, one_of
from cgro.data.pixelwise import (
    autocontrasted,
    brightened,
    contrasted,
    equalized,
    gathered,
    rotated,
    saturated,
    sharpened,
    sheared,
)
from cgro.data.streams import Streams, integers, uniforms

N_TRIES = 10
"""Boxes that erasing tries until one fits, as in torchvision, which the authors call."""
RATIO = (0.3, 3.3)
"""Height over width of an erased box: torchvision's default."""


@dataclass(frozen=True)
class Change:
    """One of the changes of color or shape.

    Args:
        name: what it is.
        color: probability in the mix that prefers color.
        shape: probability in the mix that prefers shape.
        low: of its strength.
        high: of its strength; of shear and rotation in the former mix.
        high_of_shape: the same in the latter mix.
    """

    name: str
    color: float
    shape: float
    low: float = 0.0
    high: float = 0.0
    high_of_shape: float = 0.0


CHANGES = (
    Change("color", 0.125, 0.08, 0.1, 1.9, 1.9),
    Change("brightness", 0.125, 0.08, 0.5, 1.9, 1.9),
    Change("contrast", 0.125, 0.04, 0.5, 1.9, 1.9),
    Change("sharpness", 0.125, 0.08, 0.1, 1.9, 1.9),
    Change("autocontrast", 0.125, 0.04),
    Change("equalize", 0.125, 0.08),
    Change("shear", 0.125, 0.3, 0.05, 0.15, 0.35),
    Change("rotate", 0.125, 0.3, 1, 11, 31),
)
"""Strength of shear in radians, of rotation in whole degrees below `high`; both with a random sign."""


@dataclass(frozen=True)
class IDBH:
    """Flip, then crop and shift, then one change of color or shape, then erasing, each image with draws of its own.

    Args:
        shift: pixels below which the border is that crop and shift takes away and moves about.
        mix: of the changes, `color` or `shape`.
        erase: probability of a black box.
        largest: share of the image that the box covers at most; 0.02 at least.

    Raises:
        BadRequest: a number out of its range, another word; when called, images that are smaller than the shift.

    Example:
        >>> x = torch.rand(2, 3, 32, 32)
        >>> IDBH()(x, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 32, 32])
    """

    shift: int = 11
    mix: str = "color"
    erase: float = 0.5
    largest: float = 0.33

    def __post_init__(self) -> None:
        count(self.shift, "idbh: shift")
        one_of(self.mix, "idbh: mix", ("color", "shape"))
        number(self.erase, "idbh: erase", low=0.0, high=1.0)
        number(self.largest, "idbh: largest", low=0.02, high=1.0)

    def __call__(self, x: Tensor, *, generator: torch.Generator | Streams) -> Tensor:
        """Augment a batch.

        Args:
            x: (B, C, H, W), uint8 or floating point in [0, 1]; not changed.
            generator: as of `cgro.data.Augmentation`.

        Returns:
            (B, C, H, W), in the dtype of x.
        """
        if x.ndim != 4 or min(x.shape[2:]) < max(self.shift, 3):
            expected = f"images of at least {max(self.shift, 3)} pixels"
            raise bad("augmentation", expected=expected, got=tuple(x.shape), remedy="use crop-flip or none")
        out = x
        if not x.is_floating_point():
            out = x.float() / 255
        flipped = integers(generator, 2, 1, x).bool().view(-1, 1, 1, 1)
        out = torch.where(flipped, out.flip(3), out)
        out = cropped_and_shifted(out, self.shift, generator)
        out = changed(out, self.mix, generator)
        out = erased(out, self.erase, self.largest, generator)
        if not x.is_floating_point():
            out = (out * 255).round().to(x.dtype)
        if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            return out.contiguous(memory_format=torch.channels_last)
        return out.contiguous()


PRESETS = {
    "idbh-weak": IDBH(),
    "idbh-strong": IDBH(erase=1.0),
    "idbh-svhn": IDBH(shift=9, mix="shape", erase=1.0, largest=0.5),
}
"""As published: weak and strong for CIFAR-10, one for SVHN."""


def cropped_and_shifted(x: Tensor, shift: int, generator: torch.Generator | Streams) -> Tensor:
    """Cropshift: a window of each image somewhere else on black.

    s is uniform below `shift`; the window lacks c columns and s - c rows, c uniform on 0 .. s; where it is cut out, and
    where it is laid down, is uniform.

    Args:
        x: (B, C, H, W).
        shift: above the largest s.
        generator: of the draws.

    Returns:
        (B, C, H, W).
    """
    u = uniforms(generator, 6, x)
    total = (u[:, 0] * shift).long()
    columns = (u[:, 1] * (total + 1)).long()
    rows = total - columns
    from_row = _window(x.shape[2], rows, u[:, 2], u[:, 3])
    from_column = _window(x.shape[3], columns, u[:, 4], u[:, 5])
    return gathered(x, from_row[:, :, None], from_column[:, None, :])


def _window(side: int, missing: Tensor, cut: Tensor, laid: Tensor) -> Tensor:
    """(B, side) where each pixel comes from along one axis; -1 for nowhere."""
    begin = (cut * (missing + 1)).long()[:, None]
    place = (laid * (missing + 1)).long()[:, None]
    source = torch.arange(side, device=missing.device) - place + begin
    inside = (source >= begin) & (source < begin + side - missing[:, None])
    return torch.where(inside, source, -1)


def changed(x: Tensor, mix: str, generator: torch.Generator | Streams) -> Tensor:
    """One of `CHANGES` per image.

    Args:
        x: (B, C, H, W) in [0, 1].
        mix: `color` or `shape`: their probabilities and ranges.
        generator: of the draws.

    Returns:
        (B, C, H, W). All are computed for all images, so that nothing is read on the host.
    """
    u = uniforms(generator, 4, x)
    chosen = chosen_change(u[:, 0], mix)
    sign = torch.where(u[:, 2] < 0.5, -1.0, 1.0)
    across = u[:, 3] < 0.5
    out = x
    for k, change in enumerate(CHANGES):
        strength = change.low + u[:, 1] * (_high(change, mix) - change.low)
        out = torch.where((chosen == k).view(-1, 1, 1, 1), _apply(change.name, x, strength, sign, across), out)
    return out


def chosen_change(u: Tensor, mix: str) -> Tensor:
    """Which change is made.

    Args:
        u: (B,) uniform in [0, 1).
        mix: `color` or `shape`.

    Returns:
        (B,) positions in `CHANGES`.
    """
    shares = [change.color if mix == "color" else change.shape for change in CHANGES]
    ends = torch.tensor(shares, dtype=torch.float64, device=u.device).cumsum(0)
    return (u[:, None] >= ends[:-1]).sum(1)


def _high(change: Change, mix: str) -> float:
    return change.high if mix == "color" else change.high_of_shape


def _apply(name: str, x: Tensor, strength: Tensor, sign: Tensor, across: Tensor) -> Tensor:
    changes: dict[str, Callable[[], Tensor]] = {
        "color": partial(saturated, x, strength),
        "brightness": partial(brightened, x, strength),
        "contrast": partial(contrasted, x, strength),
        "sharpness": partial(sharpened, x, strength),
        "autocontrast": partial(autocontrasted, x),
        "equalize": partial(equalized, x),
        "shear": partial(sheared, x, sign * strength, across),
        "rotate": partial(rotated, x, sign * torch.floor(strength)),
    }
    return changes[name]()


def erased(x: Tensor, probability: float, largest: float, generator: torch.Generator | Streams) -> Tensor:
    """A black box: its area uniform in [0.02, largest], the logarithm of its ratio uniform, somewhere inside.

    Args:
        x: (B, C, H, W).
        probability: of a box.
        largest: share of the image.
        generator: of the draws.

    Returns:
        (B, C, H, W). Of ten boxes the first that fits is taken, none if none does.
    """
    height, width = x.shape[2:]
    u = uniforms(generator, 3 + 2 * N_TRIES, x)
    area = height * width * (0.02 + u[:, 3 : 3 + N_TRIES] * (largest - 0.02))
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = torch.exp(low + u[:, 3 + N_TRIES :] * (high - low))
    rows = (area * ratio).sqrt().round().long()
    columns = (area / ratio).sqrt().round().long()
    fits = (rows < height) & (columns < width)
    first = fits.to(torch.int8).argmax(1, keepdim=True)
    n_rows = rows.gather(1, first)[:, 0]
    n_columns = columns.gather(1, first)[:, 0]
    done = fits.any(1) & (u[:, 0] < probability)
    inside = _interval(height, n_rows, u[:, 1])[:, :, None] & _interval(width, n_columns, u[:, 2])[:, None, :]
    return x.masked_fill((inside & done.view(-1, 1, 1))[:, None], 0.0)


def _interval(side: int, length: Tensor, u: Tensor) -> Tensor:
    """(B, side), true inside the box along one axis."""
    begin = (u * (side - length + 1)).long()[:, None]
    place = torch.arange(side, device=length.device)
    return (place >= begin) & (place < begin + length[:, None])
