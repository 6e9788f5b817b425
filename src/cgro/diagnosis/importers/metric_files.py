"""A folder with one file for each metric: a run in MLflow's store of files, or the plots of DVCLive.

MLflow writes `metrics/NAME`, lines of time, value and step, in newer versions also a data set; each setting is a file
of its own in `params`. DVCLive writes `plots/metrics/NAME.tsv` with columns of steps and of the metric. A slash in a
name makes folders.
"""

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cgro._check import BadRequest, bad, listed, one_line
from cgro.diagnosis.columns import counted
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.heads import MOST_SETTINGS, about_of, said_of_itself
from cgro.diagnosis.importers.long_table import STEP, steps_as_epochs
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told
from cgro.reading import TEXT_LIMIT, open_regular, read_bytes

Format = Literal["MLflow metrics", "DVCLive metrics"]
MOST_METRICS = 1_000
"""Files of one run. A choice: metrics of the system among them, a training has a hundred."""
DEEPEST = 6
"""Levels of folders that the slashes of a name make. A choice."""
LONGEST_SETTING = 6_000
"""Bytes of a setting that is read; the most that MLflow takes."""
_LINE = re.compile(r"\d{8,20} (?P<value>[-+.\w]+)(?: (?P<step>-?\d{1,15})(?P<data> \S+ \S+)?)?")
_START = 1_000
"""Bytes of a file by which its format is known."""


@dataclass(frozen=True)
class MetricFolder:
    """The files of one run.

    Args:
        folder: that names are relative to.
        files: name of a metric -> its file.
        format: who wrote them.
    """

    folder: Path
    files: Mapping[str, Path]
    format: Format


def metrics_in(folder: Path) -> MetricFolder | None:
    """The metrics that a folder holds.

    Args:
        folder: of a run, the `metrics` in it, or what DVCLive writes.

    Returns:
        None where there are none, or files of another kind beside them.

    Raises:
        BadRequest: more than `MOST_METRICS`.
    """
    for inner in (folder / "metrics", folder / "plots" / "metrics", folder):
        if os.path.isdir(inner) and os.access(inner, os.R_OK | os.X_OK) and (inner == folder or not inner.is_symlink()):
            found = _metrics_of(inner)
            if found is not None:
                return found
    return None


def read_metrics(metrics: MetricFolder, told: Told) -> list[Curves]:
    """The curves of a run.

    Args:
        metrics: of `metrics_in`.
        told: names that the caller gave, `step` among them.

    Returns:
        One value.

    Raises:
        BadRequest: a damaged line, values without steps that cannot be set beside each other, steps that are no epochs;
            see `curves_of`.
    """
    found = _Values(str(metrics.folder))
    left = TEXT_LIMIT
    for name, path in metrics.files.items():
        if name == STEP:
            found.remarks.append(f"{path}: left out; the steps of the other metrics are beside their values")
            continue
        content = read_bytes(path, limit=left, follow=False)
        left -= len(content)
        found.add(name, path, content, metrics.format)
    settings = _settings(metrics.folder.parent / "params") if metrics.format == "MLflow metrics" else {}
    rows, assumed = found.rows(), []
    if not rows:
        raise bad(found.source, expected="values", got="files without any")
    if STEP in rows[0]:
        rows, assumed = steps_as_epochs(rows, told)
    remarks = [*said_of_itself(settings), *found.remarks, *assumed]
    return curves_of(Table(found.source, lambda: rows, None, about_of(settings, metrics.format), remarks), told)


def is_metric(line: str) -> bool:
    """Whether a line is one of a file of MLflow.

    Args:
        line: without its end.

    Returns:
        True for a time, a value and a step.

    Example:
        >>> is_metric("1700000000000 0.45 3"), is_metric("Epoch 3, acc 0.45")
        (True, False)
    """
    return _LINE.fullmatch(line) is not None


def _metrics_of(folder: Path) -> MetricFolder | None:
    """Those below a folder that holds nothing else."""
    files: dict[str, Path] = {}
    formats: set[Format] = set()
    for path in _regular(folder, DEEPEST):
        written_by = _format_of(path)
        if written_by is None:
            return None
        name = path.relative_to(folder).as_posix()
        if not name.isprintable():  # bytes that are no text, or signs that move the cursor
            return None
        if "/metrics/" in f"/{name}" and folder.name != "metrics":
            return None  # runs in a folder of runs
        if written_by == "DVCLive metrics":
            name = name.removesuffix(".tsv")
        files[name] = path
        formats.add(written_by)
        if len(formats) > 1:
            return None
        if len(files) > MOST_METRICS:
            raise bad(str(folder), expected=f"at most {MOST_METRICS:,} metrics", got="more")
    if not files:
        return None
    return MetricFolder(folder, files, formats.pop())


def _regular(folder: Path, levels: int) -> Iterator[Path]:
    """Files in a folder and below it, in the order of their names. Links are not followed: they may lead out of it."""
    with os.scandir(folder) as entries:
        found = sorted(itertools.islice(entries, MOST_METRICS + 1), key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if not entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
        elif levels > 1 and os.access(entry.path, os.R_OK | os.X_OK):
            yield from _regular(Path(entry.path), levels - 1)


def _format_of(path: Path) -> Format | None:
    """Who wrote a file, by its first line."""
    try:
        with open_regular(path, follow=False) as file:
            start = file.read(_START)
    except (BadRequest, OSError):
        return None
    first = start.decode(errors="replace").partition("\n")[0].rstrip("\r")
    if is_metric(first):
        return "MLflow metrics"
    columns = first.split("\t")
    if path.suffix == ".tsv" and columns in ([STEP, path.stem], ["timestamp", STEP, path.stem]):
        return "DVCLive metrics"
    return None


@dataclass
class _Values:
    """The values of all metrics.

    Args:
        source: of them, for messages.
        remarks: what was left out.
        values: metric -> step and value of each line, in the order of the file.
    """

    source: str
    remarks: list[str] = field(default_factory=list)
    values: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, name: str, path: Path, content: bytes, written_by: Format) -> None:
        """Take the lines of a file.

        Args:
            name: of the metric.
            path: of its file, for messages.
            content: of it.
            written_by: the format.
        """
        try:
            lines = content.decode().splitlines()
        except UnicodeDecodeError as error:
            raise bad(str(path), expected="text", got=f"byte {content[error.start]:#04x}") from None
        if not content.endswith(b"\n"):  # both write whole lines: what has no end may be cut within a number
            cut = lines.pop()
            self.remarks.append(f"the last line of {path}, {one_line(cut, 40)!r}, has no end and is left out")
        own: list[tuple[int, str]] = []
        if written_by == "MLflow metrics":
            for n, line in enumerate(lines, 1):
                match = _LINE.fullmatch(line)
                if match is None:
                    expected = "a time, a value and a step"
                    raise bad(f"{path}: line {n}", expected=expected, got=one_line(line, 40))
                own.append((int(match["step"] or 0), match["value"]))
        else:
            own = list(_rows_of_tsv(path, lines))
        if len(own) > base.MOST_ROWS:
            raise bad(str(path), expected=f"at most {base.MOST_ROWS:,} values", got=f"{len(own):,}")
        self.values[name] = own

    def rows(self) -> list[dict[str, object]]:
        """One row for each step; where no metric has another step than 0, its lines are numbered.

        Returns:
            Rows in the order of their steps, each with `step` unless they were numbered.
        """
        if all(step == 0 for own in self.values.values() for step, _ in own):
            return self._numbered()
        found: dict[int, dict[str, object]] = {}
        n_again = 0
        for name, own in self.values.items():
            for step, value in own:
                row = found.setdefault(step, {STEP: step})
                n_again += name in row and row[name] != value
                row[name] = value
        if n_again:
            self.remarks.append(f"{counted(n_again, 'value')} of the same step and metric came again; the last counts")
        return [found[step] for step in sorted(found)]

    def _numbered(self) -> list[dict[str, object]]:
        """The k-th lines of all metrics together: MLflow's step is 0 where the program gives none."""
        lengths = {name: len(own) for name, own in self.values.items()}
        longest = max(lengths.values(), default=0)
        shorter = sorted(name for name, n in lengths.items() if 1 < n < longest)
        if shorter:
            full = next(name for name, n in lengths.items() if n == longest)
            got = f"step 0 in all lines, {longest} of {full!r} and {lengths[shorter[0]]} of {shorter[0]!r}"
            raise bad(self.source, expected="steps", got=got, remedy="write each value with step=epoch")
        single = sorted(name for name, n in lengths.items() if n <= 1 < longest)
        if single:
            self.remarks.append(f"{listed(map(repr, single), 6)}: left out, one value without a step")
        kept = [name for name in self.values if name not in single]
        rows: list[dict[str, object]] = []
        for k in range(longest):
            rows.append({name: self.values[name][k][1] for name in kept})
        return rows


def _rows_of_tsv(path: Path, lines: list[str]) -> Iterator[tuple[int, str]]:
    """Step and value of each line below the header of DVCLive, which ends with both."""
    n_columns = lines[0].count("\t") + 1
    for n, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != n_columns or not re.fullmatch(r"-?\d{1,15}", fields[-2]):
            expected = f"{n_columns} fields, a step and a value last"
            raise bad(f"{path}: line {n}", expected=expected, got=one_line(line, 40))
        yield int(fields[-2]), fields[-1]


def _settings(folder: Path) -> dict[str, str]:
    """MLflow's parameters of a run, one in each file; what cannot be read is none."""
    found: dict[str, str] = {}
    if folder.is_symlink() or not folder.is_dir():
        return found
    for path in itertools.islice(_regular(folder, DEEPEST), MOST_SETTINGS):
        try:
            content = read_bytes(path, limit=LONGEST_SETTING, follow=False)
        except BadRequest:
            continue
        found[path.relative_to(folder).as_posix()] = content.decode(errors="replace").strip()
    return found
