"""From files to `Curves`: one file per format, chosen by content and not by name."""

import os
from collections.abc import Mapping
from pathlib import Path

from cgro._check import bad, one_line
from cgro.diagnosis.curves import Curves, require_robust
from cgro.diagnosis.importers.base import Importer, Text
from cgro.diagnosis.importers.delimited import Delimited
from cgro.diagnosis.importers.json_rows import JsonRows
from cgro.diagnosis.importers.log import Log, read_log
from cgro.diagnosis.importers.pattern import Pattern
from cgro.diagnosis.importers.run import read_run
from cgro.diagnosis.importers.table import from_table
from cgro.diagnosis.importers.told import Told, parse_map
from cgro.diagnosis.words import Meaning, meaning_of
from cgro.reading import TEXT_LIMIT, gunzip, read_bytes

__all__ = [
    "IMPORTERS",
    "Importer",
    "Told",
    "canonical",
    "from_table",
    "parse_map",
    "read_curves",
    "read_log",
    "read_run",
]

IMPORTERS: tuple[Importer, ...] = (JsonRows(), Log(), Delimited())
"""The formats of files. To add one: write a module with an `Importer` beside the others, and its name here."""
_BINARY = {
    b"\x93NUMPY": "an array of numpy; save the curves as CSV",
    b"PK\x03\x04": "a zip archive, such as .npz or a checkpoint; save the curves as CSV",
    b"\x89HDF": "HDF5; save the curves as CSV",
}
"""How a binary file begins -> what it is and what to do."""


def canonical(column: str) -> str | None:
    """The curve that a column's name stands for; `meaning_of` also says why a name is not understood.

    Args:
        column: its name.

    Returns:
        Such as `robust_accuracy/test`; None for other things, and where a word is not known.

    Example:
        >>> [canonical(name) for name in ("test_robust_acc", "val/adv_loss", "Train Error", "GPU", "test_foo_acc")]
        ['robust_accuracy/test', 'robust_loss/validation', 'clean_error/train', None, None]
    """
    meaning = meaning_of(column)
    if not isinstance(meaning, Meaning):
        return None
    return meaning.told


def read_curves(path: str | Path, columns: Mapping[str, str] | None = None) -> list[Curves]:
    """Curves from a run directory or a file; the content decides which format it is, not the name.

    Args:
        path: a run of `cgro train`, a CSV, JSONL or JSON table, a text log, or any text with patterns; also gzipped.
        columns: curve -> column or pattern, see `parse_map`.

    Returns:
        One value per seed.

    Raises:
        BadRequest: nothing there, an empty or binary file, or none of these formats.
    """
    path = Path(path)
    if os.path.isdir(path):  # unlike `Path.is_dir`, also with names that no system takes
        return read_run(path)
    if not os.path.exists(path):
        raise bad("TARGET", expected="a file or a directory", got=f"{path}, which does not exist")
    content = read_bytes(path, limit=TEXT_LIMIT)
    if content.startswith(b"\x1f\x8b"):
        content = gunzip(content, str(path))
    text = Text(_decoded(content, path), str(path))
    if not text.content.strip():
        raise bad(str(path), expected="a log, CSV or JSONL", got="an empty file")
    told = Told.of(columns)
    found = _importer(text, told).read(text, told)
    for curves in found:
        if not curves.standard:
            require_robust(curves)
    return found


def _decoded(content: bytes, path: Path) -> str:
    """The text of a file, of UTF-8 or, as Windows redirects output, UTF-16 with a byte order mark.

    Raises:
        BadRequest: another encoding, or no text; says what to do.
    """
    expected = "a text file: a log, CSV, JSONL"
    if "tfevents" in path.name:
        raise bad(str(path), expected=expected, got="events of TensorBoard", remedy="export the scalars as CSV")
    for start, what in _BINARY.items():
        if content.startswith(start):
            kind, _, remedy = what.partition("; ")
            raise bad(str(path), expected=expected, got=kind, remedy=remedy)
    if len(content) > 2 * TEXT_LIMIT:
        raise bad(str(path), expected=f"at most {2 * TEXT_LIMIT:,} bytes of text", got=f"{len(content):,}")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        place = f"byte {content[error.start]:#04x} at {error.start}"
        if min(content) < 9:
            raise bad(str(path), expected=expected, got=f"something binary ({place})") from None
        got = f"text in another encoding than UTF-8 ({place})"
        raise bad(str(path), expected=expected, got=got, remedy="save it as UTF-8") from None


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
    numbered = one_line(next(lines, text.lines[0]), 80)
    raise bad(
        text.source,
        expected="a cgro run, a CSV or JSONL with columns, or a training log with a header line",
        got=f"a text that starts with {text.content.lstrip()[:40]!r}",
        remedy=f"tell where the numbers are in lines such as {numbered!r}: "
        r"--map 'epoch=/Epoch:? (\d+)/,robust_accuracy/test=/PGD acc:? ([\d.]+)/'",
    )
