"""The bytes of a regular file, and of nothing else."""

import os
import stat
from pathlib import Path
from typing import IO

from cgro._check import bad
from cgro.reading.room import require_room

FILE_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def file_kind(mode: int) -> str:
    """What a file's mode says it is, in words.

    Args:
        mode: as from `os.stat`.

    Returns:
        Such as "a named pipe".

    Example:
        >>> file_kind(os.lstat("/").st_mode)
        'a folder'
    """
    for is_kind, words in FILE_KINDS:
        if is_kind(mode):
            return words
    return "a regular file"


def open_regular(path: Path, *, follow: bool = True) -> IO[bytes]:
    """Open a regular file for reading; anything else is refused without waiting for it.

    Args:
        path: the file.
        follow: whether a link at `path` is followed. Inside a run directory it is not.

    Returns:
        The open file, in binary mode.

    Raises:
        BadRequest: there is none, it cannot be read, or it is a folder, a link, a named pipe or a device.
    """
    # O_NONBLOCK: opening a named pipe returns at once instead of waiting for a writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    if not follow:
        flags |= os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise bad(str(path), expected="a file", got="none") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        if not follow and path.is_symlink():
            remedy = "links are not followed here"
            raise bad(str(path), expected="a regular file", got="a link", remedy=remedy) from None
        why = getattr(error, "strerror", None) or str(error)
        raise bad(str(path), expected="a file that can be read", got=why) from None
    # Asked of the open file, not of the path, which may be another file by now.
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise bad(str(path), expected="a regular file", got=file_kind(mode))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, *, limit: int | None = None, follow: bool = True) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        limit: largest size, in bytes; None asks only whether the memory holds it.
        follow: see `open_regular`.

    Returns:
        All of its bytes.

    Raises:
        BadRequest: see `open_regular`; the file is larger than `limit`, or than the memory that is left.
    """
    with open_regular(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        if limit is not None and size > limit:
            raise bad(str(path), expected=f"at most {limit:,} bytes", got=f"{size:,}")
        require_room(size, size, str(path))
        try:
            if limit is None:
                return file.read()
            return file.read(limit)  # it may grow while it is read
        except OSError as error:
            raise bad(str(path), expected="a file that can be read", got=error.strerror or str(error)) from None
