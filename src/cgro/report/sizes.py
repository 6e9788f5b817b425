"""The robust gap and robust accuracies against the number of training images, a line per radius."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from cgro.report.style import COMPARED, MARK, MARKERS, TEST, TRAIN, LineStyle, figure, plain_text

BAND = 0.15
"""Opacity of the range of seeds."""


class Size(Protocol):
    """Networks trained on n images: numbers per seed."""

    @property
    def n(self) -> int:
        """Training images."""
        ...

    @property
    def gaps(self) -> Sequence[float]:
        """Robust gap in points."""
        ...

    @property
    def robust_train(self) -> Sequence[float]:
        """Robust training accuracy in percent."""
        ...

    @property
    def robust_test(self) -> Sequence[float]:
        """Robust test accuracy in percent."""
        ...


def sizes_figure(path: Path, lines: Mapping[float, Sequence[Size]], *, closed: float, title: str) -> Path:
    """Draw the gap by radius on the left and the accuracies that it is the difference of on the right.

    Args:
        path: of the figure, without ending.
        lines: radius -> networks in the order of n.
        closed: gap in points that a dotted line marks.
        title: of the figure.

    Returns:
        The SVG file.
    """
    with figure(path, 9.6, 4.2) as drawing:
        left, right = drawing.subplots(1, 2)
        for k, (radius, sizes) in enumerate(lines.items()):
            look = (COMPARED[k % len(COMPARED)], MARKERS[k % len(MARKERS)])
            n = [size.n for size in sizes]
            _curve(left, n, [size.gaps for size in sizes], look, TEST, f"radius {radius:g}")
            _curve(right, n, [size.robust_train for size in sizes], look, TRAIN, f"radius {radius:g}, training")
            _curve(right, n, [size.robust_test for size in sizes], look, TEST, f"radius {radius:g}, test")
            for axes in (left, right):
                axes.set_xscale("log", base=2)
                axes.set_xticks(n, [f"{number:,}" for number in n], fontsize=8)
                axes.xaxis.set_minor_formatter(NullFormatter())
        left.axhline(closed, color=MARK, linewidth=0.8, linestyle=":")
        left.set(xlabel="training images N", ylabel="robust gap, training - test (points)")
        left.set_ylim(bottom=0)
        right.set(xlabel="training images N", ylabel="robust accuracy (%)")
        right.set_ylim(top=103)
        left.legend(fontsize=8)
        right.legend(fontsize=8)
        drawing.suptitle(plain_text(title), fontsize=11, fontweight="bold")
    return path.with_suffix(".svg")


def _curve(
    axes: Axes,
    sizes: Sequence[int],
    values: Sequence[Sequence[float]],
    look: tuple[str, str],
    style: LineStyle,
    label: str,
) -> None:
    """Mean and range over seeds."""
    color, marker = look
    means = [float(np.mean(seeds)) for seeds in values]
    axes.plot(sizes, means, color=color, marker=marker, markersize=4, label=label, **style)
    axes.fill_between(
        sizes, [min(seeds) for seeds in values], [max(seeds) for seeds in values], color=color, alpha=BAND, linewidth=0
    )
