"""The oldest torch that is promised is the same wherever it is written, and the one that `make test-oldest` installs."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def promised() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (line,) = [one for one in project["dependencies"] if re.match(r"torch\W", one)]
    return line.removeprefix("torch>=")


@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        ("tools/oldest.txt", r"^torch==(\d+\.\d+)\.0$"),
        ("constraints.txt", r"accepts torch>=(\d+\.\d+)\."),
        ("docs/stability.md", r"torch (\d+\.\d+) and newer"),
    ],
)
def test_the_oldest_torch_is_one(place: str, pattern: str) -> None:
    assert re.findall(pattern, (ROOT / place).read_text(), re.MULTILINE) == [promised()]


def test_it_has_an_environment_of_its_own() -> None:
    """`make test` must not find the old torch in its own."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    assert [line.split()[3:] for line in lines if "install.sh $(PYTHON)" in line] == [
        ["$(VENV)", "data"],
        ["$(VENV)", "dev"],
        ["$(OLDEST)", "dev", "tools/oldest.txt"],
    ]
