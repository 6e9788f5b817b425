"""What Linux's control groups leave of the memory: of a container, or of a job of Slurm, less than the machine has."""

from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""Bytes from which on a limit is none; version 1 writes 2^63 rounded to pages."""


def group_memory() -> int | None:
    """What the groups of this process may still take; the kernel ends a process that takes more.

    A group is limited by those above it too. Pages of files that were not used for a while count as left.

    Returns:
        Bytes, at least 0; None where no limit is known.
    """
    left: list[int] = []
    for folder, files in _groups():
        limit, usage = (_number(folder / name) for name in files)
        if limit is not None and usage is not None and limit < UNLIMITED:
            left.append(max(0, limit - max(0, usage - _reclaimable(folder))))
    return min(left, default=None)


def _groups() -> list[tuple[Path, tuple[str, str]]]:
    """The folders of the groups from the process's own up, with the files of limit and usage.

    In a container the path may be that of the host, which is not there; then the root is the container's."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found: list[tuple[Path, tuple[str, str]]] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if number == "0" and not controllers:
            root, files = ROOT, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, files = ROOT / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        parts = [part for part in place.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            found.append((root.joinpath(*parts[:depth]), files))
    return found


def _number(path: Path) -> int | None:
    """The number in a file; None where there is none, as in `max`."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isascii() and text.isdecimal() else None


def _reclaimable(folder: Path) -> int:
    """Bytes of cached files that the kernel gives up first."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    found: dict[str, int] = {}
    for line in lines:
        name, _, value = line.partition(" ")
        if value.isdecimal():
            found[name] = int(value)
    return found.get("total_inactive_file", found.get("inactive_file", 0))
