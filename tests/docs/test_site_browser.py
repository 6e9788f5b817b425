"""The built site in a browser, from files: it asks for nothing elsewhere, is searched, fits a phone, and is accessible.

`make docs` builds it; without it, or without Chromium, these are skipped.
"""

import shutil
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.docs.accessibility import violations
from tools.site.places import ROOT

SITE = ROOT / "site"
PAGES = ["index.html", "tutorials/01_phenomenon.html", "theory/dynamics.html", "theory/representation.html",
         "dynamics.html", "reproduction.html", "api/dynamics.html", "glossary.html", "map.html", "what_now.html"]  # fmt: skip
WIDTHS = (390, 1280, 2560)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium")
    if not (SITE / "index.html").exists():
        pytest.skip("no site: make docs")
    with api.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_fits(browser: object, page: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    tab = browser.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto((SITE / page).as_uri())
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    assert said == []
    assert tab.locator("h1").count() == 1
    assert "\\" not in "".join(tab.locator("math").all_text_contents())
    tab.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", ["map.html", "glossary.html", "remedies.html"])
def test_no_table_of_words_is_wider_than_its_column(browser: object, page: str, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto((SITE / page).as_uri())
    found = tab.evaluate(
        "[...document.querySelectorAll('table[data-stacked]')].map(t => [t.closest('.md-typeset__scrollwrap'), t.rows[1].cells[1]])"
        ".map(([wrap, cell]) => [wrap.scrollWidth - wrap.clientWidth, getComputedStyle(cell, '::before').content !== 'none'])"
    )
    assert found
    assert all(beyond <= 0 and labeled == (width == 390) for beyond, labeled in found)
    tab.close()


def test_a_table_of_numbers_scrolls_under_the_names_of_its_rows(browser: object) -> None:
    tab = browser.new_page(viewport={"width": 390, "height": 900})
    tab.goto((SITE / "full_ball.html").as_uri())
    table = tab.locator(".md-typeset table").first
    first, second = table.locator("tbody tr").first.locator("td").all()[:2]
    before = first.bounding_box()["x"], second.bounding_box()["x"]
    tab.locator(".md-typeset__scrollwrap").first.evaluate("wrap => wrap.scrollBy(60, 0)")
    assert second.bounding_box()["x"] == before[1] - 60
    assert 0 <= first.bounding_box()["x"] <= before[0]
    tab.close()


@pytest.mark.parametrize("page", ["dynamics.html", "memorizer.html"])
def test_an_interactive_page_leads_back_to_the_site(browser: object, page: str) -> None:
    said: list[str] = []
    tab = browser.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.goto((SITE / "interactive" / page).as_uri())
    link = tab.locator("nav a#site")
    link.wait_for()  # until it is seen
    assert said == []
    link.click()
    assert tab.url == (SITE / "index.html").as_uri()
    assert tab.locator("h1").text_content().startswith("cgro")
    tab.close()


@pytest.mark.parametrize("page", ["dynamics.html", "memorizer.html"])
def test_an_interactive_page_copied_out_of_the_site_has_no_dead_link(
    browser: object, page: str, tmp_path: Path
) -> None:
    shutil.copytree(SITE / "interactive", tmp_path / "interactive")
    tab = browser.new_page()
    with tab.expect_event("requestfailed"):
        tab.goto((tmp_path / "interactive" / page).as_uri())
    tab.wait_for_timeout(100)
    assert tab.locator("nav a#site").is_hidden()
    shown = [link for link in tab.locator("a[href]").all() if link.is_visible()]
    assert shown
    for link in shown:
        target = link.get_attribute("href").partition("#")[0]
        assert (tmp_path / "interactive" / target).exists(), target
    tab.close()


def test_equations_are_drawn(browser: object) -> None:
    tab = browser.new_page()
    tab.goto((SITE / "theory" / "dynamics.html").as_uri())
    assert tab.locator("math").count() > 60
    fraction = tab.locator("math mfrac").first
    heights = [child.bounding_box()["height"] for child in fraction.locator("> *").all()]
    assert fraction.bounding_box()["height"] > max(heights)  # one above the other
    tab.close()


def test_the_search_answers_from_files(browser: object) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto((SITE / "index.html").as_uri())
    tab.locator(".md-search__input").fill("sample_threshold")
    tab.locator(".md-search-result__link").first.wait_for(timeout=20_000)
    links = [link.get_attribute("href") for link in tab.locator(".md-search-result__link").all()]
    assert any("dynamics" in link or "threshold" in link for link in links)
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_violation(browser: object, page: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    tab = context.new_page()
    tab.goto((SITE / page).as_uri())
    assert violations(tab) == []
    context.close()


def test_axe_sees_a_planted_fault(browser: object) -> None:
    tab = browser.new_page()
    tab.goto((SITE / "index.html").as_uri())
    tab.evaluate("document.querySelector('img').removeAttribute('alt')")
    assert [line.split(",")[0] for line in violations(tab)] == ["390 pixels: image-alt", "1280 pixels: image-alt"]
    tab.close()


@pytest.mark.parametrize("width", [1280, 2560])
@pytest.mark.parametrize(
    "page", ["flatness.html", "full_ball.html", "imagenet.html", "reproduction.html", "theory/dynamics.html"]
)
def test_tables_and_equations_fit_a_desktop(browser: object, page: str, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto((SITE / page).as_uri())
    parts = "[...document.querySelectorAll('.md-typeset__scrollwrap, div.equation')]"
    assert (
        tab.evaluate(f"{parts}.filter(part => part.scrollWidth > part.clientWidth + 1).map(part => part.textContent)")
        == []
    )
    tab.close()


@pytest.mark.parametrize("page", sorted(file.stem for file in (ROOT / "docs" / "tutorials").glob("0*.md")))
def test_code_of_a_tutorial_is_not_wider_than_its_column(browser: object, page: str) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto((SITE / "tutorials" / f"{page}.html").as_uri())
    blocks = (
        "[...document.querySelectorAll('.md-content pre > code')].filter(code => code.querySelector('span[class]'))"
    )
    assert tab.evaluate(f"{blocks}.length") > 2
    assert (
        tab.evaluate(f"{blocks}.filter(code => code.scrollWidth > code.clientWidth + 1).map(code => code.textContent)")
        == []
    )
    tab.close()


class Below(SimpleHTTPRequestHandler):
    """The site below a path of a server, which answers with its page for missing ones elsewhere."""

    START = "/somewhere/cgro/"

    def do_GET(self) -> None:  # the name is the server's
        file = SITE / self.path.removeprefix(self.START)
        found = self.path.startswith(self.START) and file.is_file()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", self.guess_type(str(file)) if found else "text/html")
        self.end_headers()
        self.wfile.write((file if found else SITE / "404.html").read_bytes())

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("missing", ["missing.html", "theory/missing.html", "a/b/c/missing"])
def test_a_missing_page_leads_into_the_site_at_any_depth(browser: object, missing: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Below) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        start = f"http://127.0.0.1:{server.server_port}{Below.START}"
        tab = browser.new_page()
        tab.goto(start + missing)
        tab.locator("ul").wait_for()  # until it is seen
        assert tab.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "640px"
        links = [link.get_attribute("href") for link in tab.locator("ul a").all()]
        assert links[0].endswith(f"{Below.START}index.html")
        for link in links:
            assert (SITE / link.removeprefix(Below.START)).exists(), link
        tab.locator("ul a").first.click()
        assert tab.locator("h1").text_content().startswith("cgro")
        tab.close()
        server.shutdown()


def test_the_page_for_a_missing_one_reads_as_a_file(browser: object) -> None:
    tab = browser.new_page()
    tab.goto((SITE / "404.html").as_uri())
    tab.locator("ul").wait_for()
    assert violations(tab) == []
    tab.close()
