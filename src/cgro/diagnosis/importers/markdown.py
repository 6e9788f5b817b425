"""Tables between bars, as Markdown, reST and notebooks have them."""

import re
from collections.abc import Iterator, Sequence

from cgro._check import bad
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers import base
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told

_BOX = re.compile("[\u2500-\u257f]")
_BOXES = dict.fromkeys(range(9472, 9600), "+")
_BOXES |= dict.fromkeys(map(ord, "\u2502\u2503\u2506\u2507\u250a\u250b\u254e\u254f\u2551"), "|")
_BOXES |= dict.fromkeys(map(ord, "\u2500\u2501\u2504\u2505\u2508\u2509\u254c\u254d\u2550"), "-")
"""Characters that draw boxes -> a bar, a dash, or a corner."""


class Markdown:
    """A table between bars with a rule below its header; text around it is left out."""

    name = "Markdown table"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            0.85 for a line between bars above a rule.
        """
        return 0.85 if _header(_plain_bars(text.lines[:10_000])) is not None else 0.0

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        Args:
            text: of the file.
            told: columns that the caller named.

        Returns:
            One value per seed.

        Raises:
            BadRequest: no rows, or rows of another length than the header; see `curves_of`.
        """
        lines = _plain_bars(text.lines)
        place = _header(lines)
        if place is None:
            raise bad(text.source, expected="a table between bars", got="none")
        names = _cells(lines[place])
        if len(names) > base.MOST_COLUMNS:
            raise bad(text.source, expected=f"at most {base.MOST_COLUMNS:,} columns", got=f"{len(names):,}")
        rows: list[dict[str, object]] = []
        end = place + 1
        for n, cells in _rows(lines, place):
            if len(cells) != len(names):
                raise refusal(text.source, f"line {n} has {len(cells)} cells and the header {len(names)}")
            rows.append(dict(zip(names, cells, strict=True)))
            end = n
        if not rows:
            raise bad(text.source, expected="rows below the header", got="none")
        remarks: list[str] = []
        if _header(lines[end:]) is not None:
            remarks.append("further tables of the text are not read")
        return curves_of(Table(text.source, lambda: rows, names, {"format": self.name}, remarks), told)


def _plain_bars(lines: Sequence[str]) -> list[str]:
    """Lines with plain characters in place of those that draw boxes, as rich and tabulate print tables."""
    return [line.translate(_BOXES) if _BOX.search(line) else line for line in lines]


def _header(lines: Sequence[str]) -> int | None:
    """The place of the header: the first line between bars that a rule follows."""
    for place, line in enumerate(lines[:-1]):
        below = lines[place + 1]
        if "|" in line and _is_rule(below) and not _is_rule(line):
            return place
    return None


def _is_rule(line: str) -> bool:
    """Whether a line is the one below a header: |---|:--:|, or +----+----+ of a printed table."""
    cells = re.split(r"[|+]", line.strip().strip("|+"))
    return len(cells) > 1 and all(map(_is_dashes, cells))


def _is_dashes(cell: str) -> bool:
    text = cell.strip()
    return bool(text) and not text.strip(":").strip("-=")


def _rows(lines: Sequence[str], place: int) -> Iterator[tuple[int, list[str]]]:
    """(number of the line, cells) up to the first line without bars; rules between rows are passed over."""
    for n in range(place + 2, len(lines)):
        line = lines[n]
        if "|" not in line and "+" not in line:
            return
        if not line.strip("+-=|: "):
            continue
        yield n + 1, _cells(line)


def _cells(line: str) -> list[str]:
    """The cells between bars, without marks of emphasis."""
    inner = line.strip().removeprefix("|").removesuffix("|")
    return list(map(_plain, inner.split("|")))


def _plain(cell: str) -> str:
    return cell.strip().strip("*_`").strip()
