"""The robust gap and robust accuracies against the number of training images, a line per radius."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from cgro.report.style import MARK, TEST, TRAIN, draw_band, figure, look_of, plain_text, width_ticks


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
            look = look_of(k)
            n = np.array([size.n for size in sizes])
            name = f"radius {radius:g}"
            for axes, values, style, label in (
                (left, [size.gaps for size in sizes], TEST, name),
                (right, [size.robust_train for size in sizes], TRAIN, f"{name}, training"),
                (right, [size.robust_test for size in sizes], TEST, f"{name}, test"),
            ):
                draw_band(axes, n, values, color=look.color, label=label, marker=look.marker, **style)
        measured = [size.n for sizes in lines.values() for size in sizes]
        width_ticks(left, measured)
        width_ticks(right, measured)
        left.axhline(closed, color=MARK, linewidth=0.8, linestyle=":")
        left.set(xlabel="training images N", ylabel="robust gap, training - test (points)")
        left.set_ylim(bottom=0)
        right.set(xlabel="training images N", ylabel="robust accuracy (%)")
        right.set_ylim(top=103)
        left.legend(fontsize=8)
        right.legend(fontsize=8)
        drawing.suptitle(plain_text(title), fontsize=11, fontweight="bold")
    return path.with_suffix(".svg")
