"""What the tests of figures share: the figure itself, before it becomes pixels."""

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cgro.report import style


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, in order; their files are left empty, as pixels take the time."""
    figures: list[Figure] = []

    monkeypatch.setattr(style, "_draw_png", lambda drawing, file: figures.append(drawing))
    monkeypatch.setattr(style, "_draw_svg", lambda drawing, file: None)
    return figures


@pytest.fixture
def lines_of():
    """A function: axes -> label -> line, of the lines that the legend names."""

    def by_label(axes: Axes) -> dict[str, Line2D]:
        handles, labels = axes.get_legend_handles_labels()
        lines = [getattr(handle, "lines", [handle])[0] for handle in handles]  # of error bars the line
        return dict(zip(labels, lines, strict=True))

    return by_label
