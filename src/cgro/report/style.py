"""One look for every figure: colors that survive color blindness and gray print, units on every axis, text that is safe.

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
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cgro._check import one_line
from cgro.runs import write_atomic

# Okabe and Ito (2008), told apart with every common color blindness; line styles tell them apart in gray.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#666666",
)  # fmt: skip
TRAIN: dict[str, Any] = {"linestyle": "--"}
TEST: dict[str, Any] = {"linestyle": "-"}

LONGEST_TEXT = 60
"""Characters of a text from outside that a figure shows: in capitals about the width of its axes. A choice."""
NORMS = {"inf": r"$\ell_\infty$", "1": r"$\ell_1$", "2": r"$\ell_2$"}

_RC: dict[Any, Any] = {
    "figure.dpi": 120, "savefig.dpi": 160, "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "grid.linewidth": 0.6,
    "legend.frameon": False, "lines.linewidth": 1.8, "svg.hashsalt": "cgro", "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
}  # fmt: skip


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
    """
    # Wrapped first: a line break inside an escaped dollar sign would bring it back.
    lines = textwrap.wrap(one_line(str(text), width * n_lines), width)
    return "\n".join(plain_text(line, width) for line in lines[:n_lines])


def norm_text(p: object) -> str:
    """The norm of a threat as mathtext; of an unknown one, in a file that others wrote, the text itself.

    >>> norm_text(2), norm_text("seven")
    ('$\\\\ell_2$', 'seven')
    """
    return NORMS.get(str(p), plain_text(p))


@contextlib.contextmanager
def figure(path: Path, width: float = 7.0, height: float = 4.2) -> Iterator[Figure]:
    """A figure that is written as `path`.png and `path`.svg when the block ends. No global pyplot state.

    Both are drawn in memory before the first is written, and each replaces its file whole or not at all. The SVG carries
    no date, so equal results give equal files.

    Args:
        path: of the files; another suffix is replaced.
        width: in inches.
        height: in inches.

    Raises:
        BadRequest: the disk is full or not writable; old files are intact.
    """
    with matplotlib.rc_context(_RC):
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
            drawing.savefig(raster, format="png")
            drawing.savefig(vector, format="svg", metadata={"Date": None})
        write_atomic(path.with_suffix(".png"), raster.getvalue())
        write_atomic(path.with_suffix(".svg"), vector.getvalue())
