"""Data in layouts that are not read: named as what they are, with the way out, instead of a missing class folder."""

from collections.abc import Iterator
from pathlib import Path

from cgro._check import BadRequest, bad

PICKLE_START = b"\x80"
"""First byte of a Python pickle since protocol 2 (2003)."""
PICKLE_ENDINGS = (".pkl", ".pickle")
IDX_ENDINGS = ("-ubyte", "-ubyte.gz")
"""How files of MNIST and of sets made after it end."""
SAVE_NPZ = "save the arrays once from Python, numpy.savez('data.npz', x=x, y=y, x_test=x_test, y_test=y_test)"
INSTEAD_OF_PICKLES = f"use --data cifar10 (parquet files, from $CGRO_DATA or the Hugging Face hub), or {SAVE_NPZ}"
INSTEAD_OF_IDX = (
    "use --data mnist with CGRO_DATA set to a folder that holds these files, as .gz, in mnist/, "
    f"or {SAVE_NPZ} and name data.npz"
)


def not_read(path: Path) -> BadRequest | None:
    """The refusal of a file or folder in a known layout that is not read.

    A pickle is code that runs when it is loaded, so that none is ever loaded, whoever made it.

    Args:
        path: of a file, a folder, or a folder of such folders, as torchvision stores its downloads.

    Returns:
        The error, to be raised; None for what looks like none of these.
    """
    for file in _candidates(path):
        if _is_pickle(file):
            got = f"{file.name}, a Python pickle, which could run code and is never loaded"
            remedy = INSTEAD_OF_PICKLES
        else:
            got = f"{file.name}, an IDX file of MNIST's layout"
            remedy = INSTEAD_OF_IDX
        return bad(str(path), expected="class folders, parquet files or an .npz", got=got, remedy=remedy)
    return None


def _candidates(path: Path) -> Iterator[Path]:
    """Of the file itself, or of the files in a folder and in its folders, those in a layout that is not read."""
    for file in _files(path):
        if not file.name.startswith(".") and (file.name.endswith(IDX_ENDINGS) or _is_pickle(file)) and file.is_file():
            yield file


def _files(path: Path) -> Iterator[Path]:
    """What lies in a folder, then what lies in each of its folders: one folder in memory at a time, of maybe 1,000."""
    if path.is_file():
        yield path
        return
    top = sorted(path.iterdir())
    yield from top
    for place in top:
        if place.is_dir():
            yield from sorted(place.iterdir())


def _is_pickle(file: Path) -> bool:
    if file.suffix.lower() in PICKLE_ENDINGS:
        return True
    if file.suffix not in ("", ".meta") or not file.is_file():  # CIFAR's have no ending, beside batches.meta
        return False
    with file.open("rb") as content:
        return content.read(1) == PICKLE_START
