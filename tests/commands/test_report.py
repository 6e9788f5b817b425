"""cgro report: one file that asks for nothing, says everything, and stays small. The browser's part runs where there is one."""

import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.diagnosis.writers import four, write_log
from tests.report.runs import checkpoints, flatness_record

from cgro.cli import main
from cgro.results import TrainSummary
from cgro.runs import Run

TINY = ["--data", "digits", "--n-train", "120", "--n-test", "60", "--model", "mlp", "--epochs", "2", "--radius", "0.1",
        "--attack", "pgd2", "--eval-attack", "pgd2", "--eval-n", "60", "--lr", "0.005", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("report")
    (folder / "output.log").write_text(write_log(four(200, 100), rng=np.random.default_rng(0), drops=(97, 150)))
    assert main(["train", *TINY, "--out", str(folder / "trained")]) == 0
    assert main(["diagnose", str(folder / "output.log"), "--out", str(folder / "<log>")]) == 0
    return [str(folder / "trained"), str(folder / "<log>")]


@pytest.fixture(scope="module")
def page(runs: list[str]) -> str:
    out = Path(runs[0]).parent / "report.html"
    assert main(["report", *runs, "--out", str(out), "--device", "cpu", "--lint-n", "30"]) == 0
    return out.read_text()


def test_the_page_loads_nothing_and_is_small(page: str) -> None:
    assert len(page.encode()) < 3e6
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert not re.search(r"https?://|url\(|@import", page)
    assert "default-src 'none'" in page


def test_the_page_says_what_the_issue_asks_for(page: str) -> None:
    for words in ("Side by side", "robust overfitting", "Learning curves", "Robust generalization gap", "Adversarial examples",
                  "All numbers", "Evaluation lint", "Configuration", "Environment", "onset", "lr drop",
                  "at least this: an attack found these examples", 'type="range"', "WARN: not run"):  # fmt: skip
        assert words in page, words
    assert page.index("robust overfitting") < page.index("Learning curves")
    assert "&lt;log&gt;" in page  # names are escaped


def test_a_screen_reader_is_told(page: str) -> None:
    assert re.search(r'<html lang="en">', page)
    assert all("alt=" in tag for tag in re.findall(r"<img[^>]*>", page))
    assert all("aria-" in tag for tag in re.findall(r"<svg[^>]*>", page))
    assert page.count("<table>") == page.count("<caption>")


def luminance(color: str) -> float:
    if len(color) == 4:
        color = "#" + "".join(2 * c for c in color[1:])
    channels = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_contrast(page: str) -> None:
    """WCAG AA: 4.5 to 1 on the darker of the two backgrounds."""
    style = page[: page.index("</style>")]
    texts = re.findall(r"[ {;](?:color|fill): (#[0-9a-f]+)", style) + re.findall(r"fill: (#[0-9a-f]+)", page)
    assert texts
    for color in texts:
        assert (luminance("#f5f5f5") + 0.05) / (luminance(color) + 0.05) >= 4.5, color


def test_json_gives_the_card(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", runs[1], "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)["runs"]
    assert card["verdict"]["label"] == "robust_overfitting"
    assert len(card["curves"]["epoch"]) == 200


def test_bad_requests_are_one_line(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there.html").write_text("x")
    for argv, said in (([], "one or more run directories"), ([str(tmp_path)], "a run directory"),
                       ([runs[1], "--out", str(tmp_path / "there.html")], "--overwrite")):  # fmt: skip
        assert main(["report", *argv]) == 2
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1


def test_in_a_real_browser(runs: list[str], page: str, tmp_path: Path) -> None:
    """Debian's Chromium, driven by Playwright, where both are installed."""
    api = pytest.importorskip("playwright.sync_api")
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("no chromium")
    said, asked = [], []
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 390, "height": 844})
        tab.on("console", lambda m: said.append(m.text))
        tab.on("pageerror", lambda e: said.append(str(e)))
        tab.on("request", lambda r: asked.append(r.url))
        tab.goto((Path(runs[0]).parent / "report.html").as_uri())
        chart = tab.locator("svg.plot").first
        chart.focus()
        tab.keyboard.press("ArrowLeft")
        assert tab.locator(".chart output").first.text_content().startswith("epoch ")
        tab.locator(".chart input").first.uncheck()
        assert chart.locator(".line").first.evaluate("e => e.style.display") == "none"
        tab.locator("input[type=range]").first.evaluate("e => { e.value = 40; e.dispatchEvent(new Event('input')); }")
        assert tab.locator(".attacked").first.evaluate("e => e.style.opacity") == "0.4"
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        tab.pdf(path=tmp_path / "page.pdf")
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == asked[:1]
    assert (tmp_path / "page.pdf").stat().st_size > 10_000


def test_strong_attacks_by_epoch_and_flatness_by_radius_are_drawn(runs: list[str], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    curves = {"ensemble@inf:0.1": {"test": checkpoints([0.5, 0.75])}}
    done = Run(run)
    found = msgspec.structs.replace(done.read(TrainSummary), curves=curves, flatness=flatness_record())
    done.write_summary(found)
    out = tmp_path / "report.html"
    assert main(["report", str(run), "--out", str(out), "--device", "cpu", "--lint-n", "0"]) == 0
    text = out.read_text()
    for words in ("Robust error of every kept checkpoint", "ensemble@inf:0.1, test", "largest gradient in the ball",
                  "against the radius", "training radius", "[[50.0, 75.0]]"):  # fmt: skip
        assert words in text, words


def test_a_log_is_refused_with_the_command_that_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my log.txt"
    path.write_text("Epoch")
    assert main(["report", str(path)]) == 2
    assert f"cgro diagnose '{path}' --out DIR" in capsys.readouterr().err
