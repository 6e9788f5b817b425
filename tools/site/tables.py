"""What fits a phone: long names break where their parts end, and rows of words stand below each other.

A table of words, such as that of map.md, has nothing to compare down a column, so that at the width of a phone each row
becomes a list of its cells, each with the heading of its column before it (assets/site.css). A table of numbers stays
one, and scrolls.
"""

import html
import re
import statistics

TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
ROW = re.compile(r"<tr>(.*?)</tr>", re.DOTALL)
CELL = re.compile(r"<(t[hd])([^>]*)>(.*?)</\1>", re.DOTALL)
BLOCK = re.compile(r"(<pre.*?</pre>)", re.DOTALL)
CODE = re.compile(r"(?<=<code>)[^<]*(?=</code>)")
PARTS_OF_TAGS = re.compile(r"(<[^>]*>)")
LONG_WORD = 16
"""Characters from which a word may break: shorter ones, as `n_steps`, are read at a glance. A choice."""
PART = re.compile(r"([/_=,:-]|\.(?=\w{5}))(?=[^\s/_.=,:-])")
"""Behind it a new part of a name or path begins; the ending of a file's name is none."""
MANY_CHARACTERS = 36
"""In the longest cell of half of the rows, from which a table is one of words. A choice: those of numbers have 25."""
MANY_COLUMNS = 8
"""From which a table of numbers is set narrower, so that it fits the column of a window of 1280 pixels."""
ROLES = {"table": "table", "thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "th": "columnheader", "td": "cell"}
"""Written out where rows are stacked: what is no longer shown as a table is else no longer read as one."""


def fitted(page: str) -> str:
    """Let tables and names in code fit the width of a page; blocks of code scroll.

    Args:
        page: HTML, with tables as Markdown writes them.

    Returns:
        HTML.
    """
    page = TABLE.sub(lambda found: _fitted(found[0]), page)
    parts = BLOCK.split(page)
    return "".join(part if part.startswith("<pre") else _with_breaks(part) for part in parts)


def _with_breaks(page: str) -> str:
    return CODE.sub(lambda found: _breakable(found[0]), page)


def _fitted(table: str) -> str:
    rows = [CELL.findall(row) for row in ROW.findall(table)]
    table = "".join(part if part.startswith("<") else _breakable(part) for part in PARTS_OF_TAGS.split(table))
    if not _is_of_words(rows):
        return table.replace("<table>", "<table data-wide>") if len(rows[0]) >= MANY_COLUMNS else table
    labels = [html.escape(_text(content)) for _, _, content in rows[0]]
    head, body = table.split("<tbody>")
    body = ROW.sub(lambda found: f"<tr>{_labeled(found[1], labels)}</tr>", body)
    table = f"{head}<tbody>{body}".replace("<table>", "<table data-stacked>")
    return re.sub(r"<(table|thead|tbody|tr|th|td)(?=[ >])", lambda found: f'{found[0]} role="{ROLES[found[1]]}"', table)


def _breakable(text: str) -> str:
    """Text with a place to break behind each part of its long words; what is copied of it stays the same."""
    return re.sub(rf"\S{{{LONG_WORD},}}", lambda found: PART.sub(r"\1<wbr>", found[0]), text)


def _text(content: str) -> str:
    """What is read of a cell."""
    return html.unescape("".join(PARTS_OF_TAGS.split(content)[::2])).strip()


def _is_of_words(rows: list[list[tuple[str, str, str]]]) -> bool:
    longest = [max(len(_text(content)) for _, _, content in row) for row in rows[1:]]
    return bool(longest) and statistics.median(longest) >= MANY_CHARACTERS


def _labeled(row: str, labels: list[str]) -> str:
    """The cells of a row, each but the first with the heading of its column."""
    waiting = iter(["", *labels[1:]])

    def labeled(found: re.Match[str]) -> str:
        label = next(waiting)
        named = f' data-label="{label}"' if label else ""
        return f"<{found[1]}{found[2]}{named}>{found[3]}</{found[1]}>"

    return CELL.sub(labeled, row)
