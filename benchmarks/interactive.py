"""Frames per second of docs/interactive/dynamics.html while it trains, in headless Chromium: prints a table.

    python -m benchmarks.interactive --seconds 8

Headless Chromium draws in software and asks for 60 frames a second. `late` is the share of frames that came more than
half a frame after their turn (25 ms), `work` the milliseconds of a frame in which the page computes and draws, which
other load on the machine changes less. Steps are those that a run takes in a second of wall time.
"""

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

PAGE = Path(__file__).parents[1] / "docs" / "interactive" / "dynamics.html"
CASES = {
    "theorem": "preset=theorem",
    "table2": "preset=table2",
    "theorem, N = 100": "preset=theorem&n-train=100",
    "theorem, fresh noise": "preset=theorem&fresh=1",
    "full ball": "preset=theorem&adversary=l2&radius-ratio=0.9&noise-std=0.626&n-filters=16&lr=0.0077&n-steps=4000",
}
WATCH = """seconds => new Promise(resolve => {
  const at = [], work = [], plain = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = f => plain(now => {
    const began = performance.now();
    f(now);
    work.push(performance.now() - began);
  });
  const first = cgro.page.run.step, began = performance.now();
  const next = now => {
    at.push(now);
    if (cgro.page.run.state === 'running' && now - began < 1000 * seconds) plain(next);
    else resolve({at, work, steps: cgro.page.run.step - first});
  };
  plain(next);
})"""


def measure(browser: Browser, address: str, seconds: float) -> tuple[float, float, float, float, float]:
    """Frames per second, share of late frames, median and 95th percentile of work, steps per second."""
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.goto(f"{PAGE.as_uri()}#{address}")
    found = tab.evaluate(WATCH, seconds)
    tab.close()
    gaps = np.diff(found["at"])
    work = np.percentile(found["work"], [50, 95])
    whole = gaps.sum() / 1000
    return len(gaps) / whole, float((gaps > 25).mean()), float(work[0]), float(work[1]), found["steps"] / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    seconds = parser.parse_args().seconds
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        load = os.getloadavg()[0]
        print(f"Chromium {browser.version}, {os.cpu_count()} cores, load {load:.1f}, {seconds:g} s each, 1280 pixels")
        print("| case | frames/s | late | work, median ms | work, 95% ms | steps/s |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, address in CASES.items():
            rate, late, middle, high, steps = measure(browser, address, seconds)
            print(f"| {name} | {rate:.1f} | {late:.0%} | {middle:.1f} | {high:.1f} | {steps:,.0f} |")
        browser.close()


if __name__ == "__main__":
    main()
