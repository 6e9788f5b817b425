"""Figure of the bound on the robust gap: both of its sides, on one axis."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from cgro.report.style import GAP, MARK, ROBUST, counted, figure, plain_text
from cgro.results import Measured


class BoundSides(Protocol):
    """Both sides of the bound in nats, one number per seed."""

    @property
    def gap(self) -> Sequence[float]:
        """The measured robust gap of the loss."""
        ...

    @property
    def robust_loss(self) -> Sequence[float]:
        """On test images."""
        ...

    @property
    def bound(self) -> Sequence[float]:
        """What the bound allows."""
        ...


def bound_points(path: Path, data: Mapping[str, BoundSides]) -> Path:
    """The measured gap, the whole robust test loss and the bound's right side, on a logarithmic axis.

    Points are means over seeds and bars their 95% t intervals, cut off at a tenth of the mean where they reach 0; bars
    from the bottom of a logarithmic axis would have lengths that mean nothing.

    Args:
        path: of the figure, without ending.
        data: data set -> both sides.

    Returns:
        The SVG file.
    """
    shown = (
        ("measured gap of the loss", [sides.gap for sides in data.values()], GAP, "o"),
        ("robust test loss (no gap exceeds it)", [sides.robust_loss for sides in data.values()], ROBUST, "s"),
        ("the bound's right side", [sides.bound for sides in data.values()], MARK, "^"),
    )
    with figure(path, 6.4, 4.0) as drawing:
        axes: Axes = drawing.subplots()
        for k, (label, values, color, marker) in enumerate(shown):
            mean, lengths = _means_intervals(values)
            below_zero = ~(mean > 0)  # a gap of tiny networks may be; a logarithmic axis has no place for it
            mean[below_zero] = np.nan
            lengths[:, below_zero] = np.nan
            at = np.arange(len(data)) + 0.18 * (k - 1)
            axes.errorbar(
                at, mean, lengths, fmt=marker, color=color, markersize=7, capsize=3, elinewidth=1.2, label=label
            )
        n_seeds = max(len(sides.gap) for sides in data.values())
        axes.set_xticks(range(len(data)), [plain_text(name) for name in data])
        axes.set(yscale="log", ylabel="cross-entropy (nats)", xlim=(-0.6, len(data) - 0.4))
        axes.set_title(
            f"The bound on the robust gap: mean of {counted(n_seeds, 'seed')}, bars 95% intervals", fontsize=10
        )
        axes.grid(visible=False, axis="x")
        drawing.legend(loc="outside lower center", ncols=2, fontsize=9)
    return path.with_suffix(".svg")


def _means_intervals(groups: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Means, and (2, groups) lengths of their 95% intervals below and above; 0 for one seed."""
    means = []
    lengths = []
    for values in groups:
        found = Measured.of(values)
        low = high = found.mean
        if found.n > 1:
            low, high = found.interval
        low = max(low, 0.1 * found.mean)
        means.append(found.mean)
        lengths.append((found.mean - low, high - found.mean))
    return np.array(means), np.array(lengths).T
