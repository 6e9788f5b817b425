"""README: every command parses and reads only what an earlier one made, the quick ones run in order, the snippet runs."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cgro import cli
from cgro.commands._common import parse

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
YOURS = {"output.log", "path/to/folder", "weights.pt"}
"""Files of the reader's, in the examples of that section."""
SMALL_NETWORK = ["--n-train", "60", "--n-test", "40", "--epochs", "2", "--attack", "pgd2", "--eval-attack", "pgd2"]
TINY = {
    "data": [],
    "diagnose": ["--device", "cpu"],
    "dynamics": ["--seeds", "1", "--n-steps", "300", "--n-test", "200"],
    "evaluate": ["--n", "6"],
    "flatness": ["--n", "6", "--n-steps", "2"],
    "lint": ["--n", "20"],
    "lower-bound": ["--dims", "2:6", "--toy-points", "60"],
    "memorize": ["--n-train", "24", "--n-test", "20", "--clean-epochs", "2"],
    "memory": ["--n", "20", "--attack", "pgd2"],
    "report": ["--lint-n", "20"],
    "separation": ["--n-train", "60"],
    "train": SMALL_NETWORK,
}
"""Options that make a command quick; later ones win. quickstart and reproduce have tests of their own."""


def commands() -> list[list[str]]:
    """The words behind `cgro` of each command, in blocks of shell code and in the first cell of tables, in order."""
    found, language = [], None
    for line in TEXT.splitlines():
        if line.startswith("```"):
            language = line[3:] or None
        elif language == "sh" and line.startswith("cgro "):
            found.append(line)
        elif cell := re.match(r"\| `(cgro [^`]*)`", line):
            found.append(cell[1])
    return [shlex.split(line, comments=True)[1:] for line in found]


def options(words: list[str]) -> object:
    module = importlib.import_module(cli.ELSEWHERE.get(words[0], f"cgro.commands.{words[0].replace('-', '_')}"))
    return parse(words[0], "", module.Config, words[1:], getattr(module, "RECIPES", None))


def read_paths(words: list[str]) -> list[str]:
    """Runs that a command reads: words without an option before them, and that of --clean."""
    before = dict(zip(words[1:], words, strict=False))
    return [w for w in words[1:] if w.startswith("runs/") and before[w] != "--out"]


def test_all_commands_are_there() -> None:
    assert {words[0] for words in commands()} == set(cli.COMMANDS)
    assert [words[0] for words in commands()[:4]] == ["quickstart", "train", "diagnose", "report"]


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words)[:50])
def test_every_command_parses(words: list[str]) -> None:
    assert options(words) is not None


def test_every_run_is_made_before_it_is_read() -> None:
    made: set[str] = set()
    for words in commands():
        assert set(read_paths(words)) <= made, words
        made |= {words[i + 1] for i, word in enumerate(words) if word == "--out"}
    assert made == {"runs/mnist5k", "runs/standard", "runs/remedy", "report.html"}


def tiny(words: list[str]) -> list[str]:
    more = TINY[words[0]]
    if "none" in words:  # standard training stays standard
        more = [*more, "--attack", "none"]
    return [*words, *more]


def test_the_quick_commands_run_in_the_order_of_the_page(tmp_path: Path) -> None:
    quick = [tiny(words) for words in commands() if words[0] in TINY and not YOURS & set(words)]
    assert len(quick) == len({words[0] for words in quick}) + 2  # train occurs three times
    code = f"from cgro.cli import main\nprint([main(c) for c in {quick!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == str([0] * len(quick)), done.stderr
    assert (tmp_path / "report.html").exists()


def run_snippet(number: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the page's Python snippet of this number, from 0, in a folder of its own."""
    snippet = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[number]
    command = [sys.executable, "-W", "error::UserWarning", "-c", snippet]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_the_snippet_runs_as_written(tmp_path: Path) -> None:
    done = run_snippet(0, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    clean, robust = done.stdout.splitlines()
    assert re.fullmatch(r"ErrorRate\(wrong=\d+, n=200, bound='exact'\)", clean)
    assert re.fullmatch(r"ErrorRate\(wrong=\d+, n=200, bound='lower'\)", robust)


def test_the_monitor_runs_as_written(tmp_path: Path) -> None:
    done = run_snippet(1, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("robust", "cgro", "robust_overfitting", "underfitting", "too_little_evidence")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "runs" / "monitored" / "summary.json").exists()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]*)", TEXT):
        assert (ROOT / target).exists(), target
