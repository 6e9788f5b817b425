"""Equations as MathML, when the site is built: a browser draws it by itself, without a script or a font from elsewhere.

`pymdownx.arithmatex` marks `$...$` and `$$...$$`; what it marks is replaced here.
"""

import html
import re
from xml.etree import ElementTree

from latex2mathml.converter import convert

MARKED = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
BOLD_ONE = "\U0001d7cf"
"""Of an indicator function. Browsers know no attribute for bold."""
BEHIND_BIG = {"\\{": "{", "\\}": "}", "\\|": "\u2016"}
"""Delimiters that latex2mathml 3.81 leaves as they are written behind `\\big` and its like."""
BAR = "\u2015"
"""Of \\overline and \\underline; Chromium draws it as wide as one letter, however many it belongs to."""
BELOW = ("max", "min")
"""Operators whose subscript stands below them in an equation of its own line."""


def mathml_of(latex: str, *, block: bool) -> str:
    """Translate an equation.

    Args:
        latex: of the equation.
        block: whether it has a line of its own.

    Returns:
        A `math` element.

    Raises:
        ValueError: a command that latex2mathml does not know, or an equation that is not closed.
    """
    try:
        translated = convert(latex, display="block" if block else "inline")
    except Exception as error:  # of many kinds
        raise ValueError(f"expected LaTeX that latex2mathml knows, got {latex!r}") from error
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.fromstring(translated)
    for element in root.iter():
        text = element.text or ""
        if text in BEHIND_BIG:
            element.text = BEHIND_BIG[text]
        elif text.startswith("\\") and len(text) > 1:
            raise ValueError(f"expected LaTeX that latex2mathml knows, got {text} in {latex!r}")
        elif text == "1" and element.get("mathvariant") == "bold":
            element.text = BOLD_ONE
        elif element.tag.endswith(("}mover", "}munder")) and element[1].text == BAR and not _is_one(element[0]):
            wanted = "a sum that is written out: a browser does not stretch a bar over several letters"
            raise ValueError(f"expected {wanted}, got {latex!r}")
        if block and element.tag.endswith("}msub") and element[0].text in BELOW:
            element.tag = element.tag.replace("msub", "munder")
    return ElementTree.tostring(root, encoding="unicode")


def _is_one(element: ElementTree.Element) -> bool:
    """Whether a MathML element is a single letter, number or sign, perhaps in braces or with a subscript."""
    while element.tag.endswith("}mrow") and len(element) == 1:
        element = element[0]
    return not element.tag.endswith("}mrow")


def typeset(page: str, where: str) -> str:
    """Replace the marked equations of a page.

    Args:
        page: HTML.
        where: the page's name, for the message.

    Returns:
        HTML with MathML; equations of their own line can be scrolled by the keyboard.

    Raises:
        ValueError: an equation that cannot be translated.
    """

    def drawn(found: re.Match[str]) -> str:
        _, bracket, source = found.groups()
        block = bracket == "["
        try:
            element = mathml_of(html.unescape(source).strip(), block=block)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if block:
            return f'<div class="equation" tabindex="0">{element}</div>'
        return f'<span class="equation">{element}</span>'

    return MARKED.sub(drawn, page)
