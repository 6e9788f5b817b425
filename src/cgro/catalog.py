"""The runs below a folder, each as one flat row: settings and results by name.

Read without torch, a thousand in less than a second: environment.json with the settings, and summary.json with its own
digest. `Run.open` checks the other files, too. Links are not followed.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cgro._check import BadRequest, bad, one_line
from cgro.reading import read_json_object, read_yaml_mapping
from cgro.results import Summary
from cgro.runs import SCHEMA, Run
from cgro.seal import entry

State = Literal["finished", "unfinished", "damaged"]
Value = str | float | int | bool | None
"""What a cell holds; lists of settings are text."""

BOTH = ("config.yaml", "environment.json")
"""The files that every run begins with."""
OWN = ("run", "command", "state", "verdict", "note")
"""Columns that are no setting and no metric."""
LONGEST_NOTE = 160
"""Characters of the reason why a run cannot be read."""


@dataclass(frozen=True)
class Listed:
    """One run.

    Attributes:
        path: its directory.
        command: that made it; "" where that cannot be read.
        state: whether it has a result that can be read.
        verdict: label; None where none is given.
        note: why it is not finished, or what cannot be read; "" for a finished run.
        settings: as in config.yaml.
        metrics: name -> value, or mean over seeds.
    """

    path: Path
    command: str
    state: State
    verdict: str | None
    note: str
    settings: Mapping[str, Value]
    metrics: Mapping[str, float | None]

    def get(self, column: str) -> Value:
        """The cell of a column.

        Args:
            column: one of `OWN`, a setting, or a metric.

        Returns:
            Its value; None where this run has none.
        """
        own: Mapping[str, Value] = {
            "run": str(self.path),
            "command": self.command,
            "state": self.state,
            "verdict": self.verdict,
            "note": self.note,
        }
        if column in own:
            return own[column]
        if column in self.settings:
            return self.settings[column]
        return self.metrics.get(column)


def find_runs(folders: Sequence[str | Path], *, inside: bool = False) -> list[Listed]:
    """All runs in some folders, at any depth.

    Args:
        folders: where to look; a folder may be a run itself.
        inside: also the runs inside of runs: single seeds, and the parts of comparisons.

    Returns:
        The runs, in the order of their paths.

    Raises:
        BadRequest: a folder is missing, or is none.

    Example:
        >>> find_runs([])
        []
    """
    found: dict[Path, Listed] = {}
    for folder in folders:
        path = Path(folder)
        if not path.is_dir():
            raise bad("FOLDER", expected="a folder with runs", got=one_line(str(folder), LONGEST_NOTE))
        for one in _below(path, inside):
            found.setdefault(one, read_listed(one))
    return [found[path] for path in sorted(found)]


def _below(folder: Path, inside: bool) -> Iterator[Path]:
    """The directories of runs, without following links."""
    try:
        with os.scandir(folder) as entries:
            inner = list(entries)
    except OSError:  # without permission to read it: no run of the caller's
        return
    names = {one.name for one in inner}
    is_run = names.issuperset(BOTH)
    if is_run:
        yield folder
        if not inside:
            return
    for one in inner:
        if one.is_dir(follow_symlinks=False):
            yield from _below(folder / one.name, inside)


def read_listed(path: Path) -> Listed:
    """One run as a row; what is wrong with it becomes its note.

    Args:
        path: of its directory.

    Returns:
        The row.
    """
    command = ""
    settings: Mapping[str, Value] = {}
    try:
        settings = _settings(path)
        command = str(settings.get("command", ""))
        run = Run(path)
        if not run.finished:
            note = "no summary.json yet; the same command resumes it"
            return Listed(path, command, "unfinished", None, note, settings, {})
        summary = run.read()
    except BadRequest as error:
        note = one_line(str(error).replace(f"{path}/", ""), LONGEST_NOTE)
        return Listed(path, command, "damaged", None, note, settings, {})
    verdict: str | None = None
    if summary.verdict is not None:
        verdict = summary.verdict.label
    note = ""
    if summary.outcome.kind != "completed":
        note = one_line(summary.outcome.reason, LONGEST_NOTE)
    return Listed(path, command or summary.command, "finished", verdict, note, settings, _metrics(summary))


def _settings(path: Path) -> dict[str, Value]:
    """From environment.json, which is quick to read; config.yaml of an older run."""
    made_in = read_json_object(path / "environment.json", follow=False)
    if made_in.get("schema") != SCHEMA:
        raise bad(str(path), expected=f"run schema {SCHEMA}", got=made_in.get("schema"))
    found = entry(made_in, "settings")
    if not found:
        found = read_yaml_mapping(path / "config.yaml", follow=False)
    settings: dict[str, Value] = {}
    for name, value in found.items():
        if not isinstance(value, dict):  # plans of many runs: no value of one
            settings[str(name)] = _cell(value)
    return settings


def _cell(value: object) -> Value:
    """A setting as one value: a list as its parts, separated by commas."""
    if isinstance(value, list):
        return ",".join(str(one) for one in value)
    if value is None or isinstance(value, str | float | int | bool):
        return value
    return str(value)


def _metrics(summary: Summary) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for name, metric in summary.metrics.items():
        typical = metric.typical
        values[name] = None
        if isinstance(typical, int | float):
            values[name] = float(typical)
    return values


def columns_of(runs: Sequence[Listed]) -> list[str]:
    """All columns that some run has.

    Args:
        runs: as found.

    Returns:
        Those of `OWN`, then settings, then metrics, each in the order in which they come.
    """
    settings: dict[str, None] = {}
    metrics: dict[str, None] = {}
    for run in runs:
        settings.update(dict.fromkeys(run.settings))
        metrics.update(dict.fromkeys(run.metrics))
    return list(dict.fromkeys([*OWN, *settings, *metrics]))


def differing(runs: Sequence[Listed]) -> list[str]:
    """The settings in which runs differ: what a comparison of them is about.

    Args:
        runs: as found.

    Returns:
        Names, in the order in which settings come. One that only some commands have counts where those differ that
        have it.
    """
    values: dict[str, set[Value]] = {}
    for run in runs:
        for name, value in run.settings.items():
            values.setdefault(name, set()).add(value)
    names: list[str] = []
    for name, different in values.items():
        if name not in OWN and len(different) > 1:
            names.append(name)
    return names
