"""The program behind `make reproduction`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_program_writes_the_page_that_is_committed(tmp_path: Path) -> None:
    """Links are relative to the page, so it must be written beside the committed one's place."""
    (tmp_path / "results").symlink_to(ROOT / "results")
    page = tmp_path / "docs" / "reproduction.md"
    command = [sys.executable, "-m", "cgro.experiments.document", str(tmp_path / "results"), str(page)]
    assert subprocess.run(command).returncode == 0
    assert page.read_text() == (ROOT / "docs" / "reproduction.md").read_text()
