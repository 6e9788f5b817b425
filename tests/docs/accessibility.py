"""axe-core on a page in Chromium, at the width of a phone and of a desk. Its script comes with the package axe-playwright-python."""

from importlib.resources import files
from typing import Any

import pytest

WIDTHS = (390, 1280)
FIND = """axe.run(document, {resultTypes: ['violations'], preload: false}).then(found => found.violations.map(
  v => v.id + ', ' + v.nodes.length + ' times: ' + v.nodes[0].html.slice(0, 160) + ' ' + v.nodes[0].failureSummary.slice(0, 200)))"""


STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"
"""The theme fades its tabs in: measured in the middle of that, a link is paler than it will be."""


def script() -> str:
    """axe.min.js; without the package the test is skipped."""
    package = pytest.importorskip("axe_playwright_python", reason="no axe-playwright-python: pip install -e '.[dev]'")
    return (files(package) / "axe.min.js").read_text(encoding="utf-8")


def violations(tab: Any) -> list[str]:
    """One line per rule of axe-core that the page breaks at a width; its context must bypass the page's own policy."""
    tab.evaluate(script() + "; undefined")
    tab.add_style_tag(content=STILL)
    lines = []
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        lines += [f"{width} pixels: {line}" for line in tab.evaluate(FIND)]
    return lines
