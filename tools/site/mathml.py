"""Equations as MathML, when the site is built: a browser draws it by itself, without a script or a font from elsewhere.

`pymdownx.arithmatex` marks `$...$` and `$$...$$`; what it marks is replaced here.
"""

import html
import re

from latex2mathml.converter import convert

MARKED = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
UNKNOWN = re.compile(r"\\[A-Za-z]+")


def typeset(page: str, where: str) -> str:
    """Replace the marked equations of a page.

    Args:
        page: HTML.
        where: the page's name, for the message.

    Returns:
        HTML with MathML.

    Raises:
        ValueError: an equation with a command that cannot be drawn.
    """

    def drawn(found: re.Match[str]) -> str:
        tag, bracket, source = found.groups()
        latex = html.unescape(source).strip()
        display = "inline" if bracket == "(" else "block"
        try:
            mathml = convert(latex, display=display)
        except Exception as error:
            raise ValueError(f"{where}: expected LaTeX that latex2mathml knows, got {latex!r}") from error
        unknown = UNKNOWN.findall(re.sub(r"<[^>]*>", "", mathml))
        if unknown:
            raise ValueError(f"{where}: expected LaTeX that latex2mathml knows, got {unknown[0]} in {latex!r}")
        # Read aloud by screen readers that have no MathML, and found by the search.
        label = html.escape(latex, quote=True)
        mathml = mathml.replace("<math ", f'<math aria-label="{label}" ', 1)
        return f'<{tag} class="equation">{mathml}</{tag}>'

    return MARKED.sub(drawn, page)
