"""Images in files' encodings, decoded when they are asked for."""

import functools
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cgro._check import BadRequest, bad, one_line
from cgro._progress import progress
from cgro.reading import require_room

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "BMP": (".bmp",), "PPM": (".ppm", ".pgm"), "WEBP": (".webp",)}
"""What is read as an image, and the endings of such files. Others, such as GIF and TIFF, may hold several images."""
GRAY = ("1", "L", "LA")
COLOR = ("RGB", "RGBA", "P", "CMYK", "YCbCr")
"""Pillow's modes of 8 bits per channel."""
JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH = 24
"""Where a PNG has its bits per channel."""
PNM_MAXIMUM = re.compile(rb"P[2356](?:\s|#[^\n]*\n)+[0-9]+(?:\s|#[^\n]*\n)+[0-9]+(?:\s|#[^\n]*\n)+([0-9]{1,5})\s")
"""The header of a gray map or pixel map, comments included: width, height, largest value."""
TO_8_BITS = "convert all to 8 bits (values times 255 / 65535, rounded), or store an .npz with x in [0, 1] as float32"
UPDATE_EVERY = 500
"""Images between two updates of the progress bar."""


class Images:
    """Images in files' encodings: `images[rows]` is (len(rows), C, H, W) uint8.

    Decoding is most of the time of reading CIFAR-10, and most runs ask for a part. All must have one size. They are
    gray (C = 1) or color (C = 3) as the first one is; gray ones in a set of color are converted, alpha is dropped.

    Args:
        encoded: the bytes of each image.
        name_of: what a message calls image k.
        like: a set whose channels and size these must have; None: those of the first image.

    Raises:
        BadRequest: when asked for an image that is damaged, or of another size or kind (says which).
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, encoded: Sequence[bytes], name_of: Callable[[int], str], like: "Images | None" = None) -> None:
        self.encoded = encoded
        self.name_of = name_of
        self.like = like

    def __len__(self) -> int:
        return len(self.encoded)

    @functools.cached_property
    def form(self) -> tuple[int, int, int]:
        """(C, H, W), from the header of the first image."""
        if self.like is not None:
            return self.like.form
        with _quiet():
            image = self._open(0)
        channels = 1 if image.mode in GRAY else 3
        return channels, image.height, image.width

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)"""
        return len(self), *self.form

    @property
    def any_jpeg(self) -> bool:
        """Whether any image was compressed with loss."""
        return any(content.startswith(JPEG_START) for content in self.encoded)

    def __getitem__(self, rows: ArrayLike) -> np.ndarray:
        chosen: list[int] = np.asarray(rows).tolist()
        if chosen:  # the header of the first image says what all of them would take
            stored = sum(len(self.encoded[row]) for row in chosen)
            what = f"{self.name_of(0)} and {len(chosen) - 1:,} more of its size"
            require_room(len(chosen) * math.prod(self.form), stored, what)
        pixels = np.empty((len(chosen), *self.form), np.uint8)
        with progress(len(chosen), "decoding images") as update, _quiet():
            for place, row in enumerate(chosen):
                pixels[place] = self._decode(row)
                if place % UPDATE_EVERY == 0:
                    update(place)
        return pixels

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return self[np.arange(len(self))].astype(dtype or np.uint8, copy=False)

    def _open(self, row: int) -> "Image":
        try:
            from PIL import Image
        except ImportError as error:
            raise bad(
                self.name_of(row), expected="the package pillow", got=str(error), remedy="pip install 'cgro[data]'"
            ) from None
        try:
            image = Image.open(io.BytesIO(self.encoded[row]), formats=tuple(FORMATS))
        except Exception as error:  # Pillow raises many types on damaged bytes; each means the same to the caller
            raise self._damaged(row, error) from None
        if image.mode not in GRAY + COLOR:
            raise bad(
                self.name_of(row), expected="8 bits a channel", got=f"an image of mode {image.mode}", remedy=TO_8_BITS
            )
        bits = _bits(self.encoded[row])
        if bits > 8:
            raise bad(self.name_of(row), expected="8 bits a channel", got=f"{bits} bits", remedy=TO_8_BITS)
        return image

    def _damaged(self, row: int, error: Exception) -> BadRequest:
        line = one_line(str(error), 120)
        return bad(self.name_of(row), expected="a " + " or ".join(FORMATS), got=f"a damaged or other file ({line})")

    def _decode(self, row: int) -> np.ndarray:
        image = self._open(row)
        channels, height, width = self.form
        if (image.height, image.width) != (height, width):
            raise bad(
                self.name_of(row),
                expected=f"{height}x{width} as the first image",
                got=f"{image.height}x{image.width}",
                remedy="bring all images to one size",
            )
        if channels == 1 and image.mode not in GRAY:
            raise bad(
                self.name_of(row),
                expected="a gray image as the first one",
                got=f"mode {image.mode}",
                remedy="store all images alike",
            )
        mode = "L" if channels == 1 else "RGB"
        try:
            if image.mode != mode:
                image = image.convert(mode)
            values = np.asarray(image)
        except Exception as error:  # as above: truncated or damaged pixels
            raise self._damaged(row, error) from None
        return values.reshape(height, width, channels).transpose(2, 0, 1)


def _bits(content: bytes) -> int:
    """Bits per channel by the header, of formats that Pillow reduces to 8 without a word: PNG and PPM in color.

    PNG (third edition, section 11.2.1): the byte behind width and height. Netpbm: the maximum behind them, in ASCII.
    """
    if content.startswith(PNG_START) and len(content) > PNG_DEPTH:
        return content[PNG_DEPTH]
    maximum = PNM_MAXIMUM.match(content)
    if maximum is not None:
        return int(maximum[1]).bit_length()
    return 8


def _quiet() -> warnings.catch_warnings:
    """Without Pillow's warnings, such as that of very many pixels: what cannot be read is refused in one line."""
    return warnings.catch_warnings(action="ignore")
