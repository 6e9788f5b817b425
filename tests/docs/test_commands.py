"""Every `cgro ...` line in the documents is one that the command line accepts; scripts and targets named there exist."""

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
PAGES += [ROOT / "tools" / "gpu" / "README.md", *sorted((ROOT / "benchmarks" / "plans").glob("*"))]
PAGES += sorted((ROOT / "examples").glob("*.py"))
PAGES += sorted((ROOT / "src" / "cgro" / "commands" / "help").glob("*.txt"))
LINE = re.compile(r"^(?:    |  )?(?:\.venv/bin/)?cgro ([a-z][a-z-]*(?: .*)?)$")
NO_OPTIONS = re.compile(r"^(?:[a-z-]+ )?(?:--help|--version|COMMAND\b.*)$")

INLINE = re.compile(r"`cgro ([a-z][a-z-]*)((?: [^`]*)?)`")
SCRIPT = re.compile(
    r"(?<![\w/-])python (-m )?((?:tools|benchmarks|cgro|tests)[./][\w./-]*)((?: +(?:-[\w-]+|[\w./]+))*)"
)
TARGET = re.compile(r"(?:^|`|&& )make ([a-z-]+)(?=`| *#| *&&| *$)", re.MULTILINE)
OF_DECISIONS = ROOT / "docs" / "decisions.md"
"""It tells what was, too."""


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


def stale_options(text: str) -> list[str]:
    """What calls within a sentence name that does not exist: a command, an option. Their values are placeholders."""
    found = []
    for command, rest in INLINE.findall(text):
        if command == "completion":
            continue
        if command not in cli.COMMANDS:
            found.append(command)
            continue
        shown = (ROOT / "src" / "cgro" / "commands" / "help" / f"{command}.txt").read_text()
        for option in re.findall(r"(?<=\s)--[a-z-]+", rest):
            if not re.search(rf"(?<![\w-]){option}(?![\w-])", shown.partition("options:")[2]):
                found.append(f"{command} {option}")
    return found


def stale_scripts(text: str) -> list[str]:
    """Scripts and targets of make that a text names and that do not exist, and options that a script does not have."""
    found = [f"make {name}" for name in TARGET.findall(text) if f"\n{name}:" not in (ROOT / "Makefile").read_text()]
    for module, name, rest in SCRIPT.findall(text):
        file = ROOT / name
        if module:
            folder = ROOT / "src" if name.startswith("cgro") else ROOT
            file = folder / (name.rstrip(".").replace(".", "/") + ".py")
        if not file.exists():
            found.append(name)
            continue
        for option in re.findall(r"(?<=\s)--[a-z-]+", rest):
            if f'"{option}"' not in file.read_text():
                found.append(f"{name} {option}")
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page != OF_DECISIONS], ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    assert stale_options(page.read_text()) == []
    assert stale_scripts(page.read_text()) == []


def test_what_does_not_exist_is_found() -> None:
    assert stale_options("`cgro train RUN --epoch 3` and `cgro trian`, `cgro evaluate RUN --n 3`") == [
        "train --epoch",
        "trian",
    ]
    text = "`make tset`, `make test`\n`python tools/help.py`, `python tools/hlep.py`, `python -m cgro.nothing`"
    assert stale_scripts(text) == ["make tset", "tools/hlep.py", "cgro.nothing"]
    assert stale_scripts("make tset && git add x") == ["make tset"]
    assert stale_scripts("python tools/mutation.py --sample 3 --seed 0 --twice") == ["tools/mutation.py --twice"]


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
