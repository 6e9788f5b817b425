"""The folder of a run: who may work in it, what belongs in it, and when it may be deleted. No torch here.

A folder may have come from somebody else, and its name may be that of something that is no run. So a lock is a regular
file, nothing is written through a link that leads out, and only what a run wrote is ever deleted.
"""

import contextlib
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from cgro._check import BadRequest, bad, one_line
from cgro.reading import file_kind
from cgro.writing import TEMPORARY, cannot_write, is_alive, remove_leftovers

LOCK = ".lock"
DRAFT = ".summary.draft.json"
FIRST_FILES = (LOCK, "environment.json")
"""What a run that was killed in its first moments leaves."""
SET_ASIDE = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.old")
"""Name of a run that is being deleted, with the number of the process that deletes it."""
FREE = ("wandb", "tensorboard")
"""Folders that trackers fill, with links of their own."""
FILES = (
    "config.yaml",
    "environment.json",
    "metrics.jsonl",
    "summary.json",
    "given.json",
    "index_sets.json",
    "examples.npz",
    "slice.npz",
    "memory.json",
    "findings.json",
    "seconds.json",
    "peak_memory.json",
    "plan.yaml",
    "index.md",
    "index.html",
    LOCK,
    DRAFT,
)
"""What runs write at their top."""
ENDINGS = (
    ".json",
    ".jsonl",
    ".yaml",
    ".npz",
    ".safetensors",
    ".png",
    ".svg",
    ".gif",
    ".onnx",
    ".vnnlib",
    ".csv",
    ".md",
    ".html",
)
"""What runs write in folders below it."""
FOLDERS = (
    "checkpoints",
    "figures",
    "evaluations",
    "flatness",
    "networks",
    "export",
    "tables",
    "runs",
    "images",
    "theorem",
    "table2",
    "memorize",
    *FREE,
)
"""Folders that runs make, beside seed-0, seed-1 and the folders of artifacts, which are runs themselves."""
SEED = re.compile(r"seed-\d+")


def fresh(command: str) -> Path:
    """Make a folder that did not exist for a run: two commands that start in the same second get two.

    Args:
        command: its name.

    Returns:
        runs/COMMAND-TIME, with a number behind it where that is taken.

    Raises:
        BadRequest: a thousand of them are.
    """
    name = f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
    for k in range(1, 1000):
        path = Path("runs") / (name if k == 1 else f"{name}-{k}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise BadRequest(f"runs/{name}: a thousand runs began in this second; choose --out")


@contextlib.contextmanager
def held(folder: Path) -> Generator[None, None, None]:
    """Hold a folder against other processes until the block ends.

    Args:
        folder: an existing one.

    Yields:
        Nothing; the folder is held inside the block.

    Raises:
        BadRequest: another process holds it; its lock is a link, a pipe or a device; at the end of the block, it is no
            longer where it was.
    """
    descriptor = _locked(folder)
    try:
        yield
        if not _is_at(descriptor, folder / LOCK):
            raise BadRequest(f"{folder}: was moved or deleted while a command worked in it; what it wrote may be lost")
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int:
    """The open lock file, locked."""
    path = folder / LOCK
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if path.is_symlink() or (path.exists() and not path.is_file()):
                kind = file_kind(os.lstat(path).st_mode)
                raise bad(str(path), expected="a regular file", got=kind, remedy="not written through") from None
            raise cannot_write(error, path) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise bad(str(path), expected="a regular file", got=file_kind(os.lstat(path).st_mode))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BadRequest(f"{folder}: another process is working in it; wait, or choose another --out") from None
        if _is_at(descriptor, path):
            return descriptor
        # Between opening and locking the folder was renamed away by --overwrite: take the lock that is there now.
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file at `path` is the one that is open."""
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def entries(folder: Path) -> Iterator[Path]:
    """All that lies in a run's folder, without what its parts hold, which are runs with locks of their own.

    Args:
        folder: of a run.

    Yields:
        Files, links and folders, each folder before what is in it.
    """
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink() and not (path / LOCK).exists():
            yield from entries(path)


def seed_folders(folder: Path) -> list[Path]:
    """The runs of the seeds of a folder: seed-0, seed-1, ..., and nothing that is a link or only begins so.

    Args:
        folder: of a run of one or several seeds.

    Returns:
        Folders in the order of their seeds; none of a run of one seed.
    """
    found: list[Path] = []
    for path in folder.glob("seed-*"):
        if SEED.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            found.append(path)
    return sorted(found, key=lambda path: (int(path.name.removeprefix("seed-")), path.name))


def check_links(folder: Path) -> None:
    """Refuse a folder from which a link leads out: what is written below it would land elsewhere, and what is read from
    it may be private to the reader, who sends a report of it on.

    Args:
        folder: of a run, with the runs that lie in it. Links that trackers made in folders of their own are theirs.

    Raises:
        BadRequest: names the link and where it leads.
    """
    root = folder.resolve()
    for path in _links(folder):
        if not _leads_inside(path, root) and not _is_of_a_tracker(path, folder):
            got = f"one to {os.readlink(path)}"
            raise bad(str(path), expected="no link out of the run", got=got, remedy="put the folder itself there")


def _links(folder: Path) -> Iterator[Path]:
    """All links in a folder and below it.

    Unlike `entries` it looks into every folder: a lock makes a run of a folder, and whoever made the run may have put
    one into `evaluations`, below which commands write.
    """
    try:
        with os.scandir(folder) as opened:
            found = sorted(opened, key=lambda entry: entry.name)
    except FileNotFoundError:  # another process works in a part of the run
        return
    for entry in found:
        if entry.is_symlink():
            yield Path(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            yield from _links(Path(entry.path))


def _is_of_a_tracker(link: Path, folder: Path) -> bool:
    """Whether a link lies in a folder that a tracker fills, of the run or of one that lies in it."""
    parts = link.relative_to(folder).parts
    for k, part in enumerate(parts[:-1]):
        if part in FREE:
            return k == 0 or (folder.joinpath(*parts[:k]) / LOCK).exists()
    return False


def _leads_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # nothing there, or a ring of links
        return False


def clean(folder: Path) -> None:
    """Remove what killed processes left half-written; for the one that holds the folder.

    Args:
        folder: of a run, held by the caller.
    """
    remove_leftovers(list(entries(folder)))
    with contextlib.suppress(FileNotFoundError):
        (folder / DRAFT).unlink()


def is_new(folder: Path) -> bool:
    """Whether a run can begin in an existing folder: nothing in it but what a run killed in its first moments leaves.

    Args:
        folder: an existing one.

    Returns:
        True of an empty folder too.
    """
    return all(path.name in FIRST_FILES or TEMPORARY.fullmatch(path.name) for path in folder.iterdir())


def strangers(folder: Path, parts: tuple[str, ...] = ()) -> list[Path]:
    """What lies in a folder that no run writes.

    Args:
        folder: of a run.
        parts: names of further folders that this run makes, such as artifacts.

    Returns:
        Paths, sorted; empty if all of it is a run's.
    """
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            found.append(path)
        elif path.is_dir() and _is_folder_of_a_run(path.name, parts):
            found += _strangers_below(path)
        elif not (path.is_file() and _is_file_of_a_run(path.name)):
            found.append(path)
    return found


def _is_folder_of_a_run(name: str, parts: tuple[str, ...]) -> bool:
    return name in FOLDERS or name in parts or SEED.fullmatch(name) is not None


def _is_file_of_a_run(name: str) -> bool:
    return name in FILES or TEMPORARY.fullmatch(name) is not None


def _strangers_below(folder: Path) -> list[Path]:
    if folder.name in FREE:
        return []
    found: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or _is_written_below(path)):
            found.append(path)
    return found


def _is_written_below(path: Path) -> bool:
    return path.suffix in ENDINGS or path.name == LOCK or TEMPORARY.fullmatch(path.name) is not None


def delete(folder: Path, parts: tuple[str, ...] = ()) -> None:
    """Delete a run that nobody works in: renamed away first, so that a kill leaves a whole run or none.

    Args:
        folder: of a run; the caller has seen that it is one.
        parts: see `strangers`.

    Raises:
        BadRequest: it holds something that no run writes, is a link, or another process works in it.
    """
    if folder.is_symlink():
        raise bad(
            str(folder), expected="a run directory", got="a link to one", remedy="not deleted; name the folder itself"
        )
    unknown = strangers(folder, parts)
    if unknown:
        names = ", ".join(one_line(str(path.relative_to(folder)), 80) for path in unknown[:3])
        raise bad("--overwrite", expected=f"only files of a run in {folder}", got=names, remedy="nothing was deleted")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        descriptor = _locked(folder)
        try:
            folder.rename(aside)
        finally:
            os.close(descriptor)
        shutil.rmtree(aside)
    except OSError as error:
        raise BadRequest(f"cannot delete {folder}: {error.strerror or error}; delete it by hand") from None


def remove_set_aside(folder: Path) -> None:
    """Finish what processes that were killed while they deleted a run of this name left beside it.

    Args:
        folder: of the run, which need not exist.
    """
    if not folder.parent.is_dir():
        return
    for path in folder.parent.glob(".*.old"):
        match = SET_ASIDE.fullmatch(path.name)
        if match is None or match.group("name") != folder.name or is_alive(int(match.group("process"))):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
