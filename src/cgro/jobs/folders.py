"""Folders of a store, replaced whole: a kill at any moment leaves the old ones or the new ones, never less.

A new folder is built in ROOT/.replacing/new; folders that it replaces move to ROOT/.replacing/old, and then it is
renamed to its place. As long as .replacing/new exists the replacement has not happened: whoever finds it there undoes
it, whoever finds only .replacing/old finishes it. A POSIX rename cannot replace a folder that holds files, and a swap
of two folders in one step exists on few systems; so for the time between two renames a reader finds neither folder in
its place.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from cgro.runs import write_atomic

STAGE = ".replacing"


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold a store against other processes, waiting for them; what a killed one left is undone or finished first.

    The lock is that of the folder itself: stores are committed, and a lock file would be one more file in them.

    Args:
        root: the store's folder; it is made.

    Yields:
        Nothing; the store is held until the block ends.
    """
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        _recover(root)
        yield
    finally:
        os.close(descriptor)


def replace(root: Path, target: Path, fill: Callable[[Path], None], *, outdated: Iterable[Path] = ()) -> None:
    """Put a new folder in the place of `target`, and take outdated ones away with it. The store is `held`.

    Args:
        root: of the store; target and outdated lie below it.
        target: replaced, or made.
        fill: writes the new folder's files into the folder that it is called with.
        outdated: folders that are void once the new one is there.
    """
    new = root / STAGE / "new"
    old = root / STAGE / "old"
    try:
        new.mkdir(parents=True)
        fill(new)
        old.mkdir()
        for folder in (*outdated, target):
            if folder.exists():
                os.rename(folder, old / quote(str(folder.relative_to(root)), safe=""))
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(new, target)
    finally:
        _recover(root)


def replace_files(root: Path, target: Path, files: Mapping[str, bytes], *, outdated: Iterable[Path] = ()) -> None:
    """Put a folder with these files in the place of `target`; see `replace`.

    Args:
        root: of the store, which is `held`.
        target: replaced, or made.
        files: path below the target -> content.
        outdated: folders that are void once the new one is there.
    """

    def fill(folder: Path) -> None:
        for name, content in files.items():
            write_atomic(folder / name, content)

    replace(root, target, fill, outdated=outdated)


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder.

    Args:
        folder: need not exist.

    Returns:
        Path below the folder -> content.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def _recover(root: Path) -> None:
    new = root / STAGE / "new"
    old = root / STAGE / "old"
    if new.exists():
        moved = list(old.iterdir()) if old.exists() else []
        for folder in moved:
            place = root / unquote(folder.name)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.rename(folder, place)
        shutil.rmtree(new)  # only now: until then the next process knows that this is to be undone
    if (root / STAGE).exists():
        shutil.rmtree(root / STAGE)
