"""Writing files whole or not at all, as strict JSON, plain arrays and bytes. No torch here."""

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cgro._check import BadRequest, printable

FORMULA = re.compile(r"[=@]|[-+].*([|!]|\w\()")
"""Texts that spreadsheets compute, and by which they start programs. Signed numbers with an interval are none."""
TEMPORARY = re.compile(r"\..+\.(?P<process>\d+)\.tmp")
"""Name of a file that is being written, with the number of the process that writes it."""


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, whole or not at all.

    The new content is written beside its place and renamed into it. A link at `path` is replaced, never followed.

    Args:
        path: the file; its folder is made.
        data: all of its content.

    Raises:
        BadRequest: the disk is full or not writable; the old file is intact and nothing is left behind.
    """
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is written piece by piece, and is at its place whole or not at all; see `write_atomic`.

    Args:
        path: the file; its folder is made.

    Yields:
        The file beside its place, for writing; renamed when the block ends, gone when it raises.

    Raises:
        BadRequest: the disk is full or not writable; the old file is intact and nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        # "x": never into something that was put there for us to write through.
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise cannot_write(error, path) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def cannot_write(error: OSError, path: Path) -> BadRequest:
    """The line about a full or read-only disk.

    Args:
        error: what the system said.
        path: the file or folder that was to be written.

    Returns:
        The error, to be raised.
    """
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = "the disk is full"
    return BadRequest(f"cannot write {path}: {why}; free space or choose another --out, then run it again to resume")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace the .npz file at `path`, whole or not at all; see `write_atomic`.

    Args:
        path: the file; its folder is made.
        arrays: all of its arrays, by name.

    Raises:
        BadRequest: the disk is full or not writable.
    """
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_atomic(path, content.getvalue())


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove what killed processes were writing, of the files named.

    A process of that number that is alive may be another one by now; its file then stays until a later call.

    Args:
        paths: files and folders; those whose names are not `TEMPORARY` are left alone.
    """
    for path in paths:
        match = TEMPORARY.fullmatch(path.name)
        if match and not is_alive(int(match.group("process"))):
            with contextlib.suppress(OSError):
                path.unlink()


def is_alive(process: int) -> bool:
    """Whether a process of this number exists on this machine; this one does not count.

    Args:
        process: its number, of any size.

    Returns:
        True also for a process of another user.
    """
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def plain(value: object) -> Any:  # a JSON value: what `json.loads` would give, and as it says
    """A value as strict JSON has it: arrays to lists, NaN to null, infinities to "inf" / "-inf", tuples to lists.

    Args:
        value: mappings, lists, arrays, numbers, texts and paths, nested.

    Returns:
        Dictionaries, lists, finite numbers, texts, bools and None. Other values are left for `json` to refuse.

    Example:
        >>> plain({"p": float("inf"), "gap": float("nan"), "u": (1, 2)})
        {'p': 'inf', 'gap': None, 'u': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        return "inf" if value > 0 else "-inf"
    if isinstance(value, Path):
        return str(value)
    return value


def dump_json(value: object) -> bytes:
    """A value as JSON for people: UTF-8, two spaces of indentation and a final newline.

    Args:
        value: as `plain` takes it.

    Returns:
        The bytes of the file.
    """
    return (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode()


def dump_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as comma-separated values, with texts that a spreadsheet would compute behind an apostrophe,
    and control characters as escapes.

    Args:
        columns: the head.
        rows: cells, one per column. Their texts may come from others.

    Returns:
        The bytes of the file, UTF-8.

    Example:
        >>> dump_csv(["run", "gap"], [["=cmd|'/C calc'!A0", -0.5]])
        b"run,gap\\n'=cmd|'/C calc'!A0,-0.5\\n"
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_inert(name) for name in columns])
    for row in rows:
        writer.writerow([_inert(cell) for cell in row])
    return text.getvalue().encode()


def _inert(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = printable(cell)  # a carriage return would end the row in some readers
    return f"'{text}" if FORMULA.match(text) else text


def sha256(*parts: bytes) -> str:
    """SHA-256 of the parts, one after the other.

    Args:
        parts: pieces of one content.

    Returns:
        The digest in hexadecimal.
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()
