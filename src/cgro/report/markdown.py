"""Markdown of the results page: text of a result stays text, tables, and the cells of experiments."""

import re
from collections.abc import Iterable, Sequence

from cgro._check import one_line
from cgro.results import Measured
from cgro.results.records import Json

LONGEST_TEXT = 100_000
"""Characters of one text of the page. A choice; the list of two hundred runs has some thousands."""
MARKDOWN = ("!", "#", "-", "|", "*", "+", ">", "`", "<", "[", "=")
"""What begins another form of Markdown than a paragraph."""


def line_of(text: object) -> str:
    """Text of a result on one line: it starts no line of its own, and so no heading and no image.

    Args:
        text: or a number.

    Returns:
        One line of at most `LONGEST_TEXT` characters.

    Example:
        >>> line_of("a\\n# b")
        'a # b'
    """
    return one_line(str(text), LONGEST_TEXT)


def paragraph(text: str) -> str:
    """Text of a result on a line of its own, which Markdown reads as nothing else.

    Args:
        text: of the paragraph.

    Returns:
        One line; a backslash keeps what would begin another form from doing so.

    Example:
        >>> print(paragraph("# no heading"))
        \\# no heading
    """
    line = line_of(text)
    if line.startswith(MARKDOWN):
        return "\\" + line
    return line


def anchor(title: str) -> str:
    """The link of a heading, as GitHub and our HTML make it.

    Args:
        title: of the section.

    Returns:
        Small letters, digits and hyphens.

    Example:
        >>> anchor("Figure 2(a, b): the effect of capacity")
        'figure-2a-b-the-effect-of-capacity'
    """
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def table_of(columns: Sequence[object], rows: Iterable[Sequence[Json]]) -> list[str]:
    """A table as lines of Markdown, with an empty one behind.

    Args:
        columns: their names.
        rows: one cell per column.

    Returns:
        The lines.

    Example:
        >>> table_of(["seed", "error"], [[0, "a|b"]])
        ['| seed | error |', '| --- | --- |', '| 0 | a\\\\|b |', '']
    """
    lines = [_row(columns), "| " + " | ".join("---" for _ in columns) + " |"]
    lines += [_row(row) for row in rows]
    return [*lines, ""]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(line_of(cell).replace("|", "\\|") for cell in cells) + " |"


def cell(values: Iterable[float | None], digits: int = 2) -> str:
    """Mean and sample standard deviation for a table.

    Args:
        values: one per seed; None is left out.
        digits: behind the point.

    Returns:
        Text; empty without values.

    Example:
        >>> cell([1.0, 2.0, 3.0]), cell([1.0, None]), cell([])
        ('2.00 (1.00)', '1.00', '')
    """
    known = Measured.of(values)
    if known.n == 0:
        return ""
    if known.n == 1:
        return f"{known.mean:.{digits}f}"
    return f"{known.mean:.{digits}f} ({known.sd:.{digits}f})"
