"""The site's parts that need no mkdocs: the reference covers every public name, the navigation every page."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from tools.site import api, blocks, places, prose, tables

import cgro

ROOT = places.ROOT
INTEGRATIONS = {"cgro.integrations.lightning", "cgro.integrations.transformers", "cgro.integrations.keras"}
"""Modules that need the packages of others."""
STAND_INS = {"Callback", "TrainerCallback"}
"""Classes that stand there for those of others, where these are not installed."""


def public_modules() -> Iterator[ModuleType]:
    """All that can be imported here, found by Python and not by the reference's own reading of the source."""
    for found in pkgutil.walk_packages(cgro.__path__, "cgro."):
        parts = found.name.split(".")
        if any(part.startswith("_") for part in parts) or parts[1] in api.LEFT_OUT:
            continue
        try:
            yield importlib.import_module(found.name)
        except ModuleNotFoundError:
            assert found.name in INTEGRATIONS, found.name


def public_names(module: ModuleType) -> set[str]:
    """What it exports, and the functions and classes that it defines."""
    names = {name for name in getattr(module, "__all__", ()) if not name.startswith("__")}
    for name, value in vars(module).items():
        is_own = (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module.__name__
        if is_own and value.__qualname__ == name and not name.startswith("_") and name not in STAND_INS:
            names.add(name)
    return {f"{module.__name__}.{name}" for name in names}


def documented() -> set[str]:
    return {name for page in api.pages() for name in api.identifiers(page)}


def test_every_public_name_is_in_the_reference() -> None:
    expected = {name for module in public_modules() for name in public_names(module)}
    assert len(expected) > 1000
    assert sorted(expected - documented()) == []


def test_every_name_has_one_place() -> None:
    """Each `:::` once, and each name that a package exports leads to one of them."""
    text = "\n".join(api.reference().values())
    places_of = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    assert len(places_of) == len(set(places_of))
    assert set(re.findall(r"\]\[(cgro\.\S+?)\]", text)) <= set(places_of)


def test_a_name_without_a_page_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "cgro" / "room"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""A room."""\nfrom cgro.room.inner import shown\n__all__ = ["shown"]\n')
    (package / "inner.py").write_text('"""Inner."""\ndef shown(): ...\ndef _hidden(): ...\nLIMIT = 3\n"""A limit."""\n')
    (page,) = api.pages(tmp_path)
    assert api.identifiers(page) == ["cgro.room.shown", "cgro.room.inner.shown", "cgro.room.inner.LIMIT"]
    modules = {module.name: module for module in page.modules}
    assert api.home_of("cgro.room.shown", modules) == "cgro.room.inner.shown"


def navigation() -> list:
    text = (ROOT / "mkdocs.yml").read_text()
    return yaml.safe_load(re.sub(r"!!python/\S+ \{.*\}", "null", text))["nav"]


def pages_in(entries: list) -> list[str]:
    found: list[str] = []
    for entry in entries:
        (value,) = entry.values()
        found += pages_in(value) if isinstance(value, list) else [value]
    return found


def test_every_page_of_docs_is_in_the_navigation() -> None:
    reference = [(api.title_of(name), f"api/{name}.md") for name in api.reference()]
    named = pages_in(places.completed(navigation(), reference))
    assert len(named) == len(set(named))
    for file in (ROOT / "docs").rglob("*.md"):
        assert str(file.relative_to(ROOT / "docs")) in named, file
    assert {page for _, page in reference} <= set(named)


def test_a_page_that_nobody_named_is_added_and_one_that_is_not_there_left_out(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("index", "new"):
        (tmp_path / "docs" / f"{name}.md").write_text(f"# Page {name}\n")
    nav = [{"Start": "index.md"}, {"How-to": [{"Gone": "gone.md"}, {"Play": "interactive/dynamics.html"}]}]
    assert places.completed(nav, [], tmp_path) == [{"Start": "index.md"}]
    nav = [{"Start": "index.md"}, {"How-to": [{"Start again": "index.md"}]}]
    assert {"Page new": "new.md"} in places.completed(nav, [], tmp_path)[1]["How-to"]


@pytest.mark.parametrize(("docstring", "expected"), [
    ("Sum of a_r * w* and w*.", r"Sum of a\_r \* w\* and w\*."),
    ("A <w_r, x>.\n\nExample:\n    >>> 1 * 1\n    1", "A &lt;w\\_r, x>.\n\nExamples:\n    >>> 1 * 1\n    1"),
    ("The step\n    x_1 = a * b\nand more.", "The step\n\n```text\nx_1 = a * b\n```\n\nand more."),
    ("One.\n\nArgs:\n    x: (B, *S) inputs.", "One.\n\nArgs:\n    x: (B, \\*S) inputs."),
])  # fmt: skip
def test_docstrings_are_shown_as_they_are(docstring: str, expected: str) -> None:
    assert prose.markdown(docstring) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("y alpha w*, along w*, by", r"y alpha w\*, along w\*, by"),
    ("phi(<w_r, X[j]>)", "phi(&lt;w_r, X[j]>)"),
    ("*local* and **M** and `w*` and $w^*$", "*local* and **M** and `w*` and $w^*$"),
    ("$$w^*, w^*\n<a_b,$$", "$$w^*, w^*\n<a_b,$$"),
    ("Some text\n- one\n- two", "Some text\n\n- one\n- two"),
    ("```text\na\n- one\n```", "```text\na\n- one\n```"),
])  # fmt: skip
def test_pages_are_shown_as_on_github(text: str, expected: str) -> None:
    assert prose.as_on_github(text) == expected


@pytest.mark.parametrize(
    "latex", [r"\overline{(1-\lambda) p + \lambda r}", r"\underline{ab}", r"\frac{\overline{p q}}{2}"]
)
def test_a_bar_over_several_letters_is_refused(latex: str) -> None:
    """Chromium draws it over one of them, which is another equation."""
    pytest.importorskip("latex2mathml")
    from tools.site.mathml import mathml_of  # needs latex2mathml

    with pytest.raises(ValueError, match="written out"):
        mathml_of(latex, block=True)


@pytest.mark.parametrize(
    "latex", [r"\overline{p}", r"\overline{p_k}", r"\overline{V}_i", r"\bar x", r"\frac1N \sum_k p_k"]
)
def test_a_bar_over_one_letter_is_drawn(latex: str) -> None:
    pytest.importorskip("latex2mathml")
    from tools.site.mathml import mathml_of  # needs latex2mathml

    assert mathml_of(latex, block=False).startswith("<math")


def test_links_are_led_to_copies_in_the_site() -> None:
    assert (
        places.led("[a](../../examples/keras_fit.py)", "tutorials/03.md")
        == "[a](../project/examples/keras_fit.py.code.md)"
    )
    assert places.led("[a](docs/map.md#x)", "project/README.md") == "[a](../map.md#x)"
    assert places.led("`[a](../x.py)`", "map.md") == "`[a](../x.py)`"
    assert places.linked("[a](../SECURITY.md) [b](map.md)", "docs/dynamics.md") == ["SECURITY.md"]


def table(*rows: tuple[str, ...]) -> str:
    """As Markdown writes it."""
    head, *body = rows
    lines = ["<table>", "<thead>", "<tr>", *[f"<th>{cell}</th>" for cell in head], "</tr>", "</thead>", "<tbody>"]
    for row in body:
        lines += ["<tr>", *[f"<td>{cell}</td>" for cell in row], "</tr>"]
    return "\n".join([*lines, "</tbody>", "</table>"])


@pytest.mark.parametrize(("cell", "expected"), [
    ("<code>definitions/metrics.py: clean_error</code>", "<code>definitions/<wbr>metrics.py: clean_error</code>"),
    ("<code>test_the_gap_is_that</code>", "<code>test_<wbr>the_<wbr>gap_<wbr>is_<wbr>that</code>"),
    ("clean_overfitting", "clean_<wbr>overfitting"),
    ("<code>cgro.definitions.attacks</code>", "<code>cgro.<wbr>definitions.<wbr>attacks</code>"),
    ("<code>n_steps</code>, <code>--radius-ratio</code>", "<code>n_steps</code>, <code>--radius-ratio</code>"),
    ('<a href="a/long/path_of_a_page.html">page</a>', '<a href="a/long/path_of_a_page.html">page</a>'),
    ("two ordinary words", "two ordinary words"),
])  # fmt: skip
def test_long_names_in_tables_break_where_their_parts_end(cell: str, expected: str) -> None:
    assert tables.fitted(table(("a", "b"), ("x", cell))) == table(("a", "b"), ("x", expected))


@pytest.mark.parametrize(("text", "expected"), [
    ("<p>in <code>checkpoints/best_validation.pt</code>.</p>", "<p>in <code>checkpoints/<wbr>best_<wbr>validation.pt</code>.</p>"),
    ("<li><code>test_search_is_pure</code></li>", "<li><code>test_<wbr>search_<wbr>is_<wbr>pure</code></li>"),
    ("<h2><code>cgro.definitions</code></h2>", "<h2><code>cgro.<wbr>definitions</code></h2>"),
    ("<p>clean_overfitting_of_words</p>", "<p>clean_overfitting_of_words</p>"),
    ("<pre><span></span><code>checkpoints/best_validation.pt\n</code></pre>", "<pre><span></span><code>checkpoints/best_validation.pt\n</code></pre>"),
    ('<code class="doc">checkpoints/best_validation.pt</code>', '<code class="doc">checkpoints/best_validation.pt</code>'),
])  # fmt: skip
def test_names_in_code_break_and_blocks_of_code_do_not(text: str, expected: str) -> None:
    assert tables.fitted(text) == expected


def test_a_row_of_words_names_the_column_of_each_cell() -> None:
    sentence = "a sentence of words that no column of numbers would hold"
    found = tables.fitted(table(("symbol", "what &amp; <em>why</em>", ""), ("x", sentence, "1")))
    assert '<table role="table" data-stacked>' in found
    assert f'<td role="cell" data-label="what &amp; why">{sentence}</td>' in found
    assert '<td role="cell">x</td>' in found  # the first one names its row
    assert '<td role="cell">1</td>' in found  # a column without a heading
    assert found.count('role="columnheader"') == 3


@pytest.mark.parametrize("rows", [
    [("0.978", "12.1 (0.3)"), ("1.2", "3.4 (0.1)")],
    [("unfitted", "1"), ("memorizes", "2"), ("a single long remark beside many rows of numbers", "3")],
    [],
])  # fmt: skip
def test_a_table_of_numbers_stays_one(rows: list[tuple[str, ...]]) -> None:
    numbers = table(("setting", "error"), *rows)
    assert tables.fitted(numbers) == numbers


@pytest.mark.parametrize(("n_columns", "wide"), [(2, False), (7, False), (8, True), (12, True)])
def test_a_table_of_many_numbers_is_set_narrower(n_columns: int, wide: bool) -> None:
    found = tables.fitted(table(("setting",) * n_columns, ("0.978",) * n_columns))
    assert ("<table data-wide>" in found) == wide


def test_a_table_of_many_columns_of_words_stays_one_of_words() -> None:
    sentence = "a sentence of words that no column of numbers would hold"
    found = tables.fitted(table(("a",) * 9, (sentence,) * 9))
    assert "data-stacked" in found
    assert "data-wide" not in found


def printed(*lines: str) -> str:
    """As Markdown writes a block of text."""
    text = "\n".join(lines)
    return f'<div class="highlight"><pre><span></span><code>{text}\n</code></pre></div>'


@pytest.mark.parametrize(("lines", "breaks"), [
    (("word " * 30,), True),
    (("clean_error/train  0.0%", "cgro - " + "word " * 30), True),
    (("word " * 21 + "&lt;3&gt; " * 3,), True),
    (("-" * 110,), False),
    (("&lt;" * 60,), False),
    (("1.0  2.0",), False),
])  # fmt: skip
def test_only_sentences_among_what_programs_print_break(lines: tuple[str, ...], breaks: bool) -> None:
    text = printed(*lines)
    expected = text.replace("highlight", "highlight sentences") if breaks else text
    assert blocks.broken(text) == expected


def test_code_does_not_break() -> None:
    code = printed('<span class="n">x</span> = 1  # ' + "word " * 30)
    assert blocks.broken(code) == code


def test_the_page_for_a_missing_one_needs_nothing_beside_it() -> None:
    page = (ROOT / "tools" / "site" / "not_found.html").read_text()
    assert re.findall(r"<(?:link|script|img)[^>]+(?:href|src)=", page) == []
    links = re.findall(r'href="([^"]+)"', page)
    assert links
    for link in links:
        place = link.removesuffix(".html") + ".md"
        assert place == places.COMMANDS or (ROOT / "docs" / place).exists(), link


def test_cells_of_tutorials_fit_the_column_of_their_page() -> None:
    """84 characters: ruff's line length there holds code; this holds what it cannot break."""
    for file in sorted((ROOT / "docs" / "tutorials").glob("*.md")):
        for language, code in re.findall(r"^```(python|sh)\n(.*?)^```$", file.read_text(), re.DOTALL | re.MULTILINE):
            assert [line for line in code.splitlines() if len(line) > 84] == [], (file.name, language)
