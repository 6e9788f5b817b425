"""Stored figures keep to one palette, in which a color has one meaning (src/cgro/report/style.py)."""

import re
from pathlib import Path

import pytest
from benchmarks import growth
from tests.report.palette import foreign

from cgro.reading import read_json
from cgro.report import style

ROOT = Path(__file__).parents[2]
FIGURES = sorted([*(ROOT / "docs").rglob("*.svg"), *(ROOT / "results").rglob("*.svg")])


def words_of(path: Path) -> list[str]:
    """In the order of drawing: the legend's last."""
    return re.findall(r">([^<>]+)</text>", path.read_text())


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_colors_of_a_figure_are_those_of_the_palette(path: Path) -> None:
    assert foreign(path.read_text()) == set()


@pytest.mark.parametrize("color", ["#1f77b4", "#FF7F0E", "#aec7e8", "#73d056"])
def test_a_color_of_its_own_is_noticed(color: str) -> None:
    assert foreign(f'<path style="fill: none; stroke: {color}"/>') == {color.lower()}
    assert foreign(f'<use style="fill: {color}; stroke: {style.MEMORY}"/>') == {color.lower()}


def test_shades_of_a_color_and_the_scale_of_errors_are_of_the_palette() -> None:
    for color in (*style.shades(style.MEMORY, 5), "#00224e", "#fee838"):  # the ends of cividis
        assert foreign(f'<use style="fill: {color}; stroke: {style.MARK}"/>') == set()


def test_the_figure_of_growth_is_drawn_from_what_is_stored(tmp_path: Path) -> None:
    stored = read_json(growth.RESULT)
    assert isinstance(stored, dict)
    growth.draw(stored["rows"], tmp_path / "growth")
    words = words_of(tmp_path / "growth.svg")
    assert words == words_of(growth.FIGURE.with_suffix(".svg"))
    # The line of exponent 1 is named among the laws, below the axes, and not over them.
    names = [law.name for law in growth.LAWS]
    assert words[-1] == "exponent 1"
    assert [word.partition(":")[0] for word in words[-1 - len(names) : -1]] == names


def test_the_glossary_says_what_each_color_means() -> None:
    rows = (ROOT / "docs" / "glossary.md").read_text().partition("## Colors of figures")[2].splitlines()
    for color, word in (
        (style.CLEAN, "clean"),
        (style.ROBUST, "robust"),
        (style.GAP, "gap"),
        (style.MEMORY, "memorized"),
        (style.FLATNESS, "flatness"),
        (style.SIGNAL, "signal"),
        (style.MARK, "marked"),
        (style.INK, "prediction"),
        *((color, "several of one kind") for color in style.COMPARED),
    ):
        (row,) = [row for row in rows if f"`{color}`" in row]
        assert word in row
