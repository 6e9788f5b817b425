"""Images in files' encodings, decoded when they are asked for."""

import functools
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cgro._check import BadRequest, bad, one_line
from cgro._progress import progress
from cgro.reading import ALWAYS_ROOM, require_room

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
LARGE = ALWAYS_ROOM // 16
"""Bytes of one decoded image from which the memory is asked first; asking costs as much as decoding a small image."""


class Encoded(Protocol):
    """The bytes of images by position: a list, or what reads them from a disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> bytes: ...


class Images:
    """Images in files' encodings: `images[rows]` is (len(rows), C, H, W) uint8.

    Decoding is most of the time of reading CIFAR-10, and most runs ask for a part. All must have one size. They are
    gray (C = 1) or color (C = 3) as the first one is; gray ones in a set of color are converted, alpha is dropped.

    Args:
        encoded: the bytes of each image.
        name_of: what a message calls image k.
        like: a set whose channels and size these must have; None: those of the first image.
        sizes: (N,) bytes of each image, where `encoded` reads them from a disk when it is asked; None: they are held.
        side: images of any size become squares of so many pixels: the largest centered square of each, scaled with
            Pillow's bilinear filter over the area of a new pixel. None: all must have one size.

    Raises:
        BadRequest: when asked for an image that is damaged, or of another size or kind (says which).
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        encoded: Encoded,
        name_of: Callable[[int], str],
        like: "Images | None" = None,
        *,
        sizes: np.ndarray | None = None,
        side: int | None = None,
    ) -> None:
        self.encoded = encoded
        self.name_of = name_of
        self.like = like
        self.sizes = sizes
        self.side = side

    def __len__(self) -> int:
        return len(self.encoded)

    @functools.cached_property
    def form(self) -> tuple[int, int, int]:
        """(C, H, W), from the header of the first image."""
        if self.like is not None:
            return self.like.form
        with _quiet():
            image = self._open(0, self.encoded[0])
        channels = 1 if image.mode in GRAY else 3
        if self.side is not None:
            return channels, self.side, self.side
        return channels, image.height, image.width

    @property
    def on_disk(self) -> bool:
        """Whether the encoded images are read anew whenever they are asked for."""
        return self.sizes is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)"""
        return len(self), *self.form

    @property
    def any_jpeg(self) -> bool:
        """Whether any image was compressed with loss."""
        return any(self.encoded[row].startswith(JPEG_START) for row in range(len(self)))

    def __getitem__(self, rows: ArrayLike) -> np.ndarray:
        chosen: list[int] = np.asarray(rows).tolist()
        if chosen:
            self.require_room(chosen)
        pixels = np.empty((len(chosen), *self.form), np.uint8)
        with progress(len(chosen), "decoding images") as update, _quiet():
            for place, row in enumerate(chosen):
                pixels[place] = self.decode(row)
                if place % UPDATE_EVERY == 0:
                    update(place)
        return pixels

    def require_room(self, rows: Sequence[int], bytes_per_value: int = 1) -> None:
        """Ask whether the memory holds some images decoded. The header of the first says what all of them take.

        Args:
            rows: of the images, at least one.
            bytes_per_value: of the decoded images.

        Raises:
            BadRequest: it does not, or they expand as only a decompression bomb does.
        """
        if self.sizes is not None:
            stored = int(self.sizes[rows].sum())
        else:
            stored = sum(len(self.encoded[row]) for row in rows)
        what = f"{self.name_of(0)} and {len(rows) - 1:,} more of its size"
        require_room(bytes_per_value * len(rows) * math.prod(self.form), stored, what)

    def check_headers(self, rows: Sequence[int], form: tuple[int, int, int]) -> None:
        """Open some images without decoding them.

        Args:
            rows: their positions.
            form: (C, H, W) that they must have, unless all are brought to one size.

        Raises:
            BadRequest: one is damaged, or of another size.
        """
        with _quiet():
            for row in rows:
                self._check_size(row, self._open(row, self.encoded[row]), form)

    def _check_size(self, row: int, image: "Image", form: tuple[int, int, int]) -> None:
        _, height, width = form
        if self.side is None and (image.height, image.width) != (height, width):
            raise bad(
                self.name_of(row),
                expected=f"{height}x{width} as the first image",
                got=f"{image.height}x{image.width}",
                remedy="bring all images to one size, or add --image-size",
            )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return self[np.arange(len(self))].astype(dtype or np.uint8, copy=False)

    def _open(self, row: int, content: bytes) -> "Image":
        try:
            from PIL import Image
        except ImportError as error:
            raise bad(
                self.name_of(row), expected="the package pillow", got=str(error), remedy="pip install 'cgro[data]'"
            ) from None
        try:
            image = Image.open(io.BytesIO(content), formats=tuple(FORMATS))
        except Exception as error:  # Pillow raises many types on damaged bytes; each means the same to the caller
            raise self._damaged(row, error) from None
        if image.mode not in GRAY + COLOR:
            raise bad(
                self.name_of(row), expected="8 bits a channel", got=f"an image of mode {image.mode}", remedy=TO_8_BITS
            )
        bits = _bits(content)
        if bits > 8:
            raise bad(self.name_of(row), expected="8 bits a channel", got=f"{bits} bits", remedy=TO_8_BITS)
        return image

    def _damaged(self, row: int, error: Exception) -> BadRequest:
        # Pillow names the bytes by their place in memory.
        line = one_line(re.sub(r" <_io\.\w+ object at 0x[0-9a-f]+>", "", str(error)), 120)
        return bad(self.name_of(row), expected="a " + " or ".join(FORMATS), got=f"a damaged or other file ({line})")

    def decode(self, row: int) -> np.ndarray:
        """One image. Several threads may ask at once.

        Args:
            row: its position.

        Returns:
            (C, H, W) uint8.

        Raises:
            BadRequest: see the class.
        """
        content = self.encoded[row]
        image = self._open(row, content)
        channels, height, width = self.form
        n_bytes = 4 * image.height * image.width
        if n_bytes > LARGE:
            require_room(n_bytes, len(content), self.name_of(row))
        self._check_size(row, image, self.form)
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
            if self.side is not None:
                image = _square(image, self.side)
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


def _square(image: "Image", side: int) -> "Image":
    """The largest centered square of an image, scaled."""
    from PIL import Image, ImageOps

    return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)


def _quiet() -> warnings.catch_warnings:
    """Without Pillow's warnings, such as that of very many pixels: what cannot be read is refused in one line."""
    return warnings.catch_warnings(action="ignore")
