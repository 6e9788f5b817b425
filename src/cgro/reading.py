"""Reading what others made: one reader for each kind of file. No torch here.

What comes from outside is data. A reader opens regular files only (a named pipe would hang it, a device would fill the
memory), asks for sizes before it allocates, unpickles and executes nothing, and turns every failure into one line:
`BadRequest` with the path, what was expected and what came.
"""

import functools
import io
import json
import os
import resource
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from cgro._check import BadRequest, bad, one_line

TEXT_LIMIT = 64 << 20
"""Bytes of a text that is read. A training log of 200,000 epochs has about 20 MB. A choice."""
YAML_LIMIT = 256 << 10
"""Bytes of a YAML file that is read; ours have a few thousand. The parser takes about a second for so many."""
EXPANSION = 200
"""A file that says it holds more than this many times its size is refused (deflate reaches 1,032 on zeros). A choice:
photographs expand by 1 to 30, MNIST's files by 5, the same as float64 by 40."""
ALWAYS_ROOM = 256 << 20
"""Bytes that any file may expand to, whatever its size."""
MOST_MEMBERS = 10_000
"""Arrays of an .npz, or members of a gzip file. A choice: ours have ten."""
MOST_CONTAINERS = 2_000_000
"""Lists and objects of one JSON text. An empty one takes 64 bytes of memory and 2 of the text."""
MOST_HEADER = 64 << 10
"""Bytes of the header of an array; numpy itself refuses more than 10,000 once it holds them all."""
FILE_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def kind_of(mode: int) -> str:
    """What a file's mode says it is, in words."""
    for test, words in FILE_KINDS:
        if test(mode):
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
            raise bad(
                str(path), expected="a regular file", got="a link", remedy="links are not followed here"
            ) from None
        why = getattr(error, "strerror", None) or str(error)
        raise bad(str(path), expected="a file that can be read", got=why) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise bad(str(path), expected="a regular file", got=kind_of(mode))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, *, limit: int | None = None, follow: bool = True) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        limit: largest size, in bytes; None asks only whether the memory holds it.
        follow: see `open_regular`.

    Raises:
        BadRequest: see `open_regular`; the file is larger than `limit`, or than the memory that is left.
    """
    with open_regular(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        if limit is not None and size > limit:
            raise bad(str(path), expected=f"at most {limit:,} bytes", got=f"{size:,}")
        require_room(size, size, str(path))
        try:
            return file.read() if limit is None else file.read(limit)
        except OSError as error:
            raise bad(str(path), expected="a file that can be read", got=error.strerror or str(error)) from None


def read_text(path: Path, *, limit: int = TEXT_LIMIT, follow: bool = True) -> str:
    """The text of a UTF-8 file; a byte order mark is dropped.

    Raises:
        BadRequest: see `read_bytes`; bytes that are not UTF-8 (says where).
    """
    content = read_bytes(path, limit=limit, follow=follow)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad(str(path), expected="UTF-8 text", got=f"byte {content[error.start]:#04x} at {error.start}",
                  remedy="damaged, or another encoding") from None  # fmt: skip


def parse_json(text: str | bytes, what: str, *, non_finite: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: of one value.
        what: how messages call it.
        non_finite: whether NaN and Infinity, which Python writes and JSON has not, are taken.

    Raises:
        BadRequest: no JSON, nested too deeply, a number of thousands of digits.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    mark = text.count if isinstance(text, bytes) else lambda byte: text.count(byte.decode())
    if mark(b"[") + mark(b"{") > MOST_CONTAINERS:
        raise bad(what, expected=f"JSON of at most {MOST_CONTAINERS:,} lists and objects", got="more")
    try:
        return json.loads(text, parse_constant=None if non_finite else refuse)
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise bad(what, expected="JSON", got=f"a damaged text ({one_line(str(error), 120)})") from None


def read_json(path: Path, *, follow: bool = True) -> Any:
    """The value in a JSON file; see `read_text` and `parse_json`."""
    return parse_json(read_text(path, follow=follow), str(path))


def read_json_object(path: Path, *, follow: bool = True) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        BadRequest: see `read_json`; another value, such as a list.
    """
    value = read_json(path, follow=follow)
    if not isinstance(value, dict):
        raise bad(str(path), expected="a JSON object", got=type(value).__name__)
    return value


class _PlainLoader(yaml.SafeLoader):
    """Tags of Python are refused by its base; aliases, with which a few lines stand for gigabytes, here."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias; no configuration needs one."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(None, None, f"the alias *{event.anchor}", event.start_mark)
        return super().compose_node(parent, index)


def parse_yaml(text: str, what: str) -> Any:
    """The value of a YAML text of plain values without aliases.

    Args:
        text: of one document.
        what: how messages call it.

    Raises:
        BadRequest: no YAML, an alias, a tag, nested too deeply, a number or date out of range.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except Exception as error:  # YAMLError, RecursionError, and whatever int, float and datetime raise on odd scalars
        got = one_line(str(error), 200)
        raise bad(what, expected="YAML of plain values, without aliases", got=f"another text ({got})") from None


def read_yaml_mapping(path: Path, *, follow: bool = True) -> dict[str, Any]:
    """The mapping in a YAML file, with text for keys.

    Raises:
        BadRequest: see `read_text` and `parse_yaml`; no mapping, keys that are not text.
    """
    value = parse_yaml(read_text(path, limit=YAML_LIMIT, follow=follow), str(path))
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise bad(str(path), expected="a YAML mapping of names to values", got=type(value).__name__)
    return value


def read_npz(path: Path, *, follow: bool = True) -> dict[str, np.ndarray]:
    """All arrays of an .npz, by name. Nothing is unpickled, and sizes are asked for before anything is allocated.

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
        ValueError: a member that is no plain array, is encrypted, or says another size than the archive.
    """
    total = 0
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"{len(members):,} arrays, more than {MOST_MEMBERS:,}")
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # The other methods expand a piece of the file to any length before zipfile looks at it.
                raise ValueError(f"{member.filename} is compressed as numpy does not")
            shape, dtype = _npy_header(archive, member)
            if dtype.hasobject:
                raise ValueError(f"{member.filename} holds Python objects, which would have to be unpickled")
            if not dtype.itemsize:
                raise ValueError(f"{member.filename} holds values of no bytes")
            n_bytes = dtype.itemsize
            for length in shape:
                n_bytes *= int(length)
            if n_bytes > member.file_size:
                raise ValueError(f"{member.filename} says {n_bytes:,} bytes and holds {member.file_size:,}")
            total += n_bytes
    return total


def _npy_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of one array; a header of any length is not read whole."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        length = stream.read(2 if version == (1, 0) else 4)
        if int.from_bytes(length, "little") > MOST_HEADER:
            raise ValueError(f"{member.filename} has a header of {int.from_bytes(length, 'little'):,} bytes")
        rest = io.BytesIO(length + stream.read(int.from_bytes(length, "little")))
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(rest)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(rest)
    return shape, dtype


def gunzip(content: bytes, what: str) -> bytes:
    """Decompress gzip data, no further than `require_room` allows.

    Args:
        content: the compressed bytes, of one or several members.
        what: how messages call it.

    Raises:
        BadRequest: damaged or truncated, or more than the memory holds.
    """
    limit = max(ALWAYS_ROOM, EXPANSION * len(content))
    pieces: list[bytes] = []
    total = members = position = 0
    try:
        while position < len(content):
            members += 1
            if members > MOST_MEMBERS:
                raise zlib.error(f"more than {MOST_MEMBERS:,} members")
            stream = zlib.decompressobj(wbits=31)
            while not stream.eof:
                rest = stream.unconsumed_tail
                if not rest:  # in slices, since zlib copies what it leaves: the whole file for each of many members
                    rest = content[position : position + _SLICE]
                    position += len(rest)
                piece = stream.decompress(rest, 16 << 20)
                if not piece and not stream.eof and position == len(content):
                    raise zlib.error("the end is missing")
                pieces.append(piece)
                total += len(piece)
                if total > limit:
                    raise bad(what, expected=f"at most {limit:,} bytes from {len(content):,} compressed", got="more")
                require_room(len(piece), len(piece), what)
            position -= len(stream.unused_data)
            if content[position : position + 1] == b"\0":  # padding, as gzip itself allows
                position = len(content) - len(content[position:].lstrip(b"\0"))
    except zlib.error as error:
        raise BadRequest(f"{what}: damaged or truncated ({one_line(str(error), 120)}); fetch it again") from None
    return b"".join(pieces)


_SLICE = 64 << 10


def require_room(needed: int, stored: int, what: str) -> None:
    """Refuse what would not fit into the memory, or what expands as only a decompression bomb does.

    Args:
        needed: bytes that are about to be allocated.
        stored: bytes of the file that asks for them.
        what: how messages call it.

    Raises:
        BadRequest: more than `EXPANSION` times the file and more than `ALWAYS_ROOM`, or more than is left.
    """
    if needed > max(ALWAYS_ROOM, EXPANSION * stored):
        raise bad(what, expected=f"at most {EXPANSION} times the {stored:,} bytes of the file in memory",
                  got=f"{needed:,} bytes", remedy="such files are made to fill a memory")  # fmt: skip
    left = memory_left()
    if needed > left:
        raise bad(what, expected=f"at most the {left:,} bytes of memory that are left", got=f"{needed:,} bytes",
                  remedy="read a smaller part, or use a larger machine")  # fmt: skip


def memory_left() -> int:
    """Bytes that this process may still allocate: what the machine has left, or a limit of the process if lower."""
    left = [_machine_memory()]
    used = _status_bytes()
    for limit, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            left.append(max(0, soft - used.get(field, 0)))
    return min(left)


def _machine_memory() -> int:
    available = _colon_table(Path("/proc/meminfo")).get("MemAvailable")
    if available is not None:
        return available
    return _total_memory()


@functools.cache
def _total_memory() -> int:
    """Where /proc is not, as on macOS: all that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _status_bytes() -> dict[str, int]:
    return _colon_table(Path("/proc/self/status"))


def _colon_table(path: Path) -> dict[str, int]:
    """Entries in kB of a table of the kernel, such as `MemAvailable:  1234 kB`, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value[:-3]) << 10
    return found


def attempt(read: Callable[[], Any]) -> Any | None:
    """What a reader gives, or None where it refuses: for a file that is only kept to save work, and is made anew."""
    try:
        return read()
    except BadRequest:
        return None
