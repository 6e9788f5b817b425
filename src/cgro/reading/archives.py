"""Arrays of an .npz, and gzip data: sizes are asked for before anything is allocated."""

import io
import math
import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from cgro._check import BadRequest, bad, one_line
from cgro.reading.files import open_regular
from cgro.reading.room import most_expanded, require_room

END = struct.Struct("<4s4H2LH")
"""The end of a zip archive: mark, disks and numbers of members, bytes and place of their list, bytes of a comment."""
END64_PLACE = struct.Struct("<4sLQL")
"""Before it in a large archive, and in all of torch: mark, disk, place of the longer end, number of disks."""
END64 = struct.Struct("<4sQ2H2L4Q")
"""The longer end: mark, its bytes, versions, disks, two numbers of members, bytes and place of their list."""
MOST_MEMBERS = 10_000
"""Arrays of an .npz, or members of a gzip file. A choice: ours have ten."""
MOST_HEADER = 64 << 10
"""Bytes of the header of an array; numpy itself refuses more than 10,000 once it holds them all."""
SLICE = 64 << 10
"""Compressed bytes that are given to zlib at once: it copies what it leaves."""
PIECE = 16 << 20
"""Bytes that are decompressed at once."""
GZIP_WINDOW = 31
"""zlib's number for gzip with its header, in the largest window."""


def read_npz(path: Path, *, follow: bool = True) -> dict[str, np.ndarray]:
    """All arrays of an .npz, by name. Nothing is unpickled, and sizes are asked for before anything is allocated.

    Args:
        path: the file.
        follow: whether a link at `path` is followed.

    Returns:
        The arrays by name.

    Raises:
        BadRequest: see `open_regular`; no .npz, one of objects, a damaged one, one that holds more than the memory.
    """
    # numpy warns of headers that Python 2 wrote; it reads them all the same.
    with open_regular(path, follow=follow) as file, warnings.catch_warnings(action="ignore"):
        size = os.fstat(file.fileno()).st_size
        try:
            require_room(_npz_size(file), size, str(path))
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except BadRequest:
            raise
        except Exception as error:  # zipfile, zlib, tokenize, numpy: each of many types means the same to the caller
            got = one_line(str(error), 200) or type(error).__name__
            raise bad(str(path), expected="an .npz of plain arrays", got=f"another or a damaged file ({got})") from None


def _npz_size(file: IO[bytes]) -> int:
    """Bytes of all arrays, from the headers of the members.

    Raises:
        ValueError: a member that is no plain array, is encrypted, is there twice, or says another size than the
            archive.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"{len(members):,} arrays, more than {MOST_MEMBERS:,}")
        names = [member.filename.removesuffix(".npy") for member in members]
        if len(set(names)) < len(names):  # numpy would take the last of them in silence
            raise ValueError("an array of one name is there twice")
        return sum(_npy_size(archive, member) for member in members)


def _npy_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes of one array; see `_npz_size` for what is refused."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The other methods expand a piece of the file to any length before zipfile looks at it.
        raise ValueError(f"{member.filename} is compressed as numpy does not")
    shape, dtype = _npy_header(archive, member)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects, which would have to be unpickled")
    if not dtype.itemsize:
        raise ValueError(f"{member.filename} holds values of no bytes")
    n_bytes = dtype.itemsize * math.prod(int(length) for length in shape)  # Python's integers do not overflow
    if n_bytes > member.file_size:
        raise ValueError(f"{member.filename} says {n_bytes:,} bytes and holds {member.file_size:,}")
    return n_bytes


def _npy_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of one array; a header of any length is not read whole."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        is_first_version = version == (1, 0)
        prefix = stream.read(2 if is_first_version else 4)
        length = int.from_bytes(prefix, "little")
        if length > MOST_HEADER:
            raise ValueError(f"{member.filename} has a header of {length:,} bytes")
        header = io.BytesIO(prefix + stream.read(length))
    if is_first_version:
        shape, _, dtype = np.lib.format.read_array_header_1_0(header)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(header)
    return shape, dtype


def require_one_archive(file: IO[bytes], size: int) -> None:
    """Refuse a zip archive whose list of members is not where its end says: readers then differ in what they find.

    Python measures the place of the list from the end of the file and torch from its beginning, so that of two archives
    one after the other each takes another, and the sizes that one states say nothing of what the other allocates.

    Args:
        file: open, of a zip archive.
        size: its bytes.

    Raises:
        ValueError: something lies before it, behind it, or between its list and its end.
    """
    file.seek(max(0, size - END.size - END64_PLACE.size - END64.size))
    tail = file.read()
    end = size - END.size
    mark, *_, length, start, comment = END.unpack(tail[-END.size :].rjust(END.size, b"\0"))
    place, tail = tail[: -END.size][-END64_PLACE.size :], tail[: -END.size - END64_PLACE.size]
    if place.startswith(b"PK\6\7") and len(tail) == END64.size:
        end -= END64_PLACE.size + END64.size
        _, _, stated, _ = END64_PLACE.unpack(place)
        if stated != end:
            raise ValueError("a damaged archive, or several in one file")
        mark64, *_, length, start = END64.unpack(tail)
        mark = mark if mark64 == b"PK\6\6" else mark64
    if mark != b"PK\5\6" or comment or start + length != end:
        raise ValueError("a damaged archive, or several in one file")


def gunzip(content: bytes, what: str) -> bytes:
    """Decompress gzip data, no further than `require_room` allows.

    Args:
        content: the compressed bytes, of one or several members.
        what: how messages call it.

    Returns:
        The decompressed bytes.

    Raises:
        BadRequest: damaged or truncated, or more than the memory holds.
    """
    pieces: list[bytes] = []
    n_members = 0
    position = 0
    n_left = most_expanded(len(content))
    try:
        while position < len(content):
            n_members += 1
            if n_members > MOST_MEMBERS:
                raise zlib.error(f"more than {MOST_MEMBERS:,} members")
            member = _Member(content, position, what)
            n_left -= member.decompress(pieces, n_left)
            position = _after_padding(content, member.position)
    except zlib.error as error:
        raise BadRequest(f"{what}: damaged or truncated ({one_line(str(error), 120)}); fetch it again") from None
    return b"".join(pieces)


class _Member:
    """One member of gzip data, from `position` on; afterwards `position` is where it ends."""

    def __init__(self, content: bytes, position: int, what: str) -> None:
        self.content = content
        self.position = position
        self.what = what

    def decompress(self, pieces: list[bytes], n_left: int) -> int:
        """Append what is in it to `pieces`.

        Returns:
            The number of bytes.

        Raises:
            zlib.error: damaged or truncated.
            BadRequest: more than `n_left` bytes, or than the memory that is left.
        """
        stream = zlib.decompressobj(wbits=GZIP_WINDOW)
        total = 0
        while not stream.eof:
            rest = stream.unconsumed_tail or self._next_slice()
            piece = stream.decompress(rest, PIECE)
            if not piece and not stream.eof and self.position == len(self.content):
                raise zlib.error("the end is missing")
            pieces.append(piece)
            total += len(piece)
            if total > n_left:
                compressed = len(self.content)
                limit = most_expanded(compressed)
                raise bad(self.what, expected=f"at most {limit:,} bytes from {compressed:,} compressed", got="more")
            require_room(len(piece), len(piece), self.what)
        self.position -= len(stream.unused_data)
        return total

    def _next_slice(self) -> bytes:
        # In slices, since zlib copies what it leaves: with many members that would be the whole file for each.
        rest = self.content[self.position : self.position + SLICE]
        self.position += len(rest)
        return rest


def _after_padding(content: bytes, position: int) -> int:
    """Where the next member begins: zeros between members are allowed, as gzip itself does."""
    if content[position : position + 1] != b"\0":
        return position
    return len(content) - len(content[position:].lstrip(b"\0"))
