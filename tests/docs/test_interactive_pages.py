"""The interactive pages in headless Chromium: keyboard, words, links, widths, print; no request leaves them."""

import re
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
    assert tab.locator("#live").text_content().startswith("(0.7, 0.51): fclean = ")  # f with a subscript
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
    ("address", "named"),
    [
        ("#points=9,9,%2B;0.1,0.2;a,b,-&radius=-1&ramp=x", ["point", "point", "point", "radius=-1", "ramp=x"]),
        ("#points=0.2,0.2,%2B;0.7,0.7,x&radius=0.9&line=10,5", ["point", "radius=0.9", "line=10,5"]),
        ("#p=7&shown=<b>&line=,", ["p=7", "shown=<b>", "line=,"]),
        ("#points=;;;,,", ["point"] * 4),
        ("#points=" + ";".join(["0.1,0.1,-"] * 70), ["points beyond the first 60"]),
        ("#color=red", ["color (unknown)"]),
        ("#p=2&radius=0.4&line=30,0.9&ramp=0.8&points=", []),
    ],
)
def test_an_address_of_others_breaks_nothing_and_what_was_not_taken_is_said(
    browser: Any, address: str, named: list[str]
) -> None:
    page = Opened(browser, "memorizer.html", address)
    assert page.tab.locator("#numbers tr").count() >= 1
    said = page.tab.locator("#live").text_content()
    assert said.startswith("Not taken from the address: ") == bool(named)
    found = said.removeprefix("Not taken from the address: ").split("; ")
    for part, beginning in zip(found if named else [], named, strict=True):
        assert part.startswith(beginning)
    page.close()


def test_an_address_out_of_range_is_said_and_goes_with_the_next_choice(browser: Any) -> None:
    page = Opened(browser, "dynamics.html", "#n-train=5000&n-filters=4&n-steps=200")
    said = page.tab.locator("#refused")
    wanted = "Not taken from the address: n-train=5000 (expects a whole number from 1 to 1200)."
    assert said.text_content() == wanted
    assert "--n-train" not in page.tab.locator("#command").text_content()
    page.tab.locator("[data-preset=control]").click()
    assert said.text_content() == ""
    page.close()


@pytest.mark.parametrize(
    ("name", "address", "slider", "value"),
    [
        ("dynamics.html", "#n-filters=4&n-train=4&n-steps=100&radius-ratio=2.9", "radiusRatio", 2.9),
        ("memorizer.html", "#radius=0.4", "radius", 0.4),
        ("memorizer.html", "#line=30,0.9", "offset", 0.9),
        ("memorizer.html", "#ramp=0.8", "ramp", 0.8),
    ],
)
def test_a_slider_holds_what_an_address_may(browser: Any, name: str, address: str, slider: str, value: float) -> None:
    page = Opened(browser, name, address)
    found = page.tab.locator(f"#{slider}")
    assert float(found.input_value()) == value
    found.focus()
    page.tab.keyboard.press("ArrowRight")
    assert float(page.tab.locator(f"#{slider}-value").text_content()) > value
    page.close()


def test_the_network_at_the_crosshair_follows_it(browser: Any) -> None:
    page = Opened(browser, "memorizer.html")
    tab = page.tab
    tab.locator("#plane").focus()
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "ArrowUp", "ArrowLeft"):
        tab.keyboard.press(key)
        rows = dict(
            tab.evaluate(
                "[...document.querySelectorAll('#probe tr')].map(r => [...r.children].map(c => c.textContent))"
            )
        )
        assert float(rows["F, network"]) == pytest.approx(float(rows["F, all its layers written out"]), abs=1e-5)
        assert "crosshair" not in tab.locator("#numbers").text_content()
    page.close()


def test_a_line_that_is_not_fitted_says_so(browser: Any) -> None:
    page = Opened(browser, "memorizer.html", "#points=0.5,0.8,%2B;0.5,0.2,-&radius=0.1&shown=clean")
    tab = page.tab
    assert tab.locator("#fit").is_checked()
    assert tab.locator("#fit-note").text_content() == ""
    assert "clean model: wrong on training points0" in tab.locator("#numbers").text_content()
    page.close()
    page = Opened(browser, "memorizer.html", "#points=0.2,0.2,%2B;0.8,0.8,%2B;0.2,0.8,-;0.8,0.2,-")
    assert page.tab.locator("#fit-note").text_content().startswith("Not fitted: ")
    page.tab.locator("#fit").uncheck()
    assert page.tab.locator("#fit-note").text_content() == ""
    page.close()


@pytest.mark.parametrize("remedy", ["preset", "field", "slider"])
def test_a_refusal_goes_when_a_choice_is_taken(browser: Any, remedy: str) -> None:
    page = Opened(browser, "dynamics.html", SMALL)
    tab = page.tab
    tab.locator("details").first.evaluate("part => { part.open = true; }")
    tab.locator("#seed").fill("-1")
    tab.keyboard.press("Tab")
    assert tab.locator("#seed").get_attribute("aria-invalid") == "true"
    if remedy == "preset":
        tab.locator("[data-preset=control]").click()
    elif remedy == "field":
        tab.locator("#nFilters").fill("6")
        tab.keyboard.press("Tab")
    else:
        tab.locator("#robustWeight").focus()
        tab.keyboard.press("ArrowRight")
    assert tab.locator("#refused").text_content() == ""
    assert tab.locator("[aria-invalid]").count() == 0
    assert tab.locator("#seed").input_value() == "0"
    tab.locator("#seed").fill("1e20")
    tab.keyboard.press("Tab")
    assert tab.locator("#refused").text_content().startswith("Refused: seed")  # a new one is said
    page.close()


def test_what_was_said_of_points_goes_with_them(browser: Any) -> None:
    page = Opened(browser, "memorizer.html", "#points=0.5,0.5,%2B;0.8,0.8,-")
    tab = page.tab
    tab.locator("#plane").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#live").text_content() == "There is a point here already."
    tab.locator("#clear").click()
    assert tab.locator("#live").text_content() == ""
    tab.locator("#example").click()
    box = tab.locator("#canvas").bounding_box()
    tab.mouse.move(box["x"] + 14 + 0.2 * (box["width"] - 28), box["y"] + 14 + 0.75 * (box["height"] - 28))
    tab.mouse.down()
    tab.evaluate("cgro.page.choose({points: []})")
    tab.mouse.up()
    assert "is at" not in tab.locator("#live").text_content()
    assert tab.evaluate("cgro.page.memory.points") == []
    page.close()


def test_a_finger_scrolls_taps_and_moves_a_point(browser: Any) -> None:
    page = Opened(browser, "memorizer.html", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab = page.tab
    tab.locator("#plane").scroll_into_view_if_needed()
    session = page.context.new_cdp_session(tab)
    count = "cgro.page.memory.points.length"

    def at(x: float, y: float) -> dict:
        box = tab.locator("#canvas").bounding_box()
        side = box["width"] - 28
        return {"x": box["x"] + 14 + x * side, "y": box["y"] + 14 + (1 - y) * side}

    def swipe(start: dict, left: float, down: float) -> None:
        points = [{"x": start["x"] + k * left / 8, "y": start["y"] + k * down / 8} for k in range(9)]
        session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
        for point in points[1:]:
            session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        tab.wait_for_timeout(300)

    before = tab.evaluate("scrollY")
    swipe(at(0.5, 0.5), 0, -150)
    assert tab.evaluate(count) == 12  # nothing was placed
    assert tab.evaluate("scrollY") > before + 50
    tab.evaluate("scrollTo(0, 0)")
    tab.locator("#plane").scroll_into_view_if_needed()
    before = tab.evaluate("scrollY")
    swipe(at(0.2, 0.25), 0, -60)
    assert tab.evaluate(count) == 12
    assert tab.evaluate("scrollY") == before
    assert tab.evaluate("cgro.page.memory.points[0].y") > 0.3  # the point was moved
    place = at(0.55, 0.45)
    tab.touchscreen.tap(place["x"], place["y"])
    assert tab.evaluate(count) == 13
    tab.locator("input[name=tool][value='0']").check()
    tab.locator("#plane").scroll_into_view_if_needed()
    place = at(0.55, 0.45)
    tab.touchscreen.tap(place["x"], place["y"])
    assert tab.evaluate(count) == 12
    page.close()


@pytest.mark.parametrize("setting", ["preset=theorem&seed=3", "n-train=10&n-filters=8", "n-train=1&n-filters=2"])
def test_stage_one_is_not_over_in_its_first_steps(browser: Any, setting: str) -> None:
    page = Opened(browser, "dynamics.html", f"#{setting}&n-steps=400")
    tab = page.tab
    heard = tab.evaluate_handle("""() => {
      const heard = [], live = document.getElementById('live');
      new MutationObserver(() => heard.push(live.textContent)).observe(live, {childList: true});
      cgro.page.choose({});
      return heard;
    }""")
    page.done()
    tab.wait_for_timeout(50)
    ended = [text for text in heard.json_value() if text.startswith("Stage I has ended")]
    assert len(ended) == 1
    at = tab.evaluate("cgro.page.stages.signalGrowthEnd.step")
    assert abs(int(ended[0].split("step ")[1].split(":")[0]) - at) < 0.2 * at
    page.close()


def test_a_signal_that_dies_is_not_called_learned(browser: Any) -> None:
    page = Opened(browser, "dynamics.html", "#n-train=4&n-filters=4&n-steps=300&radius-ratio=2.4")
    page.done()
    tab = page.tab
    tab.wait_for_timeout(50)
    assert tab.locator("#now-stage").text_content() == "signal not learned"
    first = tab.locator("#stages tr").first.text_content()
    assert "not found" in first
    assert "stays below 0.5" in first
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
def test_figures_are_drawn_for_the_printer_from_a_dark_screen(browser: Any, name: str) -> None:
    """Of the words of the dark page, #ececea, no pixel is left on the canvases; afterwards they are there again."""
    page = Opened(browser, name, PAGES[name], color_scheme="dark")
    tab = page.tab
    if name == "dynamics.html":
        page.done()
    tab.evaluate("""() => {
      globalThis.light = () => [...document.querySelectorAll('canvas')].map(canvas => {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
        copy.drawImage(canvas, 0, 0);
        const d = copy.getImageData(0, 0, canvas.width, canvas.height).data;
        let n = 0;
        for (let i = 0; i < d.length; i += 4) if (d[i] === 236 && d[i + 1] === 236 && d[i + 2] === 234) n++;
        return n;
      });
      addEventListener('beforeprint', () => { globalThis.printed = light(); });
    }""")
    before = tab.evaluate("light()")
    assert min(before) > 20
    tab.pdf()
    assert tab.evaluate("printed") == [0] * len(before)
    tab.wait_for_timeout(100)
    assert tab.evaluate("light()") == before
    page.close()


def test_the_colors_of_print_are_the_same_twice() -> None:
    style = (FOLDER / "page.css").read_text()
    blocks = re.findall(r"(?:@media print \{\s*:root|:root\.printing) \{(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 2
    assert len({" ".join(block.split()) for block in blocks}) == 1


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
