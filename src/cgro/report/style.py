"""One look for every figure: colours that survive colour blindness and grey print, units on every axis."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito (2008), told apart with every common colour blindness; line styles tell them apart in grey.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#666666",
)  # fmt: skip
TRAIN: dict[str, Any] = {"linestyle": "--"}
TEST: dict[str, Any] = {"linestyle": "-"}

_RC: dict[Any, Any] = {
    "figure.dpi": 120, "savefig.dpi": 160, "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "grid.linewidth": 0.6,
    "legend.frameon": False, "lines.linewidth": 1.8, "svg.hashsalt": "cgro", "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
}  # fmt: skip


@contextlib.contextmanager
def figure(path: Path, width: float = 7.0, height: float = 4.2) -> Iterator[Figure]:
    """A figure that is written as `path`.png and `path`.svg when the block ends. No global pyplot state.

    The SVG carries no date, so equal results give equal files.
    """
    with matplotlib.rc_context(_RC):
        drawing = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawing)
        yield drawing
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing.savefig(path.with_suffix(".png"))
        drawing.savefig(path.with_suffix(".svg"), metadata={"Date": None})
