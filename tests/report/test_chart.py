"""Line charts of the page: what is measured is drawn, at its place."""

import math
import re

import pytest

from cgro.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, Mark, line_chart, round_step


def line(*values: float | None, part: str = "test", label: str = "a") -> Line:
    return Line(label, "#000", part, values)


def points(path: str) -> list[tuple[float, ...]]:
    """The corners of a path, as numbers."""
    assert re.fullmatch(r"M[\d.]+ [\d.]+(L[\d.]+ [\d.]+)*", path)
    return [tuple(map(float, point.split())) for point in path[1:].split("L")]


def test_a_curve_that_was_measured_every_other_epoch_is_a_line() -> None:
    often = line(5.0, None, 3.0, None, 1.0, None)
    seldom = line(None, None, 4.0, None, 2.0, None)
    chart = line_chart("t", "u", [1, 2, 3, 4, 5, 6], lines=[often, seldom])
    assert chart is not None
    assert chart.at == [1, 3, 5]
    assert [len(points(drawn.path)) for drawn in chart.lines] == [3, 2]
    assert points(chart.lines[0].path)[1][0] == chart.xs[1]
    assert chart.lines[1].values == [None, 4.0, 2.0]
    assert chart.data["lines"] == [[5.0, 3.0, 1.0], [None, 4.0, 2.0]]


def test_places_are_linear_between_the_edges() -> None:
    chart = line_chart("t", "u", [1, 2, 4], lines=[line(0.0, 25.0, 100.0)])
    assert chart is not None
    bottom = HEIGHT - BOTTOM
    right = WIDTH - RIGHT
    third = LEFT + (right - LEFT) / 3
    quarter = bottom - (bottom - TOP) / 4
    corners = points(chart.lines[0].path)
    assert corners == [(LEFT, bottom), (round(third, 1), quarter), (right, TOP)]
    assert [tick.text for tick in chart.ticks] == ["0", "20", "40", "60", "80", "100"]
    assert (chart.ticks[0].place, chart.ticks[-1].place) == (bottom, TOP)
    assert [tick.text for tick in chart.places] == ["1", "2", "3", "4"]


def test_an_axis_reaches_below_zero_where_values_do() -> None:
    chart = line_chart("t", "u", [0, 1], lines=[line(-3.0, 5.0)])
    assert chart is not None
    assert chart.ticks[0].text == "-4"
    assert chart.ticks[-1].text == "6"


@pytest.mark.parametrize(
    "values", [(0.0, 0.0), (1e-20, 2e-20), (1e299, -1e299), (5e-324, 0.0), (1e-12, 1.0), (100.0, 100.0)]
)
def test_values_of_any_size_have_an_axis(values: tuple[float, float]) -> None:
    for along in ("epoch", "radius"):
        chart = line_chart("t", "u", [1e-3, 2e-3], lines=[line(*values)], along=along)
        assert chart is not None
        assert 2 <= len(chart.ticks) <= 10
        for _, y in points(chart.lines[0].path):
            assert TOP <= y <= HEIGHT - BOTTOM


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf, -math.inf, 1e308])
def test_what_cannot_be_drawn_was_not_measured(unknown: float | None) -> None:
    chart = line_chart("t", "u", [1, 2, 3], lines=[line(1.0, unknown, 3.0)])
    assert chart is not None
    assert chart.at == [1, 3]
    assert line_chart("t", "u", [1, 2], lines=[line(1.0, unknown)]) is None
    assert line_chart("t", "u", [1, 1e308], lines=[line(1.0, 2.0)]) is None
    assert line_chart("t", "u", [], lines=[line()]) is None
    assert line_chart("t", "u", [1, 2], lines=[]) is None


def test_marks_outside_the_axis_are_left_out() -> None:
    marks = [Mark(at, f"{at}", "drop", "#555") for at in (0.5, 1.0, 2.0, 3.5)]
    chart = line_chart("t", "u", [1, 3], lines=[line(1.0, 2.0)], marks=marks)
    assert chart is not None
    assert [drawn.mark.at for drawn in chart.marks] == [1.0, 2.0]
    assert [drawn.place for drawn in chart.marks] == [LEFT, (LEFT + WIDTH - RIGHT) / 2]


def test_dashes_tell_the_parts() -> None:
    dashes = [line(1.0, part=part).dash for part in ("train", "test", "validation", "else")]
    assert len(set(dashes)) == 4
    assert dashes[1] == ""


@pytest.mark.parametrize("span", [1e-200, 3e-13, 0.3, 1.0, 6.0, 99.0, 1e5, 3e200])
@pytest.mark.parametrize("n", [7, 8])
def test_a_round_step_is_round_and_cuts_into_few_pieces(span: float, n: int) -> None:
    step = round_step(span, n)
    assert f"{step:e}"[0] in "125"
    assert span / step <= n + 1e-6
    assert span / step > n / 3  # none is coarser than it must be
