"""One look for every figure: one meaning per color, units on every axis, text that is safe.

A color says what is measured, the style of a line on which part of the data: blue is clean, vermilion is robust (under
attack), dashes are training, a solid line is test. The legend of one figure then reads in all others. So this module
alone writes colors; others take one by its meaning, and the hues have no public name.

Text from outside (names of data, classes, runs and attacks) is written by whoever made the data or the run. It passes
`plain_text` before it enters a figure: nothing a name can hold ends a training at its figure. The rejected alternative
is to catch what drawing raises: then such a run would finish without its figure.
"""

import contextlib
import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import Bbox

from cgro._check import one_line
from cgro.runs import write_atomic

# Okabe and Ito (2008), told apart with every common color blindness; line styles tell them apart in gray.
_BLUE = "#0072B2"
_ORANGE = "#E69F00"
_GREEN = "#009E73"
_VERMILION = "#D55E00"
_PURPLE = "#CC79A7"
_SKY = "#56B4E9"
_GRAY = "#666666"

CLEAN = _BLUE
ROBUST = _VERMILION
GAP = _PURPLE
"""Robust generalization gap: robust test error minus robust training error."""
MEMORY = _GREEN
"""What is memorized: margins, noise and parameters that hold training examples only."""
FLATNESS = _ORANGE
SIGNAL = _SKY
"""What generalizes on patch data: margins and filters along the signal."""
MARK = _GRAY
"""Lines at an epoch, a step or a radius, what is written beside them, and what others measured (the paper, peers)."""
TEXT_MARK = "#595959"
"""`MARK` where its line and its words are text of a page: 7 to 1 on white, as WCAG asks for at its level AAA."""
INK = "#000000"
"""Predictions and fits drawn over what was measured, and outlines."""
PAPER = "#FFFFFF"
COMPARED = (INK, "#999933", "#882255")
"""Several of one kind in one figure (attacks, seeds, variants): these colors mean nothing, the legend names each.

The last two are from Tol's "muted" scheme, since of Okabe and Ito's colors no more are free. A choice.
"""
MARKERS = ("o", "s", "^", "D")
"""As many that with `COMPARED`, both in turn, the first twelve look different."""
HATCHES = ("", "////", "....", "\\\\\\\\")
"""For areas what `MARKERS` are for lines."""

LIGHTEST = 0.45
"""Share of paper in the lightest of several shades: lighter ones are hardly seen. A choice."""
DARKEST = 0.55
"""Share of ink in the darkest: darker ones look black."""
ERROR_SCALE = "cividis"
"""Scale of matplotlib for a map of errors or accuracies; the same to readers who see no red or no green."""
SIGNED_SCALE = "RdBu_r"
"""Of what can be below and above 0, which is white."""
PIXEL_SCALE = "gray"
"""Of images."""


class Look(NamedTuple):
    """How one of several of a kind is drawn.

    Attributes:
        color: of `COMPARED`.
        marker: of `MARKERS`, at its points.
        hatch: of `HATCHES`, in its area.
    """

    color: str
    marker: str
    hatch: str


def look_of(k: int) -> Look:
    """How the k-th of several of a kind is drawn; the first twelve differ in two ways that need no legend's order.

    Args:
        k: place, from 0.

    Returns:
        Color, marker and hatch. The hatch changes where the colors are used up.

    Example:
        >>> look_of(0), look_of(4)
        (Look(color='#000000', marker='o', hatch=''), Look(color='#999933', marker='o', hatch='////'))
    """
    n_colors = len(COMPARED)
    return Look(COMPARED[k % n_colors], MARKERS[k % len(MARKERS)], HATCHES[k // n_colors % len(HATCHES)])


class LineStyle(TypedDict):
    """The keyword by which `Axes.plot` and `Axes.errorbar` take the style of a line."""

    linestyle: str


TRAIN: LineStyle = {"linestyle": "--"}
TEST: LineStyle = {"linestyle": "-"}
DOTTED: LineStyle = {"linestyle": ":"}
_LINES = {"train": TRAIN, "test": TEST, "validation": DOTTED, "between": DOTTED}

PIXELS_PER_INCH = 160
"""Of the PNG of a figure. A choice: sharp on a screen of two pixels a point."""
LONGEST_TEXT = 60
"""Characters of a text from outside that a figure shows: in capitals about the width of its axes. A choice."""
NORMS = {"inf": r"$\ell_\infty$", "1": r"$\ell_1$", "2": r"$\ell_2$"}


def line_of(part: str) -> LineStyle:
    """How a line over one part of the data is drawn.

    Args:
        part: "train", "test", "validation" or "between"; a name that this version does not know is dash-dotted.

    Returns:
        Keywords for `Axes.plot` and `Axes.errorbar`.

    Example:
        >>> line_of("train"), line_of("else")
        ({'linestyle': '--'}, {'linestyle': '-.'})
    """
    return _LINES.get(part, {"linestyle": "-."})


def plain_text(text: object, limit: int = LONGEST_TEXT) -> str:
    r"""Text from outside, as a figure can show it, whoever wrote it.

    One line without control characters, lone surrogates and marks of direction (`one_line`), so that an SVG is XML and
    UTF-8. A dollar sign is escaped: it stands for itself and opens no mathtext, also beside mathtext of ours, which
    turning `parse_math` off would print as source.

    Args:
        text: any value; its text is shown.
        limit: longest result, in characters before escaping; the middle of a longer one is left out.

    Returns:
        Text for a title, label, legend or annotation.

    Example:
        >>> plain_text("mnist5k")
        'mnist5k'
        >>> print(plain_text("a $\\frac{1}{$\nname"))
        a \$\frac{1}{\$ name
    """
    return one_line(str(text), limit).replace("$", r"\$")


def wrapped_text(text: object, width: int, n_lines: int) -> str:
    """Text from outside in lines; see `plain_text`.

    Args:
        text: any value; its text is shown.
        width: of a line, in characters.
        n_lines: how many lines are kept.

    Returns:
        At most `n_lines` lines; the middle of a longer text is left out.
    """
    # Wrapped first: a line break inside an escaped dollar sign would bring it back.
    lines = textwrap.wrap(one_line(str(text), width * n_lines), width)
    return "\n".join(plain_text(line, width) for line in lines[:n_lines])


def norm_text(p: object) -> str:
    """The norm of a threat as mathtext.

    Args:
        p: 1, 2 or "inf"; in a file that others wrote, anything.

    Returns:
        Text for a title; of a norm that is none of these, its own text.

    Example:
        >>> norm_text(2), norm_text("seven")
        ('$\\\\ell_2$', 'seven')
    """
    return NORMS.get(str(p), plain_text(p))


def shades(color: str, n: int) -> list[str]:
    """One color from light to dark, for lines of one meaning that have an order.

    Args:
        color: of the palette.
        n: how many.

    Returns:
        Of the color mixed with paper, itself in the middle, and mixed with ink; of one line the color itself.

    Example:
        >>> shades(MEMORY, 3)
        ['#73cab2', '#009e73', '#004734']
    """
    found = []
    for share in np.linspace(-1.0, 1.0, n) if n > 1 else [0.0]:
        end, most = (PAPER, LIGHTEST) if share < 0 else (INK, DARKEST)
        mixed = (1 - most * abs(share)) * np.array(to_rgb(color)) + most * abs(share) * np.array(to_rgb(end))
        found.append(to_hex(tuple(mixed)))
    return found


@contextlib.contextmanager
def figure(path: Path, width: float = 7.0, height: float = 4.2) -> Iterator[Figure]:
    """A figure that is written as `path`.png and `path`.svg when the block ends. No global pyplot state.

    Both are drawn in memory before the first is written, and each replaces its file whole or not at all. The SVG
    carries no date, so equal results give equal files.

    Args:
        path: of the files; another suffix is replaced.
        width: in inches.
        height: in inches.

    Yields:
        The empty figure, to draw on.

    Raises:
        BadRequest: the disk is full or not writable; old files are intact.
    """
    with _look():
        drawing = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawing)
        yield drawing
        raster = io.BytesIO()
        vector = io.BytesIO()
        with warnings.catch_warnings():
            # A character that the font lacks is drawn as a box, and by its own font where the SVG is shown. Where names
            # leave the axes no room, the figure is drawn without the layout. Neither is worth a line on the terminal.
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
            _place_names(drawing)
            _lay_out(drawing)
            _draw_png(drawing, raster)
            _draw_svg(drawing, vector)
        write_atomic(path.with_suffix(".png"), raster.getvalue())
        write_atomic(path.with_suffix(".svg"), vector.getvalue())


def _lay_out(drawing: Figure) -> None:
    """Decide where everything lies, for both files. `Figure.savefig` would do that four times, and draw as often."""
    drawing.set_dpi(PIXELS_PER_INCH)
    engine = drawing.get_layout_engine()
    if engine is not None and drawing.axes:
        engine.execute(drawing)
    drawing.set_layout_engine("none")


def _draw_png(drawing: Figure, file: io.BytesIO) -> None:
    FigureCanvasAgg(drawing).print_png(file)


def _draw_svg(drawing: Figure, file: io.BytesIO) -> None:
    FigureCanvasSVG(drawing).print_svg(file, metadata={"Date": None})


NAME = "_name of a mark"
"""Label of such a text; the underscore keeps it out of legends."""


PLACES = (("left", 7, "bottom", 5), ("left", 7, "top", -5), ("right", -7, "bottom", 5), ("right", -7, "top", -5))
"""Around a mark, where its name may stand, in the order of trial: alignment and distance in points, across and up."""
HALF_MARK = 4
"""Points from the middle of a mark to its edge."""


def name_mark(axes: Axes, name: str, point: tuple[float, float], color: str) -> None:
    """Write a name beside a mark, in a figure with a legend; left out where it would lie over another mark or name.

    Args:
        axes: to write on.
        name: plain text.
        point: of the mark, in the units of the axes.
        color: of the mark.
    """
    text = axes.annotate(name, point, xytext=(0, 0), textcoords="offset points", fontsize=8, color=color)
    text.set_label(NAME)
    _put(text, PLACES[0])


def _put(text: Annotation, place: tuple[str, int, str, int]) -> None:
    across, right, along, up = place
    text.set(horizontalalignment=across, verticalalignment=along, position=(right, up))


def _place_names(drawing: Figure) -> None:
    """Put names of marks where they are free of other marks, of names that were placed before, and of the edge; hide
    those for which there is no such place."""
    for axes in drawing.axes:
        names = [text for text in axes.texts if isinstance(text, Annotation) and text.get_label() == NAME]
        if names:
            drawing.draw_without_rendering()  # the layout decides what lies where
        half = HALF_MARK * drawing.dpi / 72
        marks: list[Bbox] = []
        for text in names:
            x, y = axes.transData.transform(text.xy)
            marks.append(Bbox.from_extents(x - half, y - half, x + half, y + half))
        written: list[Bbox] = []
        for k, text in enumerate(names):
            free = _free_place(text, marks[:k] + marks[k + 1 :] + written, axes.bbox)
            text.set_visible(free is not None)
            if free is not None:
                written.append(free)


def _free_place(text: Annotation, taken: list[Bbox], inside: Bbox) -> Bbox | None:
    """Put a name in the first place that is free, and return what it covers; None where there is none."""
    for place in PLACES:
        _put(text, place)
        box = text.get_window_extent()
        if inside.x0 <= box.x0 and box.x1 <= inside.x1 and not box.count_overlaps(taken):
            return box
    return None


def _look() -> contextlib.AbstractContextManager[None]:
    """The settings of matplotlib under which every figure is drawn and written."""
    return matplotlib.rc_context(
        {
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=COMPARED),  # what is given no color gets one that means nothing
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "figure.dpi": 120,
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.handlelength": 3.0,  # long enough that dashes are seen as dashes, also behind a marker
            "lines.linewidth": 1.8,
            "image.composite_image": False,  # in an SVG each image keeps its own pixels
            "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
            "svg.hashsalt": "cgro",
        }
    )


def draw_band(
    axes: Axes,
    x: np.ndarray,
    values: Sequence[Sequence[float]] | np.ndarray,
    *,
    color: str,
    label: str,
    linestyle: str,
    marker: str = "",
) -> None:
    """Draw the mean over seeds, and as a band the range from the smallest to the largest seed.

    Args:
        axes: where.
        x: (T,) what the values are drawn against.
        values: (T, seeds), in the unit of the axis; there may be more seeds at one place than at another.
        color: of both.
        label: of the line, for the legend.
        linestyle: of the line.
        marker: at each value; none if empty.
    """
    means = [np.mean(seeds) for seeds in values]
    axes.plot(x, means, color=color, label=label, linestyle=linestyle, marker=marker, markersize=4)
    if any(len(seeds) > 1 for seeds in values):
        lowest = [np.min(seeds) for seeds in values]
        highest = [np.max(seeds) for seeds in values]
        axes.fill_between(x, lowest, highest, color=color, alpha=0.18, linewidth=0)


def plain_ticks(*axes: Axis) -> None:
    """Write the numbers at the ticks of logarithmic axes as people do, and none between.

    Args:
        axes: `Axes.xaxis`, `Axes.yaxis` or both.
    """
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def width_ticks(axes: Axes, widths: Iterable[int]) -> None:
    """Double along the x axis, with a tick and its number at each width or size that was measured.

    Args:
        axes: where.
        widths: in any order.
    """
    ticks = sorted(set(widths))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
    axes.xaxis.set_minor_formatter(NullFormatter())


def counted(n: int, noun: str) -> str:
    """Write a number with its noun.

    Args:
        n: how many.
        noun: in the singular; its plural ends in s.

    Returns:
        Both.

    Example:
        >>> counted(1, "seed"), counted(3, "seed")
        ('1 seed', '3 seeds')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
