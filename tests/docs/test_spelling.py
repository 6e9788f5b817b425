"""No misspelled word and no British spelling in what people read: documents, docstrings, comments and messages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ["README.md", "SECURITY.md", "CHANGELOG.md", "docs", "examples", "src", "tools", "mkdocs.yml"]
SKIPPED = "*.svg,*.png,*.gif,*.json,*.js,*.html,*.css,*/completion/*"
NO_WORDS = ["nd", "te", "caf", "restor", "coo", "grey"]
"""N D without a space, a test error in a log, the start of a text in a refusal, a sparse format, a color's name."""
KNOWN = ["labelling", "neighbours", "modelled", "judgement", "defence", "accuarcy"]
"""Spellings that stand in stored results, in records, and in the logs of others, from where they are read."""


def misspelled(*places: str) -> list[str]:
    """What codespell finds, word ==> correction."""
    pytest.importorskip("codespell_lib", reason="codespell is in the extra dev")
    command = [sys.executable, "-m", "codespell_lib", "--builtin", "clear,rare,en-GB_to_en-US", "--skip", SKIPPED]
    done = subprocess.run(
        [*command, "-L", ",".join([*NO_WORDS, *KNOWN]), *places], capture_output=True, text=True, cwd=ROOT
    )
    # N D without a space, and a state of Slurm.
    return [line for line in done.stdout.splitlines() if not re.search(r"\b(\d?ND|CANCELLED) ==>", line)]


def test_words_are_spelled_as_in_american_english() -> None:
    assert misspelled(*PLACES) == []


def test_a_planted_word_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("The colour is recieved in N D dimensions: 3ND.\n")
    found = misspelled(str(page))
    assert [line.partition(": ")[2] for line in found] == ["colour ==> color", "recieved ==> received"]
