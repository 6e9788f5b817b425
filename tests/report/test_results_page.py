"""The page of reproductions: what results hold is text, and no more of this machine's files than their figures."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.report.runs import places, replaced
from tests.report.test_style import HOSTILE, characters_of_xml

from cgro._check import BadRequest
from cgro.report import reproduction
from cgro.report.page import csp_hash


def result(folder: Path, text: str = "x") -> dict[str, Any]:
    claim = dict.fromkeys(("name", "statement", "paper", "ours", "reason", "rule"), text)
    table = {"name": text, "caption": text, "columns": [text], "rows": [[text]]}
    made = {"runs": [text], "commit": text, "source": text, "machine": text, "threads": 1, "torch": text, "cgro": text}
    return {"schema": 1, "artifact": "table2", "title": text, "scale": "cpu", "claims": [{**claim, "verdict": "partly"}],
            "tables": [table], "provenance": [made], "path": str(folder),
            "figures": [{"file": "a.svg", "caption": text}]}  # fmt: skip


def test_a_result_of_an_unknown_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"table9"):
        reproduction.page([{**result(tmp_path), "artifact": "table9"}], tmp_path)
    for name in ("runs", "table9"):
        (tmp_path / name).mkdir()
    assert reproduction.results_of(tmp_path) == []
    (tmp_path / "table9" / "summary.json").write_text("{}")
    with pytest.raises(BadRequest, match=r"table9.*ORDER"):
        reproduction.results_of(tmp_path)


def test_the_order_of_the_page_names_every_artifact() -> None:
    from cgro.experiments.reproduce import ARTIFACTS

    assert sorted(reproduction.ORDER) == sorted(ARTIFACTS)


def html(folder: Path, text: str) -> str:
    (folder / "a.svg").write_text("<svg/>")
    return reproduction.to_html(reproduction.page([result(folder, text)], folder, head="# x"), folder, text)


@pytest.mark.parametrize("text", [*HOSTILE.values(), "\n![x](/etc/passwd)", "a\n- b\n| c |\n# d"])
def test_what_results_hold_is_text(text: str, tmp_path: Path) -> None:
    shown = html(tmp_path, text)
    assert characters_of_xml(shown)
    assert shown.encode()
    assert shown.count("<img ") == 1
    assert shown.count("<h1") == 1
    assert "<script" not in shown
    assert "<svg onload" not in shown


ALLOWED = (
    "#table-2",
    "https://example.org/a?b=c:d",
    "http://example.org",
    "a/b.svg",
    "../results",
    "a.md#b:c",
    "./a:b/c" * 0 + "a?b:c",
)
REFUSED = (
    "javascript:alert`1`", "JavaScript:x", " javascript:x", "java\tscript:x", "javascript&colon;x", "data:text/html,x", "vbscript:x",
    "file:///etc/passwd", "//example.org", "\\\\example.org", "/\\example.org", "blob:x", "a b:c", "\x01javascript:x",
    "ftp://example.org", "mailto:x", "https:x", "http:",
)  # fmt: skip


@pytest.mark.parametrize("target", ALLOWED)
def test_links_that_lead_somewhere(target: str) -> None:
    assert f'<a href="{target}">x</a>' in reproduction.to_html(f"[x]({target})", Path(), "t")


@pytest.mark.parametrize("target", REFUSED)
def test_links_that_stay_text(target: str, tmp_path: Path) -> None:
    assert "<a " not in html(tmp_path, f"[x]({target})").replace('<a href="#', "") or "colon" in target
    shown = reproduction.to_html(f"[x]({target})", tmp_path, "t")
    assert not re.search(r'href="[^"]*:', shown)


def test_a_link_cannot_leave_its_attribute() -> None:
    shown = reproduction.to_html('[x](a"onmouseover="alert`1`)', Path(), "t")
    assert 'onmouseover="' not in shown


@pytest.mark.parametrize(
    "link", ["/etc/passwd", "../secret.svg", "a/../../secret.svg", "linked.svg", "/etc/x.svg", "a.txt"]
)
def test_images_from_elsewhere_are_left_out(link: str, tmp_path: Path) -> None:
    (tmp_path / "secret.svg").write_text("secret")
    start = tmp_path / "page"
    (start / "a").mkdir(parents=True)
    (start / "a.txt").write_text("secret")
    (start / "linked.svg").symlink_to(tmp_path / "secret.svg")
    shown = reproduction.to_html(f"![caption]({link})", start, "t")
    assert "<img " not in shown
    assert "caption" in shown


def test_a_missing_figure_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="none.svg"):
        reproduction.to_html("![x](none.svg)", tmp_path, "t")


def test_the_policy_allows_no_script_and_one_style(tmp_path: Path) -> None:
    shown = html(tmp_path, "x")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', shown)
    assert policy
    assert "script" not in policy[1]
    (style,) = re.findall(r"<style>(.*?)</style>", shown, re.S)
    assert f"style-src '{csp_hash(style)}'" in policy[1]
    assert " style=" not in shown


def test_results_of_another_shape_are_one_line(tmp_path: Path) -> None:
    whole = result(tmp_path)
    folder = tmp_path / "table2"
    folder.mkdir()
    (folder / "environment.json").write_text('{"schema": 1}')
    refused = 0
    for place in places(whole):
        for wrong in (..., None, "text", [], {}, 7, [[]]):
            (folder / "summary.json").write_text(json.dumps(replaced(whole, place, wrong)))
            try:
                reproduction.page(reproduction.results_of(tmp_path), tmp_path)
            except BadRequest as error:
                refused += 1
                assert "table2" in str(error)
    assert refused > 80
