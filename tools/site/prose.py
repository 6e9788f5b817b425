"""Docstrings are plain text with names in backticks and equations in letters; this makes Markdown of them.

Outside backticks nothing is markup, so that `<w_r, x>` is no tag and w* no emphasis. Indented lines above the first
section are equations or tables, set as they are. `Example:` is what Google's style calls `Examples:`.
"""

import re
from collections.abc import Iterator
from itertools import groupby

SECTIONS = ("Args:", "Returns:", "Raises:", "Example:", "Examples:", "Yields:", "Attributes:")
MARKUP = re.compile(r"[\\*_$\[\]]")
CODE = re.compile(r"(`[^`]+`)")


def escaped(text: str) -> str:
    r"""Take the meaning from what Markdown would read as markup.

    Args:
        text: with code in backticks, which stays as it is.

    Returns:
        Markdown that is shown as the text.

    Example:
        >>> print(escaped("w* and `w*`, <w_r, x>"))
        w\* and `w*`, &lt;w\_r, x>
    """
    parts = CODE.split(text)
    parts[::2] = [MARKUP.sub(r"\\\g<0>", part).replace("<", "&lt;") for part in parts[::2]]
    return "".join(parts)


STAR = re.compile(r"(?<![\w*\\])([A-Za-z])\*(?!\*)")
TAG = re.compile(r"<(?=[A-Za-z_]\w*[_,\[])")
ITEM = re.compile(r"^(?:[-*] |\d+\. )")
PROTECTED = re.compile(
    r"(^(?:```|~~~~?).*?^(?:```|~~~~?)$|`[^`]+`|^\$\$.*?\$\$$|(?<![\\$])\$[^$\n]+\$)", re.DOTALL | re.MULTILINE
)


def as_on_github(text: str) -> str:
    r"""Write a page so that Python-Markdown shows what GitHub shows.

    There w*, is no emphasis, <w_r, x> is no tag, and a list may follow a paragraph without a blank line.

    Args:
        text: Markdown of a page.

    Returns:
        Markdown.

    Example:
        >>> print(as_on_github("along w*, or w*.\n- <w_r, x>"))
        along w\*, or w\*.
        <BLANKLINE>
        - &lt;w_r, x>
    """
    parts = PROTECTED.split(text)
    parts[::2] = [TAG.sub("&lt;", STAR.sub(r"\1\*", part)) for part in parts[::2]]
    found: list[str] = []
    fenced = False
    for line in "".join(parts).split("\n"):
        fenced ^= line.startswith(("```", "~~~"))
        before = found[-1] if found else ""
        if ITEM.match(line) and before.strip() and not fenced and not ITEM.match(before) and before[0] not in " |":
            found.append("")
        found.append(line)
    return "\n".join(found)


def _body(lines: list[str]) -> Iterator[str]:
    """Text above the sections: paragraphs, and blocks of indented lines as they are."""
    for indented, group in groupby(lines, key=lambda line: line.startswith("  ")):
        block = list(group)
        if indented:
            yield from ("", "```text", *(line[min(4, len(line) - len(line.lstrip())) :] for line in block), "```", "")
        else:
            yield from block_of_text(block)


def block_of_text(lines: list[str]) -> list[str]:
    """Escape lines together, as code in backticks may run over the end of one.

    Args:
        lines: of text.

    Returns:
        As many.
    """
    return escaped("\n".join(lines)).split("\n")


def markdown(docstring: str) -> str:
    """Make Markdown of a docstring.

    Args:
        docstring: as Python gives it, without its indentation.

    Returns:
        The same with sections that Google's style knows.
    """
    lines = docstring.expandtabs(4).splitlines()
    first = next(
        (i for i, line in enumerate(lines) if line.strip() in SECTIONS and not line.startswith(" ")), len(lines)
    )
    found = list(_body(lines[:first]))
    while first < len(lines):
        end = next((i for i in range(first + 1, len(lines)) if lines[i] in SECTIONS), len(lines))
        section = lines[first:end]
        if section[0] in ("Example:", "Examples:"):
            found += ["Examples:", *section[1:]]
        else:
            found += [section[0], *block_of_text(section[1:])]
        first = end
    return "\n".join(found)
