"""What the independent referee refuted is said nowhere any more, and each mended fault has a test that would find it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "independent_check.md"
RECORDS = ("CHANGELOG.md", "decisions.md", "independent_check.md")
"""What was said, and that it was wrong, is their subject."""
REFUTED = (
    r"in this model the gap (belongs|is due) to the adversary",
    r"width buys (nothing|only)",
    r"nothing but memory",
    r"AutoAttack takes 1\.86 to 2\.52 times",
    r"between 49\.6 and 50\.2 ?% over N",
    r"[Ww]hom does it remember\? The images near",
    r"(training )?flattens locally, not globally",
    r"For p = 2 no ball is proved",
)
DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if path.name not in RECORDS)


def said(text: str) -> list[str]:
    """Which refuted sentences a text holds, whatever its line breaks."""
    words = " ".join(text.split())
    return [pattern for pattern in REFUTED if re.search(pattern, words)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_document_says_what_was_refuted(document: Path) -> None:
    assert said(document.read_text()) == []


def test_a_planted_sentence_is_found_across_lines() -> None:
    assert said("What does width\nbuy? With Adam width buys\nonly memory.") == [r"width buys (nothing|only)"]
    assert said("the robust test error lies between\n49.6 and 50.2% over N and d") != []


def named_on_the_page() -> list[str]:
    return sorted(set(re.findall(r"`(tests/[\w/]+\.py: \w+)`", PAGE.read_text())))


def test_every_fault_names_its_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| F[0-9dw] ", line)]
    assert len(rows) >= 20
    for row in rows:
        assert "`tests/" in row, row


@pytest.mark.parametrize("reference", named_on_the_page())
def test_the_tests_of_the_page_exist(reference: str) -> None:
    path, name = reference.split(": ")
    defined = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert name in defined
