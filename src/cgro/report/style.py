"""One look for every figure: one meaning per color, units on every axis, text that is safe.

A color says what is measured, the style of a line on which part of the data: blue is clean, vermilion is robust (under
attack), dashes are training, a solid line is test. The legend of one figure then reads in all others.

Text from outside (names of data, classes, runs and attacks) is written by whoever made the data or the run. It passes
`plain_text` before it enters a figure: nothing a name can hold ends a training at its figure. The rejected alternative
is to catch what drawing raises: then such a run would finish without its figure.
"""

import contextlib
import io
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from cgro._check import one_line
from cgro.runs import write_atomic

# Okabe and Ito (2008), told apart with every common color blindness; line styles tell them apart in gray.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
RED = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
GREY = "#666666"

CLEAN = BLUE
ROBUST = RED
GAP = PURPLE
"""Robust generalization gap: robust test error minus robust training error."""
MEMORY = GREEN
"""What is memorized: margins, noise and parameters that hold training examples only."""
FLATNESS = ORANGE
MARK = GREY
"""Lines at an epoch, a step or a radius, and what is written beside them."""
SIGNAL = SKY
COMPARED = ("#000000", "#999933", "#882255")
"""Several of one kind in one figure (attacks, seeds, variants): these colors mean nothing, the legend names each.

The last two are from Tol's "muted" scheme, since of Okabe and Ito's colors no more are free. A choice.
"""
MARKERS = ("o", "s", "^", "D")
"""As many that with `COMPARED`, both in turn, the first twelve look different."""


class LineStyle(TypedDict):
    """The keyword by which `Axes.plot` and `Axes.errorbar` take the style of a line."""

    linestyle: str


TRAIN: LineStyle = {"linestyle": "--"}
TEST: LineStyle = {"linestyle": "-"}
DOTTED: LineStyle = {"linestyle": ":"}
_LINES = {"train": TRAIN, "test": TEST, "validation": DOTTED, "between": DOTTED}

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
            _leave_out_crowded(drawing)
            drawing.savefig(raster, format="png")
            drawing.savefig(vector, format="svg", metadata={"Date": None})
        write_atomic(path.with_suffix(".png"), raster.getvalue())
        write_atomic(path.with_suffix(".svg"), vector.getvalue())


NAME = "_name of a mark"
"""Label of such a text; the underscore keeps it out of legends."""


def name_mark(axes: Axes, name: str, point: tuple[float, float], color: str) -> None:
    """Write a name beside a mark, in a figure with a legend; left out where it would lie over another mark or name.

    Args:
        axes: to write on.
        name: plain text.
        point: of the mark, in the units of the axes.
        color: of the mark.
    """
    text = axes.annotate(name, point, xytext=(7, 5), textcoords="offset points", fontsize=8, color=color)
    text.set_label(NAME)


def _leave_out_crowded(drawing: Figure) -> None:
    """Hide names of marks that lie over another mark, or over a name that was written before."""
    for axes in drawing.axes:
        names = [text for text in axes.texts if isinstance(text, Annotation) and text.get_label() == NAME]
        if names:
            drawing.draw_without_rendering()  # the layout decides what lies where
        marks = [axes.transData.transform(text.xy) for text in names]
        written: list[Bbox] = []
        for k, text in enumerate(names):
            box = text.get_window_extent()
            others = marks[:k] + marks[k + 1 :]
            if box.count_contains(others) or box.count_overlaps(written):
                text.set_visible(False)
            else:
                written.append(box)


def _look() -> contextlib.AbstractContextManager[None]:
    """The settings of matplotlib under which every figure is drawn and written."""
    return matplotlib.rc_context(
        {
            "axes.grid": True,
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
            "savefig.dpi": 160,
            "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
            "svg.hashsalt": "cgro",
        }
    )


def draw_band(
    axes: Axes, x: np.ndarray, values: np.ndarray, *, color: str, label: str, linestyle: str, marker: str = ""
) -> None:
    """Draw the mean over seeds, and as a band the range from the smallest to the largest seed.

    Args:
        axes: where.
        x: (T,) what the values are drawn against.
        values: (T, seeds), in the unit of the axis.
        color: of both.
        label: of the line, for the legend.
        linestyle: of the line.
        marker: at each value; none if empty.
    """
    axes.plot(x, values.mean(1), color=color, label=label, linestyle=linestyle, marker=marker, markersize=3)
    if values.shape[1] > 1:
        axes.fill_between(x, values.min(1), values.max(1), color=color, alpha=0.18, linewidth=0)


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
