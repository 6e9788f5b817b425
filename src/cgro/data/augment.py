"""Augmentation of a batch on its device: random crop, horizontal flip, cutout, as training on CIFAR-10 uses them."""

import re
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from cgro._check import bad, count
from cgro.data.idbh import IDBH, PRESETS
from cgro.data.streams import Streams, integers

NAME = re.compile(r"(?=\w)(?P<crop>crop(?P<padding>[1-9]\d*)?)?((^|-)(?P<flip>flip))?((^|-)cutout(?P<side>[1-9]\d*))?")
STANDARD_CROP = 4
"""Pixels of padding in the usual recipe for CIFAR-10 (He et al., 2016)."""


@dataclass(frozen=True)
class Augmentation:
    """Crop, then flip, then cutout, each example with draws of its own.

    out[b, :, i, j] = padded[b, :, i + dy_b, j' + dx_b], j' = W - 1 - j where flipped, 0 inside b's cutout square.
    dy_b, dx_b are uniform on 0 .. 2 crop, the flip has probability 1/2, and the center of the square is uniform on the
    image, so that the border cuts some squares off (DeVries and Taylor, 2017).

    Everything filled in is black, 0 in [0, 1]; where normalization comes first, as in some published code, it is the
    mean color instead.

    Args:
        crop: pixels of black padding on each side before an image of the old size is cut out; 0: no crop.
        flip: mirror left and right with probability 1/2.
        cutout: side of the black square in pixels; 0: none.

    Raises:
        BadRequest: a negative size; when called, images smaller than crop or cutout, a generator on another device.

    Example:
        >>> x = torch.rand(2, 3, 8, 8)
        >>> torch.equal(Augmentation(crop=0, flip=False)(x, generator=torch.Generator()), x)
        True
        >>> black = Augmentation(crop=0, flip=False, cutout=1)(x, generator=torch.Generator()) == 0
        >>> black.sum((1, 2, 3)).tolist()  # one pixel of three channels in each image
        [3, 3]
    """

    crop: int = STANDARD_CROP
    flip: bool = True
    cutout: int = 0

    def __post_init__(self) -> None:
        count(self.crop, "crop", low=0)
        count(self.cutout, "cutout", low=0)

    def __call__(self, x: Tensor, *, generator: torch.Generator | Streams) -> Tensor:
        """Augment a batch.

        Args:
            x: (B, C, H, W), uint8 or floating point; not changed.
            generator: source of all randomness, on the device of x: a generator, whose numbers go by the row in the
                batch, or one stream per example, so that what happens to an image does not depend on its batch.

        Returns:
            (B, C, H, W), in the dtype and memory format of x; every value is one of x's, or 0.
        """
        self._check(x, generator)
        out = x
        if self.crop:
            out = self._cropped(x, generator)
        if self.flip:
            flipped = integers(generator, 2, 1, x).bool().view(-1, 1, 1, 1)
            out = torch.where(flipped, out.flip(3), out)
        if self.cutout:
            out = out.masked_fill(self._squares(x, generator)[:, None], 0)
        # Windows and `where` choose a layout of their own; a batch that came in channels_last leaves so.
        if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            return out.contiguous(memory_format=torch.channels_last)
        return out.contiguous()

    def _cropped(self, x: Tensor, generator: torch.Generator | Streams) -> Tensor:
        n, _, height, width = x.shape
        # All windows as a view, (B, C, 2 crop + 1, 2 crop + 1, H, W): only those that are chosen are copied.
        windows = pad(x, [self.crop] * 4).unfold(2, height, 1).unfold(3, width, 1)
        shift = integers(generator, 2 * self.crop + 1, 2, x)
        return windows[torch.arange(n, device=x.device), :, shift[:, 0], shift[:, 1]]

    def _squares(self, x: Tensor, generator: torch.Generator | Streams) -> Tensor:
        """(B, H, W), true inside the square [center - cutout // 2, center - cutout // 2 + cutout) of each image."""
        _, _, height, width = x.shape
        rows = self._interval(height, x, generator)
        columns = self._interval(width, x, generator)
        return rows[:, :, None] & columns[:, None, :]

    def _interval(self, side: int, x: Tensor, generator: torch.Generator | Streams) -> Tensor:
        """(B, side), true inside the square along one axis."""
        start = integers(generator, side, 1, x) - self.cutout // 2
        place = torch.arange(side, device=x.device)
        return (place >= start) & (place < start + self.cutout)

    def _check(self, x: Tensor, generator: torch.Generator | Streams) -> None:
        if x.ndim != 4:
            raise bad("augmentation", expected="images of shape (B, C, H, W)", got=tuple(x.shape))
        if max(self.crop + 1, self.cutout) > min(x.shape[2:]):
            raise bad(
                "augmentation",
                expected=f"images larger than crop {self.crop}, at least cutout {self.cutout}",
                got=f"{x.shape[2]}x{x.shape[3]}",
                remedy="use smaller sizes or none",
            )
        if isinstance(generator, torch.Generator) and generator.device.type != x.device.type:
            raise bad("generator", expected=f"on {x.device}", got=generator.device)


Augmenting: TypeAlias = Augmentation | IDBH
"""What `augmentation_by_name` returns: called as augment(x, generator=...)."""


def augmentation_by_name(name: str) -> Augmenting:
    """The augmentation of a name: `none`, a published one, or the parts in their order joined by "-".

    Args:
        name: the parts are crop or cropN (N pixels of padding, default 4), flip, and cutoutN (side N); published are
            idbh-weak, idbh-strong and idbh-svhn, see `cgro.data.idbh`.

    Returns:
        The augmentation; that of `none` changes nothing.

    Raises:
        BadRequest: another name, another order, or a size 0.

    Example:
        >>> augmentation_by_name("crop-flip-cutout8")
        Augmentation(crop=4, flip=True, cutout=8)
    """
    if name == "none":
        return Augmentation(crop=0, flip=False)
    if name in PRESETS:
        return PRESETS[name]
    found = NAME.fullmatch(name)
    if found is None:
        expected = f"none, or parts such as crop-flip, crop2-flip-cutout8, flip, or {', '.join(PRESETS)}"
        raise bad("augmentation", expected=expected, got=repr(name))
    crop = 0
    if found.group("crop"):
        crop = int(found.group("padding") or STANDARD_CROP)
    cutout = int(found.group("side") or 0)
    return Augmentation(crop, found.group("flip") is not None, cutout)
