"""The figure of the sample threshold of Section 5: who wins the race between signal and noise, by N, rho and d."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.ticker import FuncFormatter, NullFormatter

from cgro.report.style import COMPARED, MARK, MARKERS, MEMORY, figure

MARKED = 30.0
"""Area of a cell's marker, in square points."""
DIMS = colormaps.get_cmap("viridis")
"""Of dimensions, which have an order."""


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
        rhos, sizes, c=errors, s=MARKED, cmap="cividis", vmin=0, vmax=50, edgecolors=MARK, linewidths=0.5, marker="s"
    )
    along = np.array(sorted((line.rho, line.predicted) for line in lines))
    axes.plot(*along.T, color="black", label="predicted: half memorized, nothing fitted")
    axes.set(xscale="log", yscale="log", xlabel="rho = 1 - radius / signal", ylabel="training examples N")
    axes.set_title("CGRO below the line, robust above")
    _plain_ticks(axes)
    axes.set_xticks(along.T[0])
    axes.legend(loc="upper right")
    axes.grid(False)
    return image


def _draw_shares(axes: Axes, lines: Sequence[Transition]) -> None:
    """Shares memorized against N over the prediction, mean over seeds, a line per dimension; darker is larger."""
    for k, line in enumerate(lines):
        x = np.array(line.sizes) / line.predicted
        shares = 100 * np.mean(line.memorized, axis=1)
        color = DIMS(1 - k / max(len(lines) - 1, 1) * 0.85)
        axes.plot(x, shares, color=color, marker=MARKERS[k % len(MARKERS)], label=f"d = {line.patch_dim:,}")
    axes.axvline(1.0, color=MEMORY, linestyle=":", label="predicted half")
    axes.axhline(50, color=MARK, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="N / predicted N at half", ylabel="training examples memorized (%)", ylim=(-3, 103))
    axes.set_xlim(left=0.3)
    _plain_ticks(axes)
    axes.set_xticks([0.5, 1.0, 2.0, 3.0])
    axes.set_title("the transition, by dimension")
    axes.legend(loc="lower left")


def _draw_ratios(axes: Axes, lines: Sequence[Transition]) -> None:
    """Measured over predicted N at half against the overlap: mean, and range of seeds."""
    powers = sorted({line.power for line in lines})
    for k, power in enumerate(powers):
        color, marker = COMPARED[k % len(COMPARED)], MARKERS[k % len(MARKERS)]
        axes.plot([], [], color=color, marker=marker, linestyle="none", label=f"q = {power:g}")
        for line in lines:
            if line.power == power and line.halves:
                ratios = np.array(line.halves) / line.predicted
                axes.plot([line.overlap] * 2, [ratios.min(), ratios.max()], color=color, linewidth=0.8)
                axes.plot(line.overlap, ratios.mean(), color=color, marker=marker, linestyle="none")
    axes.axhline(1.0, color=MEMORY, linestyle=":", label="predicted, without overlap")
    axes.set(xscale="log", xlabel="overlap sqrt(N / (m d)) / v_0", ylabel="measured / predicted N at half")
    _plain_ticks(axes)
    axes.set_xticks([0.5, 1.0, 2.0, 4.0])
    axes.set_ylim(bottom=0)
    axes.set_title("what the overlap of noise adds")
    axes.legend(loc="lower right")


def _plain_ticks(axes: Axes) -> None:
    """Numbers at the ticks of logarithmic axes as people write them, and none between."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_formatter(NullFormatter())
