"""Event files of TensorBoard: records of protocol buffers, of which the scalars are read.

The package `tensorboard` (extra `track`) reads a record; where a record begins and ends is read here, so that no length
that a file says is believed. Nothing in a file is executed."""

import importlib
import struct
from collections.abc import Iterator

from cgro._check import bad
from cgro.diagnosis.columns import counted
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.long_table import STEP, steps_as_epochs
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told

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


class TensorBoard:
    """The scalars of `SummaryWriter`, of Keras's callback and of Lightning's logger."""

    name = "TensorBoard events"

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
            BadRequest: the package is missing, a damaged record, no scalar, steps that are no epochs; see `curves_of`.
        """
        rows: dict[int, dict[str, object]] = {}
        package = _Package(text.source)
        remarks: list[str] = []
        tags: set[str] = set()
        n_again = 0
        for record in _records(text, package, remarks):
            try:
                scalars = list(package.scalars(record))
            except Exception as error:  # protobuf and numpy raise many types; each means the same to the caller
                got = f"a damaged record ({type(error).__name__})"
                raise bad(text.source, expected="events of TensorBoard", got=got) from None
            for step, tag, value in scalars:
                row = rows.setdefault(step, {STEP: step})
                n_again += tag in row and row[tag] != value
                row[tag] = value
                tags.add(tag)
                if len(rows) > base.MOST_ROWS or len(tags) > base.MOST_COLUMNS:
                    expected = f"at most {base.MOST_ROWS:,} steps and {base.MOST_COLUMNS:,} tags"
                    raise bad(text.source, expected=expected, got="more")
        if not rows:
            raise bad(text.source, expected="scalars", got="events without any")
        if n_again:
            remarks.append(f"{counted(n_again, 'value')} of the same step and tag came again; the last record counts")
        ordered, assumed = steps_as_epochs(list(map(rows.__getitem__, sorted(rows))), told)
        table = Table(text.source, lambda: ordered, None, {"format": self.name}, [*remarks, *assumed])
        return curves_of(table, told)


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


def _records(text: Text, package: _Package, remarks: list[str]) -> Iterator[bytes]:
    """The records of a file; one that was cut at its end, as of a training that was killed, is left out and said."""
    content = text.raw
    position = 0
    while position < len(content):
        begin = position + _LENGTH.size
        if begin > len(content):
            break
        length, checksum = _LENGTH.unpack_from(content, position)
        if package.checksum(content[position : position + 8]) != checksum:
            raise _damaged(text, position)
        end = begin + length
        if end + _CHECKSUM.size > len(content):
            break
        checked = length <= _CHECKED
        if checked and package.checksum(content[begin:end]) != _CHECKSUM.unpack_from(content, end)[0]:
            raise _damaged(text, position)
        yield content[begin:end]
        position = end + _CHECKSUM.size
    if position < len(content):
        remarks.append("the last record is cut off and left out")


def _damaged(text: Text, position: int) -> Exception:
    return bad(text.source, expected="events of TensorBoard", got=f"a damaged record at byte {position:,}")
