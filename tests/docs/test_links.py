"""Links between documents lead to files and headings that exist; records of decisions have one form."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
RECORD = re.compile(r"### 2026-11-\d\d \S.*")


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to headings: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text())


def test_headings_are_named_as_on_github() -> None:
    names = anchors(ROOT / "docs" / "decisions.md")
    assert {"decisions", "2026-11-23-no-fab"} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_decision_has_a_date_and_says_what_and_why() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text()
    records = re.split(r"^(?=##+ )", text, flags=re.MULTILINE)[1:]
    for record in records:
        heading, _, body = record.partition("\n")
        if heading.startswith("## "):
            assert not body.strip(), heading
            continue
        assert RECORD.fullmatch(heading), heading
        starts = re.findall(r"^- (\w+): ", body, re.MULTILINE)
        assert starts, heading
        assert set(starts) <= {"Decision", "Why", "Rejected"}, heading
