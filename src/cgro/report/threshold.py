"""The figure of the sample threshold of Section 5: who wins the race between signal and noise, by N, rho and d."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from cgro.report.style import (
    DOTTED,
    ERROR_SCALE,
    INK,
    MARK,
    MARKERS,
    MEMORY,
    draw_band,
    figure,
    look_of,
    plain_ticks,
    shades,
)

MARKED = 30.0
"""Area of a cell's marker, in square points."""


@dataclass(frozen=True)
class Transition:
    """Runs that differ in the number of training examples N alone.

    Attributes:
        rho: share of the signal that the attack leaves.
        patch_dim: d.
        power: q.
        predicted: N at which half of the examples are memorized.
        halves: the same measured, per seed that shows it.
        overlap: of noise patches, which the prediction leaves out; see `cgro.experiments.transitions.Line`.
        sizes: N, increasing.
        memorized: per N, the share of each seed.
        robust_test: per N, the robust test error of each seed.
    """

    rho: float
    patch_dim: int
    power: float
    predicted: float
    halves: Sequence[float]
    overlap: float
    sizes: Sequence[int]
    memorized: Sequence[Sequence[float]]
    robust_test: Sequence[Sequence[float]]


def threshold_figure(
    path: Path, over_rho: Sequence[Transition], over_dim: Sequence[Transition], others: Sequence[Transition]
) -> None:
    """Draw the phase diagram over rho and N, the share memorized over N by dimension, and what overlap of noise adds.

    Args:
        path: of the files; another suffix is replaced.
        over_rho: transitions of one setting at several rho.
        over_dim: of several dimensions at one rho.
        others: of other powers; only the last panel shows them.
    """
    with figure(path, width=14.5, height=4.4) as drawing:
        left, middle, right = drawing.subplots(1, 3)
        image = _draw_phases(left, over_rho)
        drawing.colorbar(image, ax=left, label="robust test error (%)")
        _draw_shares(middle, over_dim)
        _draw_ratios(right, [*over_rho, *over_dim, *others])


def _draw_phases(axes: Axes, lines: Sequence[Transition]) -> PathCollection:
    """A marker per setting, colored by the mean robust test error, and the predicted line."""
    rhos, sizes, errors = [], [], []
    for line in lines:
        for size, error in zip(line.sizes, line.robust_test, strict=True):
            rhos.append(line.rho)
            sizes.append(size)
            errors.append(100 * np.mean(error))
    image = axes.scatter(
        rhos, sizes, c=errors, s=MARKED, cmap=ERROR_SCALE, vmin=0, vmax=50, edgecolors=MARK, linewidths=0.5, marker="s"
    )
    along = np.array(sorted((line.rho, line.predicted) for line in lines))
    axes.plot(*along.T, color=INK, label="predicted: half memorized, nothing fitted")
    axes.set(xscale="log", yscale="log", xlabel="rho = 1 - radius / signal", ylabel="training examples N")
    axes.set_title("CGRO below the line, robust above")
    plain_ticks(axes.xaxis, axes.yaxis)
    axes.set_xticks(along.T[0])
    axes.legend(loc="upper right")
    axes.grid(False)
    return image


def _draw_shares(axes: Axes, lines: Sequence[Transition]) -> None:
    """Shares memorized against N over the prediction, mean and range of seeds, a line per dimension."""
    for k, (line, shade) in enumerate(zip(lines, shades(MEMORY, len(lines)), strict=True)):
        x = np.array(line.sizes) / line.predicted
        shares = 100 * np.array(line.memorized)
        marker = MARKERS[k % len(MARKERS)]
        label = f"d = {line.patch_dim:,}"
        draw_band(axes, x, shares, color=shade, label=label, linestyle="-", marker=marker)
    axes.axvline(1.0, color=INK, label="predicted half", **DOTTED)
    axes.axhline(50, color=MARK, linewidth=0.8, **DOTTED)
    axes.set(xscale="log", xlabel="N / predicted N at half", ylabel="training examples memorized (%)", ylim=(-3, 103))
    axes.set_xlim(left=0.3)
    plain_ticks(axes.xaxis, axes.yaxis)
    axes.set_xticks([0.5, 1.0, 2.0, 3.0])
    axes.set_title("the transition, by dimension")
    axes.legend(loc="lower left")


def _draw_ratios(axes: Axes, lines: Sequence[Transition]) -> None:
    """Measured over predicted N at half against the overlap: mean, and range of seeds."""
    powers = sorted({line.power for line in lines})
    for k, power in enumerate(powers):
        look = look_of(k)
        axes.plot([], [], color=look.color, marker=look.marker, linestyle="none", label=f"q = {power:g}")
        for line in lines:
            if line.power == power and line.halves:
                ratios = np.array(line.halves) / line.predicted
                axes.plot([line.overlap] * 2, [ratios.min(), ratios.max()], color=look.color, linewidth=0.8)
                axes.plot(line.overlap, ratios.mean(), color=look.color, marker=look.marker, linestyle="none")
    axes.axhline(1.0, color=INK, label="predicted, without overlap", **DOTTED)
    axes.set(xscale="log", xlabel="overlap sqrt(N / (m d)) / v_0", ylabel="measured / predicted N at half")
    plain_ticks(axes.xaxis, axes.yaxis)
    axes.set_xticks([0.5, 1.0, 2.0, 4.0])
    axes.set_ylim(bottom=0)
    axes.set_title("what the overlap of noise adds")
    axes.legend(loc="lower right")
