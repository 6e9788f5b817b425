"""What the interactive pages share: symbols set as in a paper, the pace of frames, steps, buttons of a mouse."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.docs.interactive import DYNAMICS, FOLDER, chromium, with_scripts

from cgro.dynamics.recording import record_steps

RAW = re.compile(r"[A-Za-zα-ω][_^]\w+")
"""A symbol as it is typed."""
SEEN = """() => {
  document.querySelectorAll('details').forEach(part => { part.open = true; });
  const copy = document.body.cloneNode(true);
  copy.querySelectorAll('pre, code, script').forEach(part => part.remove());
  const labels = [...document.querySelectorAll('[aria-label]')].map(part => part.getAttribute('aria-label'));
  return [copy.textContent, ...labels].join(' ');
}"""
FRAMES = """([interval, needed, n]) => {
  const pace = new cgro.pace.Pace(), found = [];
  let now = 0;
  for (let k = 0; k < n; k++) {
    const budget = pace.next(now);
    found.push(budget);
    now += interval * Math.ceil((budget + needed) / interval);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def written(browser: Any, text: str) -> list[list[str]]:
    """What `write` makes of a text: words as they are, symbols as (spoken, HTML)."""
    tab = with_scripts(browser, ("parts.js",))
    found = tab.evaluate(
        """text => {
          const place = document.createElement('p');
          cgro.parts.write(place, text);
          return [...place.childNodes].map(part => part.nodeType === 3 ? [part.data] : [part.ariaLabel, part.role, part.innerHTML]);
        }""",
        text,
    )
    tab.close()
    return found


@pytest.mark.parametrize(("text", "expected"), [
    ("f_clean", [["f clean", "math", "f<sub>clean</sub>"]]),
    ("f_S, hard balls", [["f S", "math", "f<sub>S</sub>"], [", hard balls"]]),
    ("at α^q U = 2.1", [["at "], ["alpha to the q times U", "math", "α<sup>q</sup>U"], [" = 2.1"]]),
    ("apart in l_∞; mean V_i",
     [["apart in "], ["l infinity", "math", "l<sub>∞</sub>"], ["; mean "], ["V i", "math", "V<sub>i</sub>"]]),
    ("l_2 and l_1", [["l 2", "math", "l<sub>2</sub>"], [" and "], ["l 1", "math", "l<sub>1</sub>"]]),
    ("my_f_clean=1 f_cleaner n_i <b>x_1</b>", [["my_f_clean=1 f_cleaner n_i <b>x_1</b>"]]),  # of others, as it is
    ("", []),
])  # fmt: skip
def test_symbols_are_set_and_named(browser: Any, text: str, expected: list) -> None:
    assert written(browser, text) == expected


@pytest.mark.parametrize("address", ["dynamics.html#n-train=3&n-filters=6&n-steps=20000", "dynamics.html#n-train=4&n-filters=4&n-steps=300&radius-ratio=2.4",
                                     "memorizer.html", "memorizer.html#points=", "memorizer.html#radius=0.4&p=2", "memorizer.html#p=2&ramp=0.4"])  # fmt: skip
def test_no_symbol_is_shown_as_it_is_typed(browser: Any, address: str) -> None:
    tab = browser.new_page()
    name, _, rest = address.partition("#")
    tab.goto(f"{(FOLDER / name).as_uri()}#{rest}")
    if name == "dynamics.html":
        for _ in range(1500):
            if tab.evaluate("cgro.page.run.state !== 'running'"):
                break
            tab.wait_for_timeout(20)
    else:
        tab.locator("#plane").focus()
        tab.keyboard.press("ArrowUp")
    assert RAW.findall(tab.evaluate(SEEN)) == []
    spoken = tab.evaluate("[...document.querySelectorAll('[role=math]')].every(part => part.ariaLabel)")
    assert spoken
    tab.close()


def test_a_symbol_as_typed_is_noticed() -> None:
    assert RAW.findall("f_clean, α^q and y F, l∞, 4.5 and (v1)") == ["f_clean", "α^q"]


# Frames


def budgets(browser: Any, rate: float, needed: float, n: int) -> list[float]:
    """Milliseconds given to each of n frames of a screen, where each needs some beside what is computed."""
    tab = with_scripts(browser, ("pace.js",))
    found = tab.evaluate(FRAMES, [1000 / rate, needed, n])
    tab.close()
    return found


@pytest.mark.parametrize("rate", [24, 30, 50, 60])
def test_a_screen_of_fewer_frames_is_no_reason_to_compute_less(browser: Any, rate: float) -> None:
    assert min(budgets(browser, rate, 3, 400)[-100:]) > 9


def test_what_needs_time_beside_leaves_less_to_compute(browser: Any) -> None:
    """On a screen of 60 frames per second that are drawn in 13 ms; most frames still come in time."""
    found = budgets(browser, 60, 13, 600)[-300:]
    assert np.mean(found) < 4.5
    assert np.mean(np.array(found) + 13 > 1000 / 60) < 0.2


def test_a_fast_screen_gets_no_less(browser: Any) -> None:
    assert min(budgets(browser, 144, 3, 300)[-100:]) > 9


# Steps of Python


@pytest.mark.parametrize("n_steps", [10, 17, 200, 999, 4000, 50_000, 123_457, 1_000_000])
def test_steps_that_are_recorded_are_those_of_python(browser: Any, n_steps: int) -> None:
    tab = with_scripts(browser, DYNAMICS)
    assert tab.evaluate("n => cgro.simulator.recordSteps(n)", n_steps) == record_steps(n_steps, 240).tolist()
    tab.close()


# The plane


@pytest.mark.parametrize(("button", "placed"), [("left", 1), ("right", 0), ("middle", 0)])
def test_only_the_first_button_places_a_point(browser: Any, button: str, placed: int) -> None:
    tab = browser.new_page(viewport={"width": 900, "height": 1400})
    tab.goto((FOLDER / "memorizer.html").as_uri() + "#points=")
    box = tab.locator("#canvas").bounding_box()
    tab.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"], button=button)
    assert tab.evaluate("cgro.page.memory.points.length") == placed
    tab.close()
