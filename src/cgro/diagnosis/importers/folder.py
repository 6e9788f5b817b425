"""The log in a folder, as `lightning_logs/version_0` or the output of a training."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cgro._check import BadRequest, bad, listed, one_line
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.metric_files import metrics_in

_SUFFIXES = (".csv", ".tsv", ".log", ".txt", ".out", ".json", ".jsonl", ".ndjson", ".md", ".gz")
_LOGS = (".csv", ".log")
"""A file of such a name is a log, or should be."""
_EVENTS = "tfevents"
MOST_FILES = 30
"""Files of a folder that are tried; of more none is, since what is not tried could be the log. A choice: a training
leaves a few."""
MOST_ENTRIES = 10_000
"""Entries of a folder that are looked at for logs further down. A choice: more are data."""
DEEPEST = 2
"""Levels of folders below one in which logs are looked for, to be named. A choice: as trackers and launchers make."""

Read = Callable[[Sequence[Path]], list[Curves]]
"""Reads a file, or several event files as one log; refuses what holds no curves."""


@dataclass(frozen=True)
class FolderLog:
    """The log that a folder stands for.

    Args:
        files: one, or several that belong together.
        curves: one value per seed.
        metrics: whether they hold one metric each.
    """

    files: tuple[Path, ...]
    curves: list[Curves]
    metrics: bool = False

    @property
    def named(self) -> Path:
        """What a caller names to have it read: the file, or the folder of several."""
        if len(self.files) == 1 and not self.metrics:
            return self.files[0]
        return common_folder(self.files)

    def sentence(self) -> str:
        """Which files were read.

        Returns:
            One sentence.
        """
        if len(self.files) == 1 and not self.metrics:
            return f"{self.files[0]} is read: no other file of the folder holds curves"
        if self.metrics:
            return f"the {len(self.files)} files of {self.named}, each of one metric, are read together"
        return f"the {len(self.files)} event files of {self.named} are read together: no other file holds curves"


def common_folder(files: Iterable[Path]) -> Path:
    """The deepest folder in which files lie, at any depth.

    Args:
        files: at least one.

    Returns:
        It.

    Example:
        >>> common_folder([Path("a/train/x"), Path("a/val/y")]).name
        'a'
    """
    return Path(os.path.commonpath([path.parent for path in files]))


def log_in(folder: Path, read: Read, *, together: bool = True) -> FolderLog | None:
    """The one log of a folder: a file that can be read as curves, or all of its event files.

    Folders in it are looked into for event files alone, where there is no log outside of them.

    Args:
        folder: without a run of ours in it.
        read: of a log.
        together: whether event files of one folder are one log, and those of its folders its parts or runs.

    Returns:
        None where nothing can be read.

    Raises:
        BadRequest: several can be read (names them), or more might than are tried; or none, and one is surely a log:
            why not.
    """
    files = list(_logs(folder))
    refusals: list[BadRequest] = []
    found = _readable(folder, _candidates(files, together), read, refusals)
    if not found and together:
        events = tuple(path for path in (*files, *_below(folder, 1)) if _EVENTS in path.name)
        if len(events) > 1 and not set(events) <= set(files):
            of_all: list[BadRequest] = []
            found = _readable(folder, [events], read, of_all)
            refusals = [*of_all, *refusals]
    if len(found) > 1:
        names = listed((one.files[0].name for one in found), 6)
        got = f"{len(found)}: {names}"
        raise bad(str(folder), expected="one log", got=got, remedy=f"name one, as {found[0].files[0]}")
    if found:
        return found[0]
    if refusals:
        raise refusals[0]
    return None


def _candidates(files: Iterable[Path], together: bool) -> list[tuple[Path, ...]]:
    """Each file alone; those event files that lie in one folder together."""
    found: list[list[Path]] = []
    events: dict[Path, list[Path]] = {}
    for path in files:
        if together and _EVENTS in path.name:
            if path.parent not in events:
                found.append(events.setdefault(path.parent, []))
            events[path.parent].append(path)
        else:
            found.append([path])
    return list(map(tuple, found))


def _readable(
    folder: Path, candidates: Sequence[tuple[Path, ...]], read: Read, refusals: list[BadRequest]
) -> list[FolderLog]:
    """The candidates that can be read; `refusals` takes why those that are surely logs cannot."""
    n_files = sum(map(len, candidates))
    if n_files > MOST_FILES:
        expected = f"a folder with at most {MOST_FILES} files that may be logs"
        raise bad(str(folder), expected=expected, got=n_files, remedy="name the log")
    found: list[FolderLog] = []
    for files in candidates:
        first = files[0]
        try:
            found.append(FolderLog(files, read(files)))
        except BadRequest as refused:
            if len(files) > 1:
                alone = f"{len(files)} event files were read as one log; to read one alone name it, as {first}"
                refusals.append(BadRequest(one_line(f"{refused}; {alone}")))
            elif _is_surely_log(first):
                refusals.append(refused)
    return found


def refuse_logs_below(folder: Path, read: Read, *, together: bool = True) -> None:
    """Name the logs in the folders of a folder that has none itself: which of them is meant is the caller's to say.

    Args:
        folder: without a log.
        read: of a log.
        together: see `log_in`.

    Raises:
        BadRequest: there are some, one or two levels down.
    """
    files = list(_below(folder, DEEPEST))
    named = [path for path in files if _is_surely_log(path)]
    if len(files) <= MOST_FILES:
        readable = _readable(folder, _candidates(files, together), read, [])
        named = [one.named for one in readable] or named
    named += _metric_folders(folder, DEEPEST)
    if named:
        names = listed((path.relative_to(folder) for path in named), 6)
        expected = "a log in the folder itself"
        raise bad(str(folder), expected=expected, got=f"below it {names}", remedy=f"name one, as {named[0]}")


def _is_surely_log(path: Path) -> bool:
    return path.suffix in _LOGS or _EVENTS in path.name


def _logs(folder: Path) -> Iterator[Path]:
    """Files that may be logs, in the order of their names."""
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if (name.lower().endswith(_SUFFIXES) or _EVENTS in name) and path.is_file():
            yield path


def _below(folder: Path, levels: int) -> Iterator[Path]:
    """Those in the folders of a folder. Links are not followed: they may lead out of it."""
    for inner in _folders(folder):
        for path in _logs(inner):
            if not path.is_symlink():
                yield path
        if levels > 1:
            yield from _below(inner, levels - 1)


def _metric_folders(folder: Path, levels: int) -> Iterator[Path]:
    """The folders of runs with one file for each metric."""
    for inner in _folders(folder):
        if metrics_in(inner) is not None:
            yield inner
        elif levels > 1:
            yield from _metric_folders(inner, levels - 1)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder that can be looked into and are no data sets, in the order of their names."""
    found: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, MOST_ENTRIES):
            if entry.is_dir(follow_symlinks=False) and os.access(entry.path, os.R_OK | os.X_OK):
                found.append(Path(entry.path))
    return sorted(found)
