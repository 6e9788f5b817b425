"""From files to `Curves`: one file per format, chosen by content and not by name.

A file is read here, its format chosen (`IMPORTERS`), and its importer makes named columns of it, in this folder for all
formats but one. From there on all are alike:

line      how a printed line is split into an epoch and named numbers; `printed` makes rows of such lines
table     what each column is, which rows are one training, units; `table.table.curves_of` says the order
refusals  how a file is refused; that of columns which are not understood is worded in `table.doubts`
told      what the caller says with `--map`

What a name means is said in `cgro.diagnosis.words`; rows become one value an epoch in `cgro.diagnosis.rows`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cgro._check import bad, one_line
from cgro.diagnosis.curves import Curves, require_robust
from cgro.diagnosis.importers.base import Importer, Text
from cgro.diagnosis.importers.cut import cut_line
from cgro.diagnosis.importers.delimited import Delimited
from cgro.diagnosis.importers.fast import Fast
from cgro.diagnosis.importers.folder import FolderLog, common_folder, log_in, refuse_logs_below
from cgro.diagnosis.importers.json_rows import JsonRows
from cgro.diagnosis.importers.log import Log, read_log
from cgro.diagnosis.importers.long_table import LongTable
from cgro.diagnosis.importers.mair import Mair
from cgro.diagnosis.importers.markdown import Markdown
from cgro.diagnosis.importers.metric_files import is_metric, metrics_in, read_metrics
from cgro.diagnosis.importers.own import importer_by_name, read_by, require_importer
from cgro.diagnosis.importers.pattern import Pattern, option_for
from cgro.diagnosis.importers.printed import Printed
from cgro.diagnosis.importers.run import read_run
from cgro.diagnosis.importers.table.comments import with_comments
from cgro.diagnosis.importers.tensorboard import EventFile, TensorBoard, is_events, read_events
from cgro.diagnosis.importers.told import Told, parse_map
from cgro.reading import TEXT_LIMIT, gunzip, read_bytes
from cgro.runs import Run

__all__ = [
    "IMPORTERS",
    "Importer",
    "Told",
    "importer_by_name",
    "parse_map",
    "read_curves",
    "read_folder",
    "read_log",
    "read_run",
]

IMPORTERS: tuple[Importer, ...] = (
    TensorBoard(),
    JsonRows(),
    Mair(),
    Fast(),
    Log(),
    LongTable(),
    Markdown(),
    Delimited(),
    Printed(),
)
"""The formats of files. To add one: write a module with an `Importer` beside the others, its name here, and a row in
docs/importing.md. Of two that are equally sure of a text the first reads it."""
_BINARY = {
    b"\x93NUMPY": "an array of numpy; save the curves as CSV",
    b"PK\x03\x04": "a zip archive, such as .npz, .xlsx or a checkpoint; unpack it, or save the curves as CSV",
    b"\x89HDF": "HDF5; save the curves as CSV",
    b"PAR1": "parquet; save the curves as CSV",
    b"SQLite format 3": "a database, such as MLflow's or Optuna's; export the run as CSV",
    b":W&B": "the internal file of Weights & Biases; export the run's history as CSV",
    b"BZh": "bzip2; unpack it, or use gzip",
    b"\xfd7zXZ": "xz; unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "zstd; unpack it, or use gzip",
    b"%PDF": "a PDF; save the numbers as CSV",
    b"\x89PNG": "a picture; save the numbers as CSV",
}
"""How a binary file begins -> what it is and what to do."""


def read_curves(
    path: str | Path, columns: Mapping[str, str] | None = None, *, importer: Importer | None = None
) -> list[Curves]:
    """Curves from a run directory or a file; the content decides which format it is, not the name.

    Args:
        path: a run of `cgro train`, a file of any format of docs/importing.md, also gzipped, or a folder with one.
        columns: curve -> column or pattern, see `parse_map`.
        importer: that reads a file of a format of your own; None chooses by the content.

    Returns:
        One value per seed.

    Raises:
        BadRequest: nothing there, an empty or binary file, none of these formats, or an importer that fails.
    """
    path = Path(path)
    if not os.path.isdir(path):  # unlike `Path.is_dir`, also with names that no system takes
        return _of_file(path, columns, importer)
    if not Run(path).is_begun():
        found = read_folder(path, columns, importer=importer)
        if found is not None:
            return found.curves
    return read_run(path)


def read_folder(
    path: Path, columns: Mapping[str, str] | None = None, *, importer: Importer | None = None, below: bool = True
) -> FolderLog | None:
    """The one log of a folder.

    Args:
        path: of the folder, which is no run of ours.
        columns: see `read_curves`.
        importer: see `read_curves`; event files are then read one by one.
        below: whether logs in folders of the folder are asked for by name, where it has none itself.

    Returns:
        None where there is none.

    Raises:
        BadRequest: several logs, or none but such as cannot be read; see `read_curves`.
    """

    if importer is None:
        metrics = metrics_in(path)
        if metrics is not None:
            told = Told.of(columns)
            curves = [_checked(one, Text("", str(path)), told) for one in read_metrics(metrics, told)]
            return FolderLog(tuple(metrics.files.values()), curves, metrics=True)

    def read(files: Sequence[Path]) -> list[Curves]:
        if len(files) == 1:
            return _of_file(files[0], columns, importer)
        return _of_events(files, columns)

    found = log_in(path, read, together=importer is None)
    if found is None and below:
        refuse_logs_below(path, read, together=importer is None)
    return found


def _of_events(paths: Sequence[Path], columns: Mapping[str, str] | None) -> list[Curves]:
    """The curves of several event files, of one folder or of folders beside each other."""
    folder = common_folder(paths)
    files: list[EventFile] = []
    left = TEXT_LIMIT
    for path in paths:
        content = _content(path, left)
        left -= len(content)
        if not is_events(content):
            raise bad(str(path), expected="events of TensorBoard", got="something else")
        files.append(EventFile(str(path), path.parent.relative_to(folder).as_posix().removeprefix("."), content))
    told = Told.of(columns)
    return [_checked(curves, Text("", str(folder)), told) for curves in read_events(files, str(folder), told)]


def _content(path: Path, limit: int) -> bytes:
    content = read_bytes(path, limit=limit)
    if content.startswith(b"\x1f\x8b"):
        content = gunzip(content, str(path))
    return content


def _of_file(path: Path, columns: Mapping[str, str] | None, importer: Importer | None) -> list[Curves]:
    if importer is not None:
        importer = require_importer(importer)
    if not os.path.exists(path):
        raise bad("TARGET", expected="a file or a directory", got=f"{path}, which does not exist")
    content = _content(path, TEXT_LIMIT)
    if is_events(content):
        text = Text("", str(path), content)
    else:
        text = Text(_decoded(content, path), str(path))
    if not text.raw and not text.content.strip():
        raise bad(str(path), expected="a log, CSV or JSONL", got="an empty file")
    told = Told.of(columns)
    cut = cut_line(text.content)
    text = replace(text, content=text.content.removesuffix(cut))
    if importer is None:
        found = _importer(text, told).read(text, told)
    else:
        found = read_by(importer, text, told)
    return [_checked(curves, text, told, cut) for curves in found]


def _checked(curves: Curves, text: Text, told: Told, cut: str = "") -> Curves:
    if cut:
        remark = f"the last line, {one_line(cut, 40)!r}, was cut off while it was written, and is left out"
        curves = replace(curves, meta={**curves.meta, "remarks": [*curves.remarks, remark]})
    curves = with_comments(curves, text, told)
    if not curves.standard:
        require_robust(curves)
    return curves


def _decoded(content: bytes, path: Path) -> str:
    """The text of a file, of UTF-8 or, as Windows redirects output, UTF-16 with a byte order mark.

    Raises:
        BadRequest: another encoding, or no text; says what to do.
    """
    expected = "a text file: a log, CSV, JSONL"
    if "tfevents" in path.name:
        got = "damaged events of TensorBoard"
        raise bad(str(path), expected="events of TensorBoard", got=got, remedy="export the scalars as CSV")
    for start, what in _BINARY.items():
        if content.startswith(start):
            kind, _, remedy = what.partition("; ")
            raise bad(str(path), expected=expected, got=kind, remedy=remedy)
    if len(content) > 2 * TEXT_LIMIT:
        raise bad(str(path), expected=f"at most {2 * TEXT_LIMIT:,} bytes of text", got=f"{len(content):,}")
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        place = f"byte {content[error.start]:#04x} at {error.start}"
        if min(content) < 9:
            raise bad(str(path), expected=expected, got=f"something binary ({place})") from None
        got = f"text in another encoding than UTF-8 ({place})"
        raise bad(str(path), expected=expected, got=got, remedy="save it as UTF-8") from None


def _encoding(content: bytes) -> str:
    """UTF-8 or UTF-16; without a byte order mark UTF-16 shows in its zeros, which half of the bytes of a number are."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = content[:1000]
    for encoding, zeros, letters in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        if zeros and zeros.count(0) > 0.9 * len(zeros) and not letters.count(0):
            return encoding
    return "utf-8-sig"


def _importer(text: Text, told: Told) -> Importer:
    """The format that is surest of a text.

    Raises:
        BadRequest: none recognizes it; shows the first line with a number and how patterns read such lines.
    """
    if told.patterns:
        return Pattern()
    sure = [(importer.recognizes(text), importer) for importer in IMPORTERS]
    confidence, best = max(sure, key=lambda one: one[0])
    if confidence > 0:
        return best
    lines = (line for line in text.lines[:10_000] if any(map(str.isdigit, line)))
    numbered = next(lines, text.lines[0])
    if is_metric(text.lines[0]):
        expected, remedy = "a log of several curves", "name the folder that holds all metrics of the run"
        raise bad(text.source, expected=expected, got="one metric of MLflow", remedy=remedy)
    raise bad(
        text.source,
        expected="a cgro run, a CSV or JSONL with columns, or a training log with a header line",
        got=f"a text that starts with {text.content.lstrip()[:40]!r}",
        remedy=f"tell where the numbers are in lines such as {one_line(numbered, 80)!r}: {option_for(numbered)}",
    )
