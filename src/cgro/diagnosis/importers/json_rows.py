"""JSON: one object a line, a list of objects, one object of equally long lists, and what libraries wrap around them."""

from collections.abc import Iterator
from dataclasses import replace

from cgro._check import BadRequest
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.long_table import steps_as_epochs
from cgro.diagnosis.importers.nested import objects, series_in, table_in
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told
from cgro.reading import RepeatedKeyError, parse_json

_LINES = "one JSON object a line"


class JsonRows:
    """JSON and JSON lines; NaN and Infinity, which Python writes, are taken."""

    name = "JSON"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            1 for a text that begins as an object or as a list of objects.
        """
        start = text.start
        if start.startswith("{'"):  # a dictionary as Python prints it
            return 0.0
        return float(start[:1] == "{" or start.startswith(("[{", "[\n", "[ {")))

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        Args:
            text: of the file.
            told: columns that the caller named.

        Returns:
            One value per seed.

        Raises:
            BadRequest: damaged JSON, a key twice in one object, lists of different lengths, rows that are no objects;
                see `curves_of`.
        """
        source = text.source
        whole = _whole(text)
        if isinstance(whole, dict | list):
            rows = series_in(whole)
            if rows:
                rows, remarks = steps_as_epochs(rows, told)
                return curves_of(Table(source, lambda: rows, None, {"format": self.name}, remarks), told)
            found = table_in(whole, source)
            if found is not None:
                return curves_of(replace(found, about={"format": self.name}), told)
        table = Table(source, lambda: objects(_lines(text), source, _LINES), about={"format": self.name})
        return curves_of(table, told)


def _whole(text: Text) -> object:
    """The value of a text that is one; None where it is none, such as JSON lines."""
    try:
        return parse_json(text.content, text.source, non_finite=True)
    except RepeatedKeyError:
        raise
    except BadRequest:
        return None


def _lines(text: Text) -> Iterator[object]:
    """The values of the lines; a last line that was cut, as by a full disk, is left out."""
    lines = [(n, line) for n, line in enumerate(text.lines, 1) if line.strip()]
    for place, (n, line) in enumerate(lines):
        try:
            row = parse_json(line, f"{text.source}: line {n}", non_finite=True)
        except RepeatedKeyError:
            raise
        except BadRequest:
            if place == 0 or place < len(lines) - 1:
                raise refusal(text.source, f"line {n} is not JSON") from None
            return
        yield row
