"""Tables with a header line and fields between commas, semicolons or tabs."""

import csv
import io
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from cgro._check import bad
from cgro.diagnosis.columns import counted
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Cells, Told
from cgro.diagnosis.words import curve_of, meaning_of

_DELIMITERS = ",;\t"
_DECIMAL = re.compile(r"\s*[-+]?\d+,\d+\s?%?\s*")
"""A number with a decimal comma."""
_THOUSANDS = re.compile(r"\s*\d{1,3}(?:,\d{3})+\s*")
"""A whole number with commas between its thousands, or one with three decimals behind a comma."""
_WHOLE = re.compile(r"\s*\d+\s*")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?\s?%?|nan")
_POINTED = re.compile(r"\s*[-+]?\d*\.\d+\s?%?\s*")
"""A number with a decimal point."""
_PRINTED = re.compile(r"[:=]\s*[-+]?\d")
"""A number behind a colon: a line that a program printed, and no header."""

_UNNAMED = re.compile(r"Unnamed: \d+(?=\s*(?:[,;\t]|$))")
"""What pandas calls a column without a name."""
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
            0.8 for a header with a name that is understood, less for another one, 0 for prose and printed values.
        """
        start = _content(text)[:1_000_000].splitlines()
        if len(text.lines) < 2 or not start:
            return 0.0
        header = _UNNAMED.sub("unnamed", start[0])
        delimiter = delimiter_of(header)
        if delimiter not in header or _PRINTED.search(header[:10_000]):
            return 0.0
        names = header.split(delimiter)[:1000]
        numbered = len(_NUMBERED.findall(header[:10_000]))
        if numbered:
            return 0.3 if numbered < 3 else 0.0
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
        delimiter = delimiter_of(first)
        head = list(itertools.islice(_records(text, delimiter), 2))
        if len(head) < 2:
            raise bad(text.source, expected="a table with a header and rows", got="none")
        names = list(map(str.strip, head[0]))
        if len(names) > base.MOST_COLUMNS:
            raise bad(text.source, expected=f"at most {base.MOST_COLUMNS:,} columns", got=f"{len(names):,}")

        if all(map(_is_number, names)):
            remedy = "write names above them, as epoch,clean_accuracy/test,robust_accuracy/test"
            raise bad(text.source, expected="a header", got=f"the numbers {first[:60]!r}", remedy=remedy)
        headers = sum(line.strip() == first for line in lines)
        remarks: list[str] = []
        epochs = _epoch_columns(names, told)
        thousands = _thousands_in(text, delimiter, epochs)
        has_commas = delimiter != "," and _has_decimal_commas(text, delimiter, thousands)
        if thousands:
            remarks.append("a comma in an epoch is taken to stand between thousands")
        if has_commas:
            remarks.append("a comma in a number is taken for the decimal point")
        if headers > 1:
            remarks.append(f"the header is repeated {counted(headers - 1, 'time')}")
        table = Table(
            text.source,
            lambda: _rows(text, delimiter, names, commas=has_commas, thousands=thousands),
            names,
            {"format": self.name},
            remarks,
            appended=headers > 1,
        )
        return curves_of(table, told)


def _is_number(name: str) -> bool:
    return _NUMBER.fullmatch(name[:100]) is not None


def _rows(
    text: Text, delimiter: str, names: Sequence[str], *, commas: bool, thousands: Collection[int]
) -> Iterator[Cells]:
    """The rows but for repeated headers; `commas` are decimal ones, but for those of the columns `thousands`."""
    for n, record in enumerate(itertools.islice(_records(text, delimiter), 1, None), 2):
        while len(record) > len(names) and not record[-1].strip():
            record.pop()  # a delimiter at the end of every row
        if len(record) != len(names):
            more = "fewer"
            if len(record) > len(names):
                more = "more"
            lengths = f"line {n} has {more} fields than the header: curves of different lengths"
            raise refusal(text.source, lengths)
        for place in thousands:
            if _THOUSANDS.fullmatch(record[place][:100]):
                record[place] = record[place].replace(",", "")
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


def _epoch_columns(names: Sequence[str], told: Told) -> list[int]:
    """The places of the columns that count epochs, by their names or as the caller says."""
    choice = told.choices.get("epoch")
    if choice is not None:
        return [place for place, name in enumerate(names) if name == choice.text]
    return [place for place, name in enumerate(names) if curve_of(name) == "epoch"]


def _thousands_in(text: Text, delimiter: str, epochs: Sequence[int]) -> list[int]:
    """Those columns of epochs in which a comma stands between thousands: 975, then 1,000.

    Where every epoch is written as 1,000 is, it may be a whole number with three decimals; that is left to what the
    other columns say of commas, and its curve is the same.
    """
    found: list[int] = []
    for place in epochs:
        with_comma = whole = pointed = others = False
        for record in itertools.islice(_records(text, delimiter), 1, None):
            cell = record[place] if place < len(record) else ""
            if _THOUSANDS.fullmatch(cell[:100]):
                with_comma = True
                others = others or cell.lstrip().startswith("0")
            elif _WHOLE.fullmatch(cell[:100]):
                whole = True
            elif _DECIMAL.fullmatch(cell[:100]):
                others = True
            pointed = pointed or any(map(_is_pointed, record))
        if with_comma and not others and (whole or pointed or delimiter == ","):
            found.append(place)
    return found


def _is_pointed(cell: str) -> bool:
    return _POINTED.fullmatch(cell[:100]) is not None


def _has_decimal_commas(text: Text, delimiter: str, thousands: Collection[int]) -> bool:
    """Whether numbers have a decimal comma: some cells do, and none has a point. `thousands` are columns left out."""
    found = False
    for record in itertools.islice(_records(text, delimiter), 1, None):
        for place, cell in enumerate(record):
            if _is_pointed(cell):
                return False
            if place not in thousands:
                found = found or _DECIMAL.fullmatch(cell[:100]) is not None
    return found


def delimiter_of(line: str) -> str:
    """The delimiter of a table.

    Args:
        line: its header.

    Returns:
        A comma, a semicolon or a tab, whichever is commonest.
    """
    return max(_DELIMITERS, key=line.count)


def _records(text: Text, delimiter: str) -> Iterable[list[str]]:
    content = io.StringIO(text.content.lstrip("\r\n"), newline=None)
    try:
        for record in csv.reader(content, delimiter=delimiter):
            if record and not (record[0].startswith("#") and len(record) == 1):
                yield record
    except csv.Error as error:  # a field of over 128 kB, a quotation that does not end
        raise bad(text.source, expected="a table", got=f"a damaged one ({error})") from None
