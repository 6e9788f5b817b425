"""Files that are no weights, by how they begin: what each is, and the way out. Nothing in them is read further."""

import zipfile
from typing import IO

START = 600
"""Bytes that tell: the mark of a tar archive stands at 257."""
_TAR = slice(257, 262)
_STARTS = (
    (b"version https://git-lfs", "a pointer of Git LFS and not the file", "fetch it with git lfs pull"),
    (b"<!doctype html", "a web page", "the download failed; fetch the file again"),
    (b"<html", "a web page", "the download failed; fetch the file again"),
    (b"<?xml", "a page of XML", "the download failed; fetch the file again"),
    (b"\x1f\x8b", "gzip", "unpack it"),
    (b"bzh", "bzip2", "unpack it"),
    (b"\xfd7zxz", "xz", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unpack it"),
    (b"\x89hdf", "HDF5, as Keras saves weights", "build the network in PyTorch and save its state dict"),
    (b"\x93numpy", "an array of numpy", "save a state dict, with torch.save or as safetensors"),
    (b"gguf", "GGUF", "use the weights that it was made from"),
)
"""How a file begins, in lower case -> what it is, and what to do."""


def foreign_kind(file: IO[bytes]) -> tuple[str, str] | None:
    """What a file is that holds no weights of PyTorch.

    Args:
        file: open for reading; read from its beginning.

    Returns:
        What it is, and what to do; None for anything else.

    Example:
        >>> import io
        >>> foreign_kind(io.BytesIO(b"<!DOCTYPE html>"))
        ('a web page', 'the download failed; fetch the file again')
        >>> foreign_kind(io.BytesIO(b"PK"))
    """
    file.seek(0)
    start = file.read(START)
    file.seek(0)
    lower = start.lower().lstrip(b" \r\n\t")
    for mark, what, remedy in _STARTS:
        if lower.startswith(mark):
            return what, remedy
    if start[_TAR] == b"ustar":
        return "a tar archive", "unpack it"
    if start.startswith(b"PK") and zipfile.is_zipfile(file):
        return _archive_kind(file)
    if _is_text(start):
        return "a text", "cgro diagnose reads logs and tables"
    return None


def _is_text(start: bytes) -> bool:
    """Whether a file begins as a text does; one of torch.save never does."""
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # not just a letter that is cut
            return False
        text = start[: error.start].decode()
    return "\n" in text and all(character.isprintable() or character in "\t\r\n\x1b" for character in text)


def _archive_kind(file: IO[bytes]) -> tuple[str, str] | None:
    """What a zip archive is; None for one of torch.save."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    file.seek(0)
    joined = "\n".join(["", *names, ""])
    if "/code/" in joined or "/constants.pkl\n" in joined:
        return "TorchScript, which holds code", "save torch.jit.load(FILE).state_dict() with torch.save"
    if "/data.pkl\n" in joined or not names:
        return None
    if joined.count(".npy\n") == len(names):
        return "an .npz of numpy", "save the arrays with safetensors.numpy.save_file"
    return "a zip archive of other files", "unpack it"
