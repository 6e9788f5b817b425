"""The log in a folder, as `lightning_logs/version_0` or the output of a training."""

import os
from collections.abc import Callable
from pathlib import Path

from cgro._check import BadRequest, bad, listed

_SUFFIXES = (".csv", ".tsv", ".log", ".txt", ".out", ".json", ".jsonl", ".ndjson", ".md", ".gz")
_LOGS = (".csv", ".log")
"""A file of such a name is a log, or should be."""
_EVENTS = "tfevents"
MOST_FILES = 30
"""Files of a folder that are tried; of more none is, since what is not tried could be the log. A choice: a training
leaves a few."""


def log_in(folder: Path, read: Callable[[Path], object]) -> Path | None:
    """The one file of a folder that can be read as curves. Folders in it are not looked into.

    Args:
        folder: without a run of ours in it.
        read: of a file; refuses what holds no curves.

    Returns:
        None where no file can be read.

    Raises:
        BadRequest: several can be read (names them), or more might than are tried; or none, and one is surely a log:
            why not.
    """
    found: list[Path] = []
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if path.is_file() and (name.lower().endswith(_SUFFIXES) or _EVENTS in name):
            found.append(path)
    readable: list[Path] = []
    names: list[str] = []
    refusals: list[BadRequest] = []
    if len(found) > MOST_FILES:
        expected = f"a folder with at most {MOST_FILES} files that may be logs"
        raise bad(str(folder), expected=expected, got=len(found), remedy="name the log")
    for path in found:
        try:
            read(path)
        except BadRequest as refused:
            if path.suffix in _LOGS or _EVENTS in path.name:
                refusals.append(refused)
            continue
        readable.append(path)
        names.append(path.name)
    if len(readable) > 1:
        got = f"{len(readable)}: {listed(names, 6)}"
        raise bad(str(folder), expected="one log", got=got, remedy=f"name one, as {readable[0]}")
    if readable:
        return readable[0]
    if refusals:
        raise refusals[0]
    return None
