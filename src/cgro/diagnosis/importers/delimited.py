"""Tables with a header line and fields between commas, semicolons or tabs."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator

from cgro._check import bad
from cgro.diagnosis.columns import counted
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.layout import refusal
from cgro.diagnosis.importers.table import Cells, Table, curves_of
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.words import meaning_of

_DELIMITERS = ",;\t"
_PRINTED = re.compile(r"[:=]\s*[-+]?\d")
"""A number behind a colon: a line that a program printed, and no header."""


class Delimited:
    """CSV, with semicolons or tabs too; line ends of any system."""

    name = "CSV"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            0.8 for a header with a name that is understood, less for another one, 0 for prose.
        """
        if len(text.lines) < 2:
            return 0.0
        header = text.content.lstrip()[:1_000_000].splitlines()[0]
        delimiter = _delimiter(header)
        if delimiter not in header or _PRINTED.search(header[:10_000]):
            return 0.0
        names = header.split(delimiter)[:1000]
        known = any(meaning_of(name.strip().strip('"')) is not None for name in names)
        if known:
            return 0.8
        return 0.3

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`. A header that is repeated, as by a program that was restarted, is left out.

        Args:
            text: of the file.
            told: columns that the caller named.

        Returns:
            One value per seed.

        Raises:
            BadRequest: no rows, rows of another length than the header, and see `curves_of`.
        """
        lines = text.lines  # asks for their number
        delimiter = _delimiter(next(line for line in lines if line.strip()))
        head = list(itertools.islice(_records(text, delimiter), 2))
        if len(head) < 2:
            raise bad(text.source, expected="a table with a header and rows", got="none")
        names = list(map(str.strip, head[0]))
        if len(names) > base.MOST_COLUMNS:
            raise bad(text.source, expected=f"at most {base.MOST_COLUMNS:,} columns", got=f"{len(names):,}")

        def rows() -> Iterator[Cells]:
            for n, record in enumerate(itertools.islice(_records(text, delimiter), 1, None), 2):
                while len(record) > len(names) and not record[-1].strip():
                    record.pop()  # a delimiter at the end of every row
                if len(record) != len(names):
                    more = "fewer"
                    if len(record) > len(names):
                        more = "more"
                    lengths = f"line {n} has {more} fields than the header: curves of different lengths"
                    raise refusal(text.source, lengths)
                if list(map(str.strip, record)) != names:
                    yield dict(zip(names, record, strict=True))

        headers = sum(line.strip() == lines[0].strip() for line in lines)
        remarks: list[str] = []
        if headers > 1:
            remarks.append(f"the header is repeated {counted(headers - 1, 'time')}")
        table = Table(text.source, rows, names, {"format": self.name}, remarks, appended=headers > 1)
        return curves_of(table, told)


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _records(text: Text, delimiter: str) -> Iterable[list[str]]:
    content = io.StringIO(text.content.lstrip("\r\n"), newline=None)
    try:
        yield from filter(None, csv.reader(content, delimiter=delimiter))
    except csv.Error as error:  # a field of over 128 kB, a quotation that does not end
        raise bad(text.source, expected="a table", got=f"a damaged one ({error})") from None
