"""What several modules of these tests use."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "file"
        path.write_bytes(text.encode(errors="surrogateescape"))
        return path

    return write
