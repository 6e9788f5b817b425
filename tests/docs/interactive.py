"""What the tests of docs/interactive share: Chromium, and its scripts on an empty page, as they stand or with a fault."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "interactive"
DYNAMICS = (
    *("ziggurat.js", "random.js", "linear.js", "setting.js"),
    *("stages.js", "full_ball.js", "simulator.js", "theory.js", "figures.js"),
)
MEMORIZER = ("memorizer.js", "network.js", "npz.js")


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, or the test is skipped with the reason."""
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def with_scripts(browser: Any, names: tuple[str, ...], fault: tuple[str, str, str] | None = None) -> Any:
    """An empty tab that has run the scripts; a fault is (file, text, other text)."""
    tab = browser.new_page()
    for name in names:
        text = (FOLDER / name).read_text()
        if fault and fault[0] == name:
            assert text.count(fault[1]) == 1, fault
            text = text.replace(fault[1], fault[2])
        tab.add_script_tag(content=text)
    return tab
