"""Whether the memory holds what a file asks for."""

import functools
import os
import resource
from pathlib import Path

from cgro._check import bad
from cgro.reading.cgroups import group_memory

EXPANSION = 200
"""A file that says it holds more than this many times its size is refused (deflate reaches 1,032 on zeros). A choice:
photographs expand by 1 to 30, MNIST's files by 5, the same as float64 by 40."""
ALWAYS_ROOM = 256 << 20
"""Bytes that any file may expand to, whatever its size."""
MEMORY = Path("/proc/meminfo")
PROCESS = Path("/proc/self/status")


def require_room(needed: int, stored: int, what: str) -> None:
    """Refuse what would not fit into the memory, or what expands as only a decompression bomb does.

    Args:
        needed: bytes that are about to be allocated.
        stored: bytes of the file that asks for them.
        what: how messages call it.

    Raises:
        BadRequest: more than `EXPANSION` times the file and more than `ALWAYS_ROOM`, or more than is left.
    """
    if needed > most_expanded(stored):
        raise bad(
            what,
            expected=f"at most {EXPANSION} times the {stored:,} bytes of the file in memory",
            got=f"{needed:,} bytes",
            remedy="such files are made to fill a memory",
        )
    left = memory_left()
    if needed > left:
        raise bad(
            what,
            expected=f"at most the {left:,} bytes of memory that are left",
            got=f"{needed:,} bytes",
            remedy="read a smaller part, or use a larger machine",
        )


def most_expanded(stored: int) -> int:
    """How far a file may expand before it is taken for a decompression bomb.

    Args:
        stored: its bytes.

    Returns:
        Bytes in memory.
    """
    return max(ALWAYS_ROOM, EXPANSION * stored)


def memory_left() -> int:
    """What this process may still allocate: what the machine has left, or a limit of the process, its container or its
    job if lower.

    Returns:
        Bytes.
    """
    left = [_machine_memory()]
    of_group = group_memory()
    if of_group is not None:
        left.append(of_group)
    used = _colon_table(PROCESS)
    for limit, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            left.append(max(0, soft - used.get(field, 0)))
    return min(left)


def _machine_memory() -> int:
    available = _colon_table(MEMORY).get("MemAvailable")
    if available is None:
        return _total_memory()
    return available


@functools.cache
def _total_memory() -> int:
    """Where /proc is not, as on macOS: all that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _colon_table(path: Path) -> dict[str, int]:
    """Entries in kB of a table of the kernel, such as `MemAvailable:  1234 kB`, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    found: dict[str, int] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.removesuffix(" kB")) << 10
    return found
