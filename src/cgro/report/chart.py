"""Line charts of the page: where everything goes, in the units of an SVG, for `chart.html` to write down."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cgro.report.values import drawable

WIDTH = 720
HEIGHT = 320
LEFT = 52
BOTTOM = 52
RIGHT = 10
TOP = 8
MOST_TICKS = 7
MOST_PLACES = 8

DASHES = {"train": "7 4", "test": "", "validation": "2 3", "between": "2 3"}
"""How a line over a part of the data is drawn, as `cgro.report.style.line_of` says it to matplotlib."""
OTHER_DASH = "1 2"


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        label: in the legend.
        color: as #rrggbb.
        part: of the data; says which dashes it has.
        values: one per place on the horizontal axis; None or NaN where none was measured, as between the evaluations of
            a run: the line goes on to the next.
        width: of the line.
        tag: written at its last value, where colors alone do not tell lines apart.
    """

    label: str
    color: str
    part: str
    values: Sequence[float | None]
    width: float = 2.0
    tag: str = ""

    @property
    def dash(self) -> str:
        """The dashes, as SVG has them; empty for a solid line."""
        return DASHES.get(self.part, OTHER_DASH)


@dataclass(frozen=True)
class Mark:
    """A vertical line with a label.

    Attributes:
        at: on the horizontal axis.
        label: beside it.
        kind: the class of the label in page.css.
        color: of the line.
        span: its interval, drawn as a band; None where there is none.
    """

    at: float
    label: str
    kind: str
    color: str
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Tick:
    """A number on an axis.

    Attributes:
        place: in the units of the SVG.
        text: the number.
    """

    place: float
    text: str


@dataclass(frozen=True)
class DrawnLine:
    """A line with its path.

    Attributes:
        line: label, color and dashes.
        values: those at the places that are drawn.
        path: as SVG has it; empty where nothing was measured.
        end: (x, y) of the last value, beside which the tag stands.
    """

    line: Line
    values: Sequence[float | None]
    path: str
    end: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class DrawnMark:
    """A mark with its place in the units of the SVG.

    Attributes:
        mark: as given.
        place: of the line.
        left: of the band.
        width: of the band; 0 where there is none.
    """

    mark: Mark
    place: float
    left: float = 0.0
    width: float = 0.0

    @property
    def anchor(self) -> str:
        """On which side of the line the label stands: in the right half of the chart it ends at the line."""
        return "end" if self.place > WIDTH / 2 else "start"

    @property
    def label_shift(self) -> int:
        """From the line to the label."""
        return -3 if self.place > WIDTH / 2 else 3


@dataclass(frozen=True)
class Chart:
    """A line chart.

    Attributes:
        title: above it.
        unit: of the values.
        along: what the horizontal axis shows.
        at: the places on the horizontal axis at which something was measured.
        lines: as drawn.
        marks: those between the first and the last place.
        ticks: of the vertical axis.
        places: of the horizontal axis.
        xs: `at` in the units of the SVG.
    """

    title: str
    unit: str
    along: str
    at: Sequence[float]
    lines: Sequence[DrawnLine]
    marks: Sequence[DrawnMark]
    ticks: Sequence[Tick]
    places: Sequence[Tick]
    xs: Sequence[float]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM
    right: int = WIDTH - RIGHT
    top: int = TOP

    @property
    def data(self) -> dict[str, object]:
        """What page.js needs to read values aloud."""
        return {
            "epochs": self.at,
            "xs": self.xs,
            "bottom": self.bottom,
            "wide": self.width,
            "along": self.along,
            "unit": self.unit,
            "lines": [drawn.values for drawn in self.lines],
            "labels": [drawn.line.label for drawn in self.lines],
        }


def line_chart(
    title: str,
    unit: str,
    at: Sequence[float],
    *,
    lines: Sequence[Line],
    marks: Sequence[Mark] = (),
    along: str = "epoch",
) -> Chart | None:
    """Lay out a chart.

    Args:
        title: above it.
        unit: of the values.
        at: increasing places on the horizontal axis, such as epochs.
        lines: with a value or None at each place.
        marks: vertical lines; those outside the axis are left out.
        along: the name of the horizontal axis.

    Returns:
        The chart of the places at which something was measured; None for fewer than two of them.
    """
    places = drawable(at)
    values = drawable([line.values for line in lines]).reshape(len(lines), len(places))
    measured = np.isfinite(values).any(0) & np.isfinite(places)
    if measured.sum() < 2:
        return None
    places = places[measured]
    values = values[:, measured]
    x_axis = _Axis(float(places[0]), float(places[-1]), start=LEFT, end=WIDTH - RIGHT)
    ticks, y_axis = _vertical(values)
    drawn = []
    for line, row in zip(lines, values, strict=True):
        known = [None if math.isnan(value) else float(value) for value in row]
        end = _end(x_axis, y_axis, places, row)
        drawn.append(DrawnLine(line, known, _path(x_axis, y_axis, places, row), end))
    inside = [_drawn_mark(mark, x_axis) for mark in marks if x_axis.first <= mark.at <= x_axis.last]
    return Chart(
        title=title,
        unit=unit,
        along=along,
        at=places.tolist(),
        lines=drawn,
        marks=inside,
        ticks=ticks,
        places=_horizontal(x_axis, whole=along == "epoch"),
        xs=[x_axis.place(place) for place in places],
    )


@dataclass(frozen=True)
class _Axis:
    """From values in [first, last] to places between `start` and `end` of the SVG."""

    first: float
    last: float
    start: float
    end: float

    def place(self, value: float) -> float:
        span = max(self.last - self.first, 1e-9)
        return round(float(self.start + (self.end - self.start) * (value - self.first) / span), 1)


def _vertical(values: np.ndarray) -> tuple[list[Tick], _Axis]:
    """An axis from 0, or below, to at least the largest value, and its round numbers."""
    low = min(0.0, float(np.nanmin(values)))
    high = float(np.nanmax(values))
    step = round_step(high - low, MOST_TICKS)
    low = step * math.floor(low / step)
    n_steps = max(1, math.ceil((high - low) / step - 1e-9))
    high = low + n_steps * step
    axis = _Axis(low, high, start=HEIGHT - BOTTOM, end=TOP)
    ticks = []
    for k in range(n_steps + 1):
        value = low + k * step
        ticks.append(Tick(axis.place(value), f"{value:g}"))
    return ticks, axis


def _horizontal(axis: _Axis, *, whole: bool) -> list[Tick]:
    """The round numbers on the horizontal axis; of epochs whole ones."""
    step = round_step(axis.last - axis.first, MOST_PLACES)
    if whole:
        step = max(1.0, step)
    start = step * math.ceil(axis.first / step)
    return [Tick(axis.place(value), f"{value:g}") for value in np.arange(start, axis.last + 1e-9, step)]


def _drawn_mark(mark: Mark, axis: _Axis) -> DrawnMark:
    """A mark on the axis; its band is cut off where the axis ends."""
    place = axis.place(mark.at)
    if mark.span is None:
        return DrawnMark(mark, place)
    left = axis.place(max(axis.first, mark.span[0]))
    right = axis.place(min(axis.last, mark.span[1]))
    return DrawnMark(mark, place, left, round(max(0.0, right - left), 1))


def _end(x_axis: _Axis, y_axis: _Axis, at: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Where the last measured value lies; the origin where none was measured."""
    known = np.nonzero(~np.isnan(values))[0]
    if not len(known):
        return 0.0, 0.0
    last = known[-1]
    return x_axis.place(float(at[last])), y_axis.place(float(values[last]))


def _path(x_axis: _Axis, y_axis: _Axis, at: np.ndarray, values: np.ndarray) -> str:
    """The measured values, joined by straight lines."""
    points = []
    for x, y in zip(at, values, strict=True):
        if not math.isnan(y):
            points.append(f"{x_axis.place(x):.1f} {y_axis.place(y):.1f}")
    if not points:
        return ""
    return "M" + "L".join(points)


def round_step(span: float, n: int) -> float:
    """Find round numbers for an axis.

    Args:
        span: length of the axis.
        n: the most pieces.

    Returns:
        The least of 1, 2 and 5 times a power of ten that cuts the span into at most n pieces; 1 for a span of 0.

    Example:
        >>> [round_step(s, 7) for s in (0.0, 3e-20, 0.3, 6, 100)]
        [1.0, 5e-21, 0.05, 1.0, 20.0]
    """
    if span <= 1e-300:  # its logarithm is none, or that of its pieces
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / n))
    for multiple in (1, 2, 5):
        if span / (multiple * power) <= n + 1e-9:
            return float(f"{multiple * power:.6g}")
    return float(f"{10 * power:.6g}")
