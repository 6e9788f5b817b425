"""Tables with a header line and fields between commas, semicolons or tabs."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

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
_DECIMAL = re.compile(r"\s*[-+]?\d+,\d+\s?%?\s*")
"""A number with a decimal comma."""
_POINTED = re.compile(r"\s*[-+]?\d*\.\d+\s?%?\s*")
"""A number with a decimal point."""
_PRINTED = re.compile(r"[:=]\s*[-+]?\d")
"""A number behind a colon: a line that a program printed, and no header."""

_NUMBERED = re.compile(r"epoch\W{0,3}\d|(?<=\s)\d+\.\d", re.IGNORECASE)
"""A number among words: rather such a line than a header."""


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
        start = _content(text)[:1_000_000].splitlines()
        if len(text.lines) < 2 or not start:
            return 0.0
        header = start[0]
        delimiter = _delimiter(header)
        if delimiter not in header or _PRINTED.search(header[:10_000]):
            return 0.0
        names = header.split(delimiter)[:1000]
        if _NUMBERED.search(header[:10_000]):
            return 0.3
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
        content = _content(text)
        text = replace(text, content=content)
        first = content.splitlines()[0].strip()
        delimiter = _delimiter(first)
        head = list(itertools.islice(_records(text, delimiter), 2))
        if len(head) < 2:
            raise bad(text.source, expected="a table with a header and rows", got="none")
        names = list(map(str.strip, head[0]))
        if len(names) > base.MOST_COLUMNS:
            raise bad(text.source, expected=f"at most {base.MOST_COLUMNS:,} columns", got=f"{len(names):,}")

        headers = sum(line.strip() == first for line in lines)
        remarks: list[str] = []
        has_commas = delimiter != "," and _has_decimal_commas(text, delimiter)
        if has_commas:
            remarks.append("a comma in a number is taken for the decimal point")
        if headers > 1:
            remarks.append(f"the header is repeated {counted(headers - 1, 'time')}")
        table = Table(
            text.source,
            lambda: _rows(text, delimiter, names, commas=has_commas),
            names,
            {"format": self.name},
            remarks,
            appended=headers > 1,
        )
        return curves_of(table, told)


def _rows(text: Text, delimiter: str, names: Sequence[str], *, commas: bool) -> Iterator[Cells]:
    """The rows but for repeated headers; `commas` are decimal ones."""
    for n, record in enumerate(itertools.islice(_records(text, delimiter), 1, None), 2):
        while len(record) > len(names) and not record[-1].strip():
            record.pop()  # a delimiter at the end of every row
        if len(record) != len(names):
            more = "fewer"
            if len(record) > len(names):
                more = "more"
            lengths = f"line {n} has {more} fields than the header: curves of different lengths"
            raise refusal(text.source, lengths)
        if commas:
            record = [cell.replace(",", ".") if _DECIMAL.fullmatch(cell[:100]) else cell for cell in record]
        if list(map(str.strip, record)) != names:
            yield dict(zip(names, record, strict=True))


def _content(text: Text) -> str:
    """The text from its header on: without comments, and without the line in which Excel keeps the delimiter."""
    content = text.content.lstrip()
    comment = ""
    while content.startswith(("#", "sep=")):
        comment, _, content = content.partition("\n")
        content = content.lstrip("\r\n")
    if comment.startswith("#") and re.match(r"\s*[-+]?[\d.]", content):
        return f"{comment.lstrip('# ').strip()}\n{content}"  # gnuplot's form: the header is the last comment
    return content


def _has_decimal_commas(text: Text, delimiter: str) -> bool:
    """Whether numbers have a decimal comma: some cells do, and none has a point."""
    found = False
    for record in itertools.islice(_records(text, delimiter), 1, None):
        for cell in record:
            if _POINTED.fullmatch(cell[:100]):
                return False
            found = found or _DECIMAL.fullmatch(cell[:100]) is not None
    return found


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _records(text: Text, delimiter: str) -> Iterable[list[str]]:
    content = io.StringIO(text.content.lstrip("\r\n"), newline=None)
    try:
        yield from filter(None, csv.reader(content, delimiter=delimiter))
    except csv.Error as error:  # a field of over 128 kB, a quotation that does not end
        raise bad(text.source, expected="a table", got=f"a damaged one ({error})") from None
