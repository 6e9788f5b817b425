"""The interactive pages in headless Chromium: keyboard, words, links, widths, print; no request leaves them."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.accessibility import violations
from tests.docs.interactive import FOLDER, chromium

from cgro.commands import dynamics
from cgro.commands import memorize as memorize_command
from cgro.commands._parser import parse

SMALL = "#preset=theorem&n-train=4&n-filters=4&n-steps=200"
PAGES = {"dynamics.html": SMALL, "memorizer.html": ""}
FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return [e.id || e.name || e.dataset.preset || e.getAttribute('aria-label') || e.textContent.trim(), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


class Opened:
    """A page, what it said, and what it asked for."""

    def __init__(self, browser: Any, name: str, address: str = "", **options: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto((FOLDER / name).as_uri() + address)

    def until(self, expression: str) -> None:
        """Wait for it to hold. Not by playwright's own wait, which the page's policy forbids as it calls eval."""
        for _ in range(3000):
            if self.tab.evaluate(expression):
                return
            self.tab.wait_for_timeout(20)
        raise AssertionError(expression)

    def done(self) -> None:
        """Wait for the end of the run."""
        self.until("cgro.page.run.state !== 'running'")

    def close(self) -> None:
        """No word on the console, no request but for the page's own files."""
        self.context.close()
        assert self.said == []
        for url in self.asked:
            assert url.startswith((FOLDER.as_uri(), "data:", "blob:")), url


@pytest.mark.parametrize("name", PAGES)
def test_every_control_is_reached_by_tab_and_its_focus_is_seen(browser: Any, name: str) -> None:
    page = Opened(browser, name, PAGES[name])
    tab = page.tab
    if name == "dynamics.html":
        page.done()
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    wanted = tab.evaluate("""() => {
      const found = new Set();
      for (const e of document.querySelectorAll('button, input, summary, a[href], [tabindex="0"]')) {
        if (!e.disabled) found.add(e.id || e.name || e.dataset.preset || e.getAttribute('aria-label') || e.textContent.trim());
      }
      return [...found];
    }""")
    reached = {}
    for _ in range(2 * len(wanted) + 10):
        tab.keyboard.press("Tab")
        what, visible = tab.evaluate(FOCUSED)
        reached[what] = visible
    assert set(wanted) <= set(reached), set(wanted) - set(reached)
    assert all(reached[what] for what in wanted), [what for what in wanted if not reached[what]]
    page.close()


def test_sliders_buttons_and_radios_work_by_keyboard(browser: Any) -> None:
    page = Opened(browser, "dynamics.html", SMALL)
    tab = page.tab
    command = tab.locator("#command")
    tab.locator("#radiusRatio").focus()
    tab.keyboard.press("Home")
    assert "--radius-ratio 0" in command.text_content()
    tab.keyboard.press("ArrowRight")
    assert "--radius-ratio 0.005" in command.text_content()
    tab.locator("#nTrain").focus()
    tab.keyboard.press("ArrowRight")
    assert "--n-train 5 " in command.text_content()
    assert tab.locator("#nTrain").get_attribute("aria-valuetext") == "5 examples"
    tab.locator("input[name=noise]").first.focus()
    tab.keyboard.press("ArrowDown")
    assert "--remedy fresh=0.5" in command.text_content()
    words = shlex.split(command.text_content())
    config = parse("dynamics", dynamics.__doc__ or "", dynamics.Config, words[2:])
    assert (config.radius_ratio, config.n_train, config.remedy) == (0.005, 5, "fresh=0.5")
    tab.locator("input[name=adversary][value=restricted]").focus()
    tab.keyboard.press("ArrowDown")
    assert "--adversary l2" in command.text_content()
    assert "fresh" not in command.text_content()  # the remedies of Python have the adversary along w* only
    assert tab.locator("input[name=noise][value='1']").is_disabled()
    page.done()
    tab.locator("[data-preset=control]").focus()
    tab.keyboard.press("Enter")
    assert command.text_content() == "cgro dynamics --preset control"
    assert tab.locator("[data-preset=control]").get_attribute("aria-pressed") == "true"
    tab.locator("#run").focus()
    tab.keyboard.press("Space")
    assert tab.locator("#run").text_content() == "Run"
    step = tab.evaluate("cgro.page.run.step")
    tab.wait_for_timeout(100)
    assert tab.evaluate("cgro.page.run.step") == step
    page.close()


def test_a_run_says_its_stages_and_fills_its_tables(browser: Any) -> None:
    page = Opened(browser, "dynamics.html", "#preset=theorem&n-train=3&n-filters=6&n-steps=20000")
    tab = page.tab
    heard = tab.evaluate_handle("""() => {
      const heard = [];
      new MutationObserver(() => heard.push(document.getElementById('live').textContent))
        .observe(document.getElementById('live'), {childList: true});
      return heard;
    }""")
    tab.locator("#readings-part summary").click()
    page.done()
    tab.wait_for_timeout(50)
    texts = heard.json_value()
    assert len(texts) <= 5  # events, not frames
    assert any(text.startswith("Stage II has ended") for text in texts)
    assert texts[-1].startswith("The run has ended after 20,000 steps. Robust accuracy: 100% on training examples")
    stages = tab.locator("#stages tr")
    assert stages.count() == 3
    assert "signal growth peaks at step" in stages.first.text_content()
    last = tab.locator("#readings tr").last.locator("th, td").all_text_contents()
    reading = tab.evaluate("(r => [r.step, r.signalMargin])(cgro.page.run.readings.at(-1))")
    assert int(last[0]) == reading[0] == 20_000
    assert float(last[1].replace(",", "")) == pytest.approx(reading[1], abs=0.06)
    assert tab.locator("#learned").get_attribute("aria-label").startswith("learned, at step 20000: signal ")
    page.close()


def test_a_number_out_of_range_is_refused_in_a_sentence(browser: Any) -> None:
    page = Opened(browser, "dynamics.html", SMALL)
    tab = page.tab
    before = tab.locator("#command").text_content()
    tab.locator("details").first.evaluate("part => { part.open = true; }")
    tab.locator("#nFilters").fill("1000")
    tab.keyboard.press("Tab")
    said = tab.locator("#refused").text_content()
    assert said == 'Refused: filters, m expects a whole number from 2 to 96, got "1000".'
    assert tab.locator("#command").text_content() == before
    tab.locator("#nFilters").fill("6")
    tab.keyboard.press("Tab")
    assert tab.locator("#refused").text_content() == ""
    assert "--n-filters 6" in tab.locator("#command").text_content()
    page.close()


def test_a_run_that_diverges_says_so(browser: Any) -> None:
    page = Opened(browser, "dynamics.html", "#n-train=5&n-filters=6&n-steps=300&lr=0.9")
    page.done()
    page.until("document.getElementById('live').textContent.startsWith('The run has diverged')")
    assert page.tab.locator("#now-stage").text_content() == "diverged"
    page.close()


def test_without_motion_a_run_is_drawn_at_its_end(browser: Any) -> None:
    page = Opened(browser, "dynamics.html", SMALL, reduced_motion="reduce")
    page.done()
    page.until("document.getElementById('now-step').textContent === '200'")
    page.close()


def test_points_are_placed_and_removed_by_keyboard(browser: Any) -> None:
    page = Opened(browser, "memorizer.html")
    tab = page.tab
    tab.locator("#clear").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#refused").text_content() == "Place at least one point of either class."
    tab.locator("#plane").focus()
    tab.keyboard.press("Enter")
    for _ in range(4):
        tab.keyboard.press("Shift+ArrowRight")
    tab.keyboard.press("ArrowUp")
    assert tab.locator("#live").text_content().startswith("(0.7, 0.51): f_clean = ")
    tab.locator("input[name=tool]").first.focus()
    tab.keyboard.press("ArrowDown")
    tab.locator("#plane").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("cgro.page.memory.points") == [
        {"x": 0.5, "y": 0.5, "label": 1},
        {"x": 0.7, "y": 0.51, "label": -1},
    ]
    assert tab.locator("#refused").text_content() == ""
    assert "y F ≥ 1 on all 2 training balls" in tab.locator("#live").text_content()
    tab.locator("#radius").focus()
    for _ in range(10):
        tab.keyboard.press("ArrowRight")
    refused = tab.locator("#refused").text_content()
    assert refused.startswith("Refused: the balls of points 1 and 2, which have different labels, overlap.")
    assert "below half of that, 0.1000" in refused
    assert tab.locator("#verdict").text_content() == "There is no memorizer for these balls."
    tab.locator("#plane").focus()
    tab.keyboard.press("Delete")
    assert len(tab.evaluate("cgro.page.memory.points")) == 1
    page.close()


def test_points_are_placed_dragged_and_removed_by_pointer(browser: Any) -> None:
    page = Opened(browser, "memorizer.html", "#points=", viewport={"width": 900, "height": 1400})
    tab = page.tab
    box = tab.locator("#canvas").bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    tab.mouse.click(*at(0.3, 0.5))
    (point,) = tab.evaluate("cgro.page.memory.points")
    assert (point["x"], point["y"], point["label"]) == (pytest.approx(0.3, abs=0.02), pytest.approx(0.5, abs=0.02), 1)
    tab.mouse.move(*at(0.3, 0.5))
    tab.mouse.down()
    tab.mouse.move(*at(0.6, 0.2))
    tab.mouse.up()
    (point,) = tab.evaluate("cgro.page.memory.points")
    assert (point["x"], point["y"]) == (pytest.approx(0.6, abs=0.02), pytest.approx(0.82, abs=0.03))
    tab.locator("input[name=tool][value='0']").check()
    box = tab.locator("#canvas").bounding_box()
    tab.mouse.click(*at(0.6, 0.2))
    assert tab.evaluate("cgro.page.memory.points") == []
    page.close()


def test_a_wide_ramp_loses_the_certificate_and_says_it(browser: Any) -> None:
    page = Opened(browser, "memorizer.html", "#p=2&radius=0.05&ramp=0.4")
    said = page.tab.locator("#verdict").text_content()
    assert said.startswith("NOT certified on ")
    page.tab.locator("#auto").check()
    assert page.tab.locator("#verdict").text_content().startswith("Certified: y F ≥ 1 on all 12")
    page.close()


def test_a_copied_link_opens_the_same_state(browser: Any) -> None:
    page = Opened(browser, "memorizer.html", permissions=["clipboard-read", "clipboard-write"])
    tab = page.tab
    tab.locator("input[name=p][value='1']").check()
    tab.locator("#offset").focus()
    tab.keyboard.press("ArrowRight")
    tab.locator("#copy").click()
    page.until("document.getElementById('live').textContent.startsWith('The link')")
    link = tab.evaluate("navigator.clipboard.readText()")
    state = tab.evaluate("JSON.stringify(cgro.page.memory)")
    again = Opened(browser, "memorizer.html", "#" + link.partition("#")[2])
    assert again.tab.evaluate("JSON.stringify(cgro.page.memory)") == state
    again.close()
    page.close()


@pytest.mark.parametrize(
    "address", ["#points=9,9,+;0.1,0.2;a,b,-&radius=-1&ramp=x", "#p=7&shown=<b>&line=,", "#points=;;;,,"]
)
def test_an_address_of_others_breaks_nothing(browser: Any, address: str) -> None:
    page = Opened(browser, "memorizer.html", address)
    assert page.tab.locator("#numbers tr").count() >= 1
    page.close()


def test_the_command_of_the_memorizer_is_read_by_the_parser(browser: Any) -> None:
    page = Opened(browser, "memorizer.html", "#p=2&radius=0.075&ramp=0.02")
    words = shlex.split(page.tab.locator("#command").text_content())
    config = parse("memorize", memorize_command.__doc__ or "", memorize_command.Config, words[2:])
    assert (config.data, config.p, config.radius, config.ramp) == ("points.npz", "2", "0.075", 0.02)
    with page.tab.expect_download() as found:
        page.tab.locator("#save").click()
    assert found.value.suggested_filename == "points.npz"
    page.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_nothing_is_wider_than_the_window(browser: Any, name: str, width: int) -> None:
    page = Opened(browser, name, PAGES[name], viewport={"width": width, "height": 844})
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_print(browser: Any, name: str, tmp_path: Path) -> None:
    """Tables are open, settings are gone, the paper is white although the screen is dark."""
    page = Opened(browser, name, PAGES[name], color_scheme="dark")
    tab = page.tab
    tab.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 20_000
    assert all(tab.evaluate("[...document.querySelectorAll('details')].map(part => part.open)"))
    tab.emulate_media(media="print")
    assert not tab.locator(".controls").is_visible()
    assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    page.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, name: str, scheme: str) -> None:
    page = Opened(browser, name, PAGES[name], color_scheme=scheme, bypass_csp=True)
    tab = page.tab
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    if name == "dynamics.html":
        page.done()
    assert violations(tab) == []
    page.close()
