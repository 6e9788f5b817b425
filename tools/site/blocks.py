"""What programs printed: lines that are sentences break in the column, where a table of numbers scrolls."""

import html
import re

BLOCK = re.compile(r'<div class="highlight">(<pre><span></span><code>([^<]*)</code></pre>)')
"""Without a colored word, so no code."""
LONG_LINE = 110
"""Characters from which a line is a sentence: no page prints a table as wide, and the help of a command has 100."""


def broken(page: str) -> str:
    """Let long lines of printed text break.

    Args:
        page: HTML.

    Returns:
        HTML, in which a block of text with a line above `LONG_LINE` is of the class `sentences` (assets/site.css).
    """
    return BLOCK.sub(_marked, page)


def _marked(found: re.Match[str]) -> str:
    lines = html.unescape(found[2]).splitlines()
    if not lines or max(map(len, lines)) <= LONG_LINE:
        return found[0]
    return f'<div class="highlight sentences">{found[1]}'
