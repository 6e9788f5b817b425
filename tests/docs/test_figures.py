"""The figures of the documentation keep to one palette, in which a color has one meaning (src/cgro/report/style.py)."""

import re
from pathlib import Path

import pytest
from benchmarks import growth

from cgro.reading import read_json
from cgro.report import style

ROOT = Path(__file__).parents[2]
PALETTE = {
    style.CLEAN,
    style.ROBUST,
    style.GAP,
    style.MEMORY,
    style.FLATNESS,
    style.MARK,
    style.SIGNAL,
    *style.COMPARED,
}
NEUTRAL = {"#ffffff", "#b0b0b0", "#000000"}
"""Paper, the grid, words."""
SCALES = {"dynamics_phase"}
"""Maps of a quantity, whose colors are a scale with a bar beside it."""
FIGURES = sorted(path for path in (ROOT / "docs" / "figures").glob("*.svg") if path.stem not in SCALES)


def foreign(svg: str) -> set[str]:
    """Colors that are not of the palette. A marker that is a line has a fill, which is never seen."""
    found = {color.lower() for color in re.findall(r"(?<![\w-])stroke: (#[0-9a-fA-F]{6})", svg)}
    return found - {color.lower() for color in PALETTE} - NEUTRAL


def words_of(path: Path) -> list[str]:
    """In the order of drawing: the legend's last."""
    return re.findall(r">([^<>]+)</text>", path.read_text())


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_the_colors_of_a_figure_are_those_of_the_palette(path: Path) -> None:
    assert foreign(path.read_text()) == set()


@pytest.mark.parametrize("color", ["#1f77b4", "#FF7F0E", "#aec7e8"])
def test_a_color_of_its_own_is_noticed(color: str) -> None:
    assert foreign(f'<path style="fill: none; stroke: {color}"/>') == {color.lower()}
    assert foreign(f'<use style="fill: {color}; stroke: {style.MEMORY}"/>') == set()


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
