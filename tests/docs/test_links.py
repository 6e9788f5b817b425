"""Links between documents lead to files and headings that exist; records of decisions have one form."""

import re
from pathlib import Path

import pytest
from tools.site.api import home_of, identifiers, pages
from tools.site.places import CODED, FENCE, TEXTS

ROOT = Path(__file__).parents[2]
TOP = [ROOT / name for name in TEXTS if (ROOT / name).exists()]
PAGES = [ROOT / "README.md", *TOP, *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = {"cli.md", *(f"{page.name}.md" for page in pages())}
"""Pages that are written when the site is built."""
RECORD = re.compile(r"### 2026-11-\d\d \S.*")


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to headings: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", CODED.sub("", page.read_text()))


def test_headings_are_named_as_on_github() -> None:
    names = anchors(ROOT / "docs" / "decisions.md")
    assert {"decisions", "2026-11-23-no-fab"} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if target.name in WRITTEN and target.parent.name in ("api", "reference"):
            continue
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


def test_links_into_the_reference_name_what_it_documents() -> None:
    laid_out = pages()
    modules = {module.name: module for page in laid_out for module in page.modules}
    known = {name for page in laid_out for name in identifiers(page) if home_of(name, modules) == name}
    n = 0
    for page in PAGES:
        for name in re.findall(r"\]\[(cgro\.[\w.]+)\]", page.read_text()):
            assert name in known, (page.name, name)
            n += 1
    assert n > 30
    assert "cgro.dynamics.theory.no_such_name" not in known
