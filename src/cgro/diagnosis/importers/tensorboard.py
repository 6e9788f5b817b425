"""Event files of TensorBoard: records of protocol buffers, of which the scalars are read.

The package `tensorboard` (extra `track`) reads a record; where a record begins and ends is read here, so that no length
that a file says is believed. Nothing in a file is executed."""

import importlib
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from cgro._check import bad, listed
from cgro.diagnosis.columns import counted
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.long_table import STEP, steps_as_epochs
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.table.groups import as_parts
from cgro.diagnosis.importers.told import Told

NAME = "TensorBoard events"
"""The format, for messages."""
RUN = "run"
"""The column of the folders that are runs."""
_LENGTH = struct.Struct("<QI")
"""What stands before a record: its length, and a checksum of it."""
_CHECKSUM = struct.Struct("<I")
_VERSION = b"brain.Event:"
"""What the first record of every event file says."""
_WITHIN = 64
"""Bytes of a file in which it says so."""
_FLOATS = (1, 2)
"""float32 and float64, as the format numbers types."""
_CHECKED = 64 << 10
"""Bytes of the largest record whose checksum is computed, at a megabyte a second: those of scalars have a hundred, and
larger ones hold images and graphs."""


class _Package:
    """`tensorboard`, imported where a file needs it: few have it, and it takes half a second."""

    def __init__(self, source: str) -> None:
        try:
            self.events = importlib.import_module("tensorboard.compat.proto.event_pb2")
            self.tensors = importlib.import_module("tensorboard.util.tensor_util")
            self.checksum = importlib.import_module("tensorboard.summary.writer.record_writer").masked_crc32c
        except ImportError:
            expected = "the package tensorboard, which reads events"
            remedy = "pip install tensorboard (the extra 'track' of cgro), or export the scalars as CSV"
            raise bad(source, expected=expected, got="none", remedy=remedy) from None

    def scalars(self, record: bytes) -> Iterator[tuple[int, str, float]]:
        """(step, tag, value): plain ones, as PyTorch writes them, and those in a tensor, as TensorFlow 2 does."""
        event = self.events.Event.FromString(record)
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            if kind == "simple_value":
                yield int(event.step), str(value.tag), float(value.simple_value)
            elif kind == "tensor" and value.tensor.dtype in _FLOATS and not value.tensor.tensor_shape.dim:
                yield int(event.step), str(value.tag), float(self.tensors.make_ndarray(value.tensor))


@dataclass(frozen=True)
class EventFile:
    """An event file of a log.

    Args:
        path: of the file, for messages.
        folder: in which it lies, below the one that is read; "" for that itself.
        content: its bytes.
    """

    path: str
    folder: str
    content: bytes


class TensorBoard:
    """The scalars of `SummaryWriter`, of Keras's callback and of Lightning's logger."""

    name = NAME

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            1 for a file that begins with a record of a version of events.
        """
        return float(is_events(text.raw))

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        Args:
            text: of the file.
            told: tags that the caller named, `step` among them.

        Returns:
            One value.

        Raises:
            BadRequest: see `read_events`.
        """
        return read_events([EventFile(text.source, "", text.raw)], text.source, told)


def read_events(files: Sequence[EventFile], source: str, told: Told) -> list[Curves]:
    """The curves of one or several event files.

    Those of one folder are one log, in the order given: a training that was resumed opens another file. Folders are
    runs, or parts of one training, as the runs of a long table are.

    Args:
        files: in the order of their names, which begin with the time.
        source: the file, or the folder that holds them, for messages.
        told: tags that the caller named, `step` among them.

    Returns:
        One value per run.

    Raises:
        BadRequest: the package is missing, a damaged record, no scalar, files of several trainings in one folder, steps
            that are no epochs; see `curves_of`.
    """
    package, scalars = _Package(source), _Scalars(source)
    for file in files:
        scalars.add(file, package)
    if not scalars.rows:
        raise bad(source, expected="scalars", got="events without any")
    ordered, assumed = steps_as_epochs(scalars.ordered(), told)
    table = Table(source, lambda: ordered, None, {"format": NAME}, [*scalars.remarks(files), *assumed])
    return curves_of(table, told)


class _Scalars:
    """The scalars of event files, the last of each file, step and tag.

    Args:
        source: of all of them, for messages.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.rows: dict[tuple[str, int, int], dict[str, float]] = {}
        """(folder, number of the file in it, step) -> tag -> value."""
        self.tags: dict[str, set[str]] = {}
        self.n_files = Counter[str]()
        self.n_again = 0
        self.cut: list[str] = []

    def add(self, file: EventFile, package: _Package) -> None:
        """Take the scalars of a file.

        Args:
            file: after those that were written before.
            package: reads a record.
        """
        tags = self.tags.setdefault(file.folder, set())
        n_file = self.n_files[file.folder]
        self.n_files[file.folder] += 1
        for record in _records(file, package, self.cut):
            try:
                scalars = list(package.scalars(record))
            except Exception as error:  # protobuf and numpy raise many types; each means the same to the caller
                got = f"a damaged record ({type(error).__name__})"
                raise bad(file.path, expected="events of TensorBoard", got=got) from None
            for step, tag, value in scalars:
                row = self.rows.setdefault((file.folder, n_file, step), {})
                self.n_again += tag in row and row[tag] != value
                row[tag] = value
                tags.add(tag)
            if len(self.rows) > base.MOST_ROWS or len(tags) > base.MOST_COLUMNS:
                expected = f"at most {base.MOST_ROWS:,} steps and {base.MOST_COLUMNS:,} tags"
                raise bad(self.source, expected=expected, got="more")

    def ordered(self) -> list[dict[str, object]]:
        """A step that a later file has too comes again, and is judged as in any log, see `cgro.diagnosis.rows.merge`.

        Returns:
            One row for each run, number of a file and step.
        """
        keys, parts = self._keys_and_parts()
        found: dict[tuple[str, int, int], dict[str, object]] = {}
        for (folder, n_file, step), values in self.rows.items():
            own: dict[str, object] = {STEP: step}
            if folder in keys:
                own[folder] = next(iter(values.values()))
            elif folder in parts:
                own.update((f"{parts[folder]} {tag}", value) for tag, value in values.items())
            else:
                own.update(values)
            run = folder
            if folder in keys or folder in parts:
                run = ""
            elif folder:
                own[RUN] = folder
            found.setdefault((run, n_file, step), {}).update(own)
        return [found[key] for key in sorted(found)]

    def _keys_and_parts(self) -> tuple[set[str], dict[str, str]]:
        """Folders of lines of `add_scalars`, and those that are parts of one training with their words."""
        keys = {folder for folder, tags in self.tags.items() if len(tags) == 1 and _is_key(folder, *tags)}
        parts = as_parts(folder for folder, tags in self.tags.items() if folder and tags and folder not in keys)
        return keys, parts

    def remarks(self, files: Sequence[EventFile]) -> list[str]:
        """What was assumed and repaired.

        Args:
            files: that were read.

        Returns:
            Sentences.
        """
        found = [f"the last record of {path} is cut off and left out" for path in self.cut]
        if len(files) > 1:
            names = listed((PurePath(file.folder, PurePath(file.path).name) for file in files), 4)
            found.append(f"{len(files)} event files are read together, in the order of their names: {names}")
        keys, parts = self._keys_and_parts()
        runs = sorted({folder for folder, _, _ in self.rows} - keys - parts.keys() - {""})
        if runs:
            found.append(f"the folders {listed(runs, 8)} are taken for runs")
        if self.n_again:
            again = counted(self.n_again, "value")
            found.append(f"{again} of the same step and tag came again; the last record counts")
        return found


def _is_key(folder: str, tag: str) -> bool:
    """Whether a folder is that of one line of `add_scalars(tag, ...)`: TAG_KEY, with slashes as underscores."""
    return folder.startswith(tag.replace("/", "_") + "_")


def is_events(content: bytes) -> bool:
    """Whether bytes begin as an event file does.

    Args:
        content: of a file.

    Returns:
        True where the first record names a version of the format.

    Example:
        >>> is_events(b"epoch,acc")
        False
    """
    return _VERSION in content[:_WITHIN]


def _records(file: EventFile, package: _Package, cut: list[str]) -> Iterator[bytes]:
    """The records of a file; one that was cut at its end, as of a training that was killed, is left out and said."""
    content = file.content
    position = 0
    while position < len(content):
        begin = position + _LENGTH.size
        if begin > len(content):
            break
        length, checksum = _LENGTH.unpack_from(content, position)
        if package.checksum(content[position : position + 8]) != checksum:
            raise _damaged(file, position)
        end = begin + length
        if end + _CHECKSUM.size > len(content):
            break
        checked = length <= _CHECKED
        if checked and package.checksum(content[begin:end]) != _CHECKSUM.unpack_from(content, end)[0]:
            raise _damaged(file, position)
        yield content[begin:end]
        position = end + _CHECKSUM.size
    if position < len(content):
        cut.append(file.path)


def _damaged(file: EventFile, position: int) -> Exception:
    return bad(file.path, expected="events of TensorBoard", got=f"a damaged record at byte {position:,}")
