"""The page of reproductions: what results hold is text, and no more of this machine's files than their figures."""

import re
from pathlib import Path

import pytest
from tests.report.artifacts import ORDER, read, result, stored
from tests.report.runs import places, replaced
from tests.report.test_style import HOSTILE, characters_of_xml

from cgro._check import BadRequest
from cgro.report import artifacts, reproduction
from cgro.report.artifacts import Result
from cgro.report.page import csp_hash
from cgro.results import ArtifactSummary, read_summary


def html(folder: Path, text: str) -> str:
    (folder / "a.svg").write_text("<svg/>")
    groups = artifacts.in_order([read(folder, text=text)], ORDER)
    return reproduction.html(groups, folder, title=text)


def test_the_order_is_the_callers_and_the_most_telling_scale_is_shown_in_full(tmp_path: Path) -> None:
    shown = [
        read(tmp_path, text="Figure, smoke", artifact="figure1", scale="smoke"),
        read(tmp_path, text="Figure, cpu", artifact="figure1", scale="cpu"),
        read(tmp_path, text="Table, cpu"),
    ]
    text = reproduction.markdown(artifacts.in_order(shown, ORDER), tmp_path, head="# Head")
    assert re.findall("^## .*", text, re.MULTILINE) == ["## Table, cpu", "## Figure, cpu"]
    overview = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| [")]
    assert overview == [
        ["| [Table, cpu](#table-cpu)", "cpu"],
        ["| [Figure, cpu](#figure-cpu)", "cpu"],
        ["| [Figure, smoke](#figure-smoke)", "smoke"],
    ]
    assert "- `smoke`: tiny networks" in text
    # The claims of both scales stand side by side, once.
    assert text.count(reproduction.SIDE_BY_SIDE) == 1
    assert "| claim | paper | ours, cpu | verdict, cpu | ours, smoke | verdict, smoke |" in text
    groups = artifacts.in_order(shown, ORDER)
    (tmp_path / "a.svg").write_text("<svg/>")
    assert reproduction.html(groups, tmp_path, title="T").count("verdict, smoke") == 1
    left_out = reproduction.claims_by_scale(groups[1])
    assert left_out == [
        ["Figure, cpu", "Figure, cpu", "Figure, cpu", "partly", "", ""],
        ["Figure, smoke", "Figure, smoke", "", "", "Figure, smoke", "partly"],
    ]
    same = [read(tmp_path, text="a/b", artifact="figure1", scale=scale) for scale in ("gpu", "cpu")]
    assert reproduction.claims_by_scale(same) == [["b", "a/b", "a/b", "partly", "a/b", "partly"]]


def test_verdicts_are_counted_and_failures_are_loud(tmp_path: Path) -> None:
    found = result()
    untested = "cannot be tested at this scale"
    verdicts = ("reproduced", "not reproduced", "not reproduced", untested, "derived", "cannot be told")
    found["claims"] = [{**found["claims"][0], "verdict": verdict} for verdict in verdicts]
    groups = [[Result(read_summary(found, "", ArtifactSummary), tmp_path)]]
    (tmp_path / "a.svg").write_text("<svg/>")
    text = reproduction.markdown(groups, tmp_path)
    assert "| [x](#x) | cpu | 1 | 1 |  | 1 | 2 | 1 |" in text
    assert text.count("**NOT REPRODUCED**") == 2
    page = reproduction.html(groups, tmp_path, title="t")
    assert page.count("<strong>NOT REPRODUCED</strong>") == 2
    for plain in ("derived", "cannot be told", untested):
        assert f"| {plain} |" in text
        assert f"<td>{plain}</td>" in page, "only what was measured is set off"


@pytest.mark.parametrize("text", [*HOSTILE.values(), "\n![x](/etc/passwd)", "a\n- b\n| c |\n# d", "[x](javascript:1)"])
def test_what_results_hold_is_text(text: str, tmp_path: Path) -> None:
    shown = html(tmp_path, text)
    assert characters_of_xml(shown)
    assert shown.encode()
    assert shown.count("<img ") == 1
    assert shown.count("<h1") == 1
    assert shown.count("<a ") == 1  # of the overview
    assert re.fullmatch("#[a-z0-9-]*", re.findall('href="([^"]*)"', shown)[0])
    assert "<script" not in shown
    assert "<svg onload" not in shown


@pytest.mark.parametrize("text", ["a\n- b\n| c |\n# d", "\n![x](/etc/passwd)", "# d", "- b"])
def test_no_text_begins_a_line_of_markdown(text: str, tmp_path: Path) -> None:
    plain = reproduction.markdown([[read(tmp_path)]], tmp_path)
    hostile = reproduction.markdown([[read(tmp_path, text=text)]], tmp_path)
    for first in ("#", "!", "-", "[|]"):
        assert len(re.findall(f"^{first}", hostile, re.MULTILINE)) == len(re.findall(f"^{first}", plain, re.MULTILINE))


@pytest.mark.parametrize(
    "link", ["/etc/passwd", "../secret.svg", "a/../../secret.svg", "linked.svg", "/etc/x.svg", "a.txt"]
)
def test_images_from_elsewhere_are_left_out(link: str, tmp_path: Path) -> None:
    (tmp_path / "secret.svg").write_text("secret")
    start = tmp_path / "page"
    (start / "a").mkdir(parents=True)
    (start / "a.txt").write_text("secret")
    (start / "linked.svg").symlink_to(tmp_path / "secret.svg")
    shown = reproduction.html([[read(start, text="caption", figure=link)]], start, title="t")
    assert "<img " not in shown
    assert "caption (no figure below this page)" in shown


def test_a_missing_figure_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="none.svg"):
        reproduction.html([[read(tmp_path, figure="none.svg")]], tmp_path, title="t")


def test_the_policy_allows_no_script_and_one_style(tmp_path: Path) -> None:
    shown = html(tmp_path, "x")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', shown)
    assert policy
    assert "script" not in policy[1]
    (style,) = re.findall(r"<style>(.*?)</style>", shown, re.S)
    assert f"style-src '{csp_hash(style)}'" in policy[1]
    assert " style=" not in shown


def test_results_of_another_shape_are_one_line(tmp_path: Path) -> None:
    whole = result()
    (tmp_path / "table2").mkdir()
    (tmp_path / "table2" / "a.svg").write_text("<svg/>")
    refused = 0
    for place in places(whole):
        for wrong in (..., None, "text", [], {}, 7, [[]]):
            stored(tmp_path / "table2", replaced(whole, place, wrong))
            try:
                groups = artifacts.in_order(artifacts.results_of(tmp_path, ORDER), ORDER)
                reproduction.markdown(groups, tmp_path)
                reproduction.html(groups, tmp_path, title="t")
            except BadRequest as error:
                refused += 1
                assert "table2" in str(error)
    assert refused > 80
