"""The phase map of training against an attack on every patch: measured cells on predicted boundaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgro.report.style import COMPARED, MARK, MEMORY, SIGNAL, figure

NAMES = {
    "robust": ("robust: the signal suffices", SIGNAL, "o"),
    "cgro": ("CGRO: fits, does not generalize under attack", MEMORY, "s"),
    "unfitted": ("does not fit under attack", COMPARED[1], "v"),
    "clean_overfitting": ("clean overfitting", COMPARED[2], "^"),
    "between": ("none of these", MARK, "x"),
}
"""Phase -> its words, color and marker: in the colors of signal and memory what they alone explain."""


@dataclass(frozen=True)
class Point:
    """A measured cell.

    Args:
        radius_ratio: delta / alpha.
        noise_ratio: |xi| / delta.
        phase: a key of `NAMES`.
        train: full-ball error on training examples in percent.
        test: the same on unseen examples.
    """

    radius_ratio: float
    noise_ratio: float
    phase: str
    train: float
    test: float


@dataclass(frozen=True)
class Boundaries:
    """Predicted lines.

    Args:
        radius_ratios: delta / alpha.
        fit: |xi| / delta from which memory fits; 0 where it is not needed.
        clean: |xi| / delta from which noise is learned first.
        threshold: delta / alpha up to which the signal alone is robust.
    """

    radius_ratios: Sequence[float]
    fit: Sequence[float]
    clean: Sequence[float]
    threshold: float


def phase_map(path: Path, points: Sequence[Point], lines: Boundaries) -> Path:
    """Draw cells by phase, their errors beside them, and the predicted boundaries.

    Args:
        path: the file, without ending.
        points: measured cells.
        lines: predicted.

    Returns:
        The PNG; an SVG lies beside it.
    """
    ratios = np.array(lines.radius_ratios)
    fit = np.where(np.array(lines.fit) > 0, lines.fit, np.nan)
    with figure(path, 8.0, 5.2) as drawing:
        axes = drawing.add_subplot()
        lowest = 0.55
        axes.plot(ratios, lines.clean, color=MARK, linestyle="--", label="predicted: noise is learned first above")
        axes.plot(ratios, fit, color=MARK, label="predicted: memory fits above")
        top = float(np.interp(lines.threshold, ratios, lines.clean))
        axes.plot([lines.threshold] * 2, [lowest, top], color=MARK, linestyle=":", label="signal alone: 1/√2")
        for phase, (words, color, marker) in NAMES.items():
            of_phase = [point for point in points if point.phase == phase]
            if not of_phase:
                continue
            places = np.array([(point.radius_ratio, point.noise_ratio) for point in of_phase])
            axes.scatter(*places.T, s=90, color=color, marker=marker, label=words, zorder=3)
        for point in points:
            text = f"{point.train:.0f} / {point.test:.0f}"
            at = (point.radius_ratio, point.noise_ratio)
            # Beside the marker: above it the boundaries would cross the numbers.
            axes.annotate(text, at, xytext=(9, 0), textcoords="offset points", va="center", fontsize=7)
        axes.set(yscale="log", xlim=(0.55, 1.04), ylim=(lowest, 8.0))
        axes.set_yticks([0.8, 1.2, 1.6, 2.2, 3.0, 6.0], ["0.8", "1.2", "1.6", "2.2", "3", "6"])
        axes.minorticks_off()
        axes.set(xlabel=r"radius / signal strength, $\delta/\alpha$", ylabel=r"noise patch / radius, $|\xi|/\delta$")
        axes.set_title("Attack on every patch: full-ball error, train / test (%)")
        drawing.legend(loc="outside lower center", ncols=2, fontsize=8)
    return path.with_suffix(".png")
