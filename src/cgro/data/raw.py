"""A data set as it is stored: pixels or encoded images, labels, a checksum and a note. Every reader returns one."""

import functools
import hashlib
import io
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cgro._check import BadRequest, bad, one_line
from cgro._progress import progress
from cgro.reading import require_room

FORMATS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "BMP": (".bmp",), "PPM": (".ppm", ".pgm"), "WEBP": (".webp",)}
"""What is read as an image, and the endings of such files. Others, such as GIF and TIFF, may hold several images."""
GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P", "CMYK", "YCbCr")
UPDATE_EVERY = 500
"""Images between two updates of the progress bar."""


def digest(*parts: bytes) -> str:
    """SHA-256 of the parts, one after the other."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


class Images:
    """Images in files' encodings, decoded when they are asked for: `images[rows]` is (len(rows), C, H, W) uint8.

    Decoding is most of the time of reading CIFAR-10, and most runs ask for a part. All must have one size. They are
    gray (C = 1) or color (C = 3) as the first one is; gray ones in a set of color are converted, alpha is dropped.

    Args:
        encoded: the bytes of each image. name_of: what a message calls image k. like: a set of the same form.

    Raises:
        BadRequest: when asked for an image that is damaged, or of another size or kind (says which).
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, encoded: Sequence[bytes], name_of: Callable[[int], str], like: "Images | None" = None) -> None:
        self.encoded, self.name_of, self.like = encoded, name_of, like

    def __len__(self) -> int:
        return len(self.encoded)

    @functools.cached_property
    def form(self) -> tuple[int, int, int]:
        """(C, H, W), from the header of the first image."""
        if self.like is not None:
            return self.like.form
        with _quiet():
            image = self._open(0)
        return 1 if image.mode in GREY else 3, image.height, image.width

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)"""
        return len(self), *self.form

    @property
    def any_jpeg(self) -> bool:
        """Whether any image was compressed with loss."""
        return any(e[:2] == b"\xff\xd8" for e in self.encoded)

    def __getitem__(self, rows: Any) -> np.ndarray:
        rows = np.asarray(rows)
        stored = sum(len(self.encoded[row]) for row in rows.tolist())
        if len(rows):  # the header of the first image says what all of them would take
            what = f"{self.name_of(0)} and {len(rows) - 1:,} more of its size"
            require_room(len(rows) * math.prod(self.form), stored, what)
        pixels = np.empty((len(rows), *self.form), np.uint8)
        with progress(len(rows), "decoding images") as update, _quiet():
            for place, row in enumerate(rows.tolist()):
                pixels[place] = self._decode(row)
                if place % UPDATE_EVERY == 0:
                    update(place)
        return pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[np.arange(len(self))].astype(dtype or np.uint8, copy=False)

    def _open(self, row: int):
        Image = _pillow(self.name_of(row))
        try:
            image = Image.open(io.BytesIO(self.encoded[row]), formats=tuple(FORMATS))
        except Exception as error:  # Pillow raises many types on damaged bytes; each means the same to the caller
            raise self._damaged(row, error) from None
        if image.mode not in GREY + COLOUR:
            raise bad(self.name_of(row), expected="8 bits a channel", got=f"an image of mode {image.mode}")
        return image

    def _damaged(self, row: int, error: Exception) -> BadRequest:
        line = one_line(str(error), 120)
        return bad(self.name_of(row), expected="a " + " or ".join(FORMATS), got=f"a damaged or other file ({line})")

    def _decode(self, row: int) -> np.ndarray:
        image, (channels, height, width) = self._open(row), self.form
        if (image.height, image.width) != (height, width):
            raise bad(self.name_of(row), expected=f"{height}x{width} as the first image",
                      got=f"{image.height}x{image.width}", remedy="bring all images to one size")  # fmt: skip
        if channels == 1 and image.mode not in GREY:
            raise bad(self.name_of(row), expected="a gray image as the first one", got=f"mode {image.mode}",
                      remedy="store all images alike")  # fmt: skip
        mode = "L" if channels == 1 else "RGB"
        try:
            values = np.asarray(image if image.mode == mode else image.convert(mode))
        except Exception as error:  # as above: truncated or damaged pixels
            raise self._damaged(row, error) from None
        return values.reshape(height, width, channels).transpose(2, 0, 1)


def _quiet() -> warnings.catch_warnings:
    """Without Pillow's warnings, such as that of very many pixels: what cannot be read is refused in one line."""
    return warnings.catch_warnings(action="ignore")


def _pillow(what: str):
    try:
        from PIL import Image
    except ImportError as error:
        raise bad(what, expected="the package pillow", got=str(error), remedy="pip install 'cgro[data]'") from None
    return Image


Pixels = np.ndarray | Images


@dataclass(frozen=True)
class Raw:
    """A data set as it is stored.

    Args:
        x: (N, C, H, W), uint8 pixels (or encoded images that give them), or float32 in [0, 1].
        y: (N,) int64 labels 0 .. C-1.
        test: the official test part (x, y), or None if there is none.
        where: the file or package that was read. sha256: of its bytes. note: what a reader of a result must know.
        classes: names in label order; None: the labels themselves.
    """

    x: Pixels
    y: np.ndarray
    test: tuple[Pixels, np.ndarray] | None
    where: str
    sha256: str
    note: str
    classes: tuple[str, ...] | None = None

    def checked(self, name: str) -> "Raw":
        """Itself, if images fit labels and every class 0 .. C-1 has a training example.

        Raises:
            BadRequest: other counts of labels than of images, labels with gaps or below 0, a class without examples,
                test labels that training does not have, test images of another size.
        """
        parts = {"train": (self.x, self.y)} | ({"test": self.test} if self.test is not None else {})
        for part, (x, y) in parts.items():
            if len(x) != len(y) or not len(x):
                raise bad(f"{name}: {part} part", expected="as many labels as images, at least one",
                          got=f"{len(x)} images, {len(y)} labels")  # fmt: skip
        if not math.prod(self.x.shape[1:]):
            raise bad(f"{name}: images", expected="at least one pixel", got=f"shape {tuple(self.x.shape)}")
        if self.classes is not None:
            _require_names(name, self.classes)
        labels = np.unique(self.y)
        n_classes = len(self.classes) if self.classes is not None else max(2, int(labels.max()) + 1)
        _require_labels(name, labels, n_classes, self.classes)
        if self.test is not None:
            if strange := sorted(set(np.unique(self.test[1]).tolist()) - set(labels.tolist())):
                raise bad(f"{name}: test labels", expected=f"0 .. {n_classes - 1}", got=listed(strange))
            if self.test[0].shape[1:] != self.x.shape[1:]:
                raise bad(f"{name}: test images", expected=f"shape {tuple(self.x.shape[1:])} as in training",
                          got=tuple(self.test[0].shape[1:]))  # fmt: skip
        return self


def _require_labels(name: str, labels: np.ndarray, n_classes: int, classes: tuple[str, ...] | None) -> None:
    if labels.min() < 0 or labels.max() >= n_classes:
        raise bad(f"{name}: labels", expected=f"0 .. {n_classes - 1}", got=f"{labels.min()} .. {labels.max()}",
                  remedy="number the classes from 0; unlabeled examples cannot be used")  # fmt: skip
    if len(labels) < n_classes:
        have, n_missing = set(labels.tolist()), n_classes - len(labels)
        missing = (classes[k] if classes else k for k in range(n_classes) if k not in have)  # may be billions
        got = "no example of " + listed(itertools.islice(missing, min(8, n_missing)), n=n_missing)
        raise bad(f"{name}: labels", expected=f"0 .. {n_classes - 1} without gaps", got=got,
                  remedy="number the classes without gaps, or add examples")  # fmt: skip


def _require_names(name: str, classes: tuple[str, ...]) -> None:
    if len(set(classes)) < len(classes):
        raise bad(f"{name}: classes", expected="different names", got=listed(classes))
    for one in classes:
        if not _plain(one):
            raise bad(f"{name}: classes", expected="names in UTF-8 without control characters", got=one,
                      remedy="rename it")  # fmt: skip


def _plain(name: str) -> bool:
    """Whether a name can be written to a terminal and to UTF-8: no control characters, no bytes of other encodings."""
    return not any(c < " " or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in name)


def shown(name: str) -> str:
    r"""A name as results record it: itself, or with escapes what cannot be printed.

    >>> shown("caf\udce9")
    'caf\\udce9'
    """
    return name if _plain(name) else one_line(name)


def listed(values: Iterable[object], most: int = 8, *, n: int | None = None) -> str:
    """The first few of many (of n where `values` holds the first few alone), for one line.

    >>> listed([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    values = [str(v) for v in values]
    more = (len(values) if n is None else n) - most
    return ", ".join(values[:most]) + (f" and {more} more" if more > 0 else "")
