"""The theory pages: each program prints what stands below it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "theory"
PROGRAM = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [page for page in sorted(FOLDER.glob("*.md")) if PROGRAM.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_program_prints_what_stands_below_it(page: Path) -> None:
    names: dict[str, object] = {}
    for code, output in PROGRAM.findall(page.read_text()):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code, names)
        assert said.getvalue() == output


def test_no_program_is_without_output() -> None:
    assert len(PAGES) == 4
    for page in PAGES:
        text = page.read_text()
        assert len(PROGRAM.findall(text)) == text.count("```python"), page.name
