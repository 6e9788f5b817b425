"""Every `cgro ...` line in the documents is one that the command line accepts."""

import re
import shlex
from pathlib import Path

import pytest
from tests.docs.test_readme import options
from tools.site.places import ROOT

from cgro import cli
from cgro._check import BadRequest

PAGES = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md") if (ROOT / name).exists()]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
PAGES += sorted((ROOT / "src" / "cgro" / "commands" / "help").glob("*.txt"))
LINE = re.compile(r"^(?:    |  )?cgro ([a-z][a-z-]*(?: .*)?)$")
NO_OPTIONS = re.compile(r"^(?:[a-z-]+ )?(?:--help|--version|COMMAND\b.*)$")


def lines_of(text: str) -> list[str]:
    """Lines of code that call cgro, with their continuations, without what a pipe does behind them."""
    joined = re.sub(r"\\\n\s*", "", text)
    joined = re.sub(r" {2,}\(.*\)$", "", joined, flags=re.MULTILINE)  # remarks of the help
    found = []
    for line in joined.splitlines():
        if match := LINE.match(line):
            found.append(match[1])
    return found


def words_of(line: str) -> list[list[str]]:
    """The calls in a line."""
    words = shlex.split(line, comments=True)
    ends = [i for i, word in enumerate(words) if word in ("|", "&&", "&", ">", "2>&1", ";")]
    return [words[: ends[0]] if ends else words]


CASES = sorted({line for page in PAGES for line in lines_of(page.read_text())})


def refused(words: list[str]) -> str:
    """Why the command line does not take these words, or nothing."""
    if NO_OPTIONS.match(" ".join(words)):
        return ""
    if words[0] not in cli.COMMANDS:
        return f"no command {words[0]}"
    try:
        options(words)
    except (BadRequest, SystemExit) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("line", CASES)
def test_every_line_parses(line: str) -> None:
    for words in words_of(line):
        assert not refused(words), line


def test_lines_are_found_and_wrong_ones_refused() -> None:
    assert len(CASES) > 60
    text = "```sh\ncgro train --data digits \\\n    --out runs/a    # text\n```\n\n    cgro lint runs/a\n\n`cgro train --x`"
    assert [words_of(line) for line in lines_of(text)] == [
        [["train", "--data", "digits", "--out", "runs/a"]],
        [["lint", "runs/a"]],
    ]
    assert "no command" in refused(["trian"])
    assert refused(["train", "--no-such-option", "1"])
    assert not refused(["train", "--data", "digits"])


def test_pages_are_those_of_the_project() -> None:
    assert Path(ROOT / "docs" / "diagnosis.md") in PAGES
