"""The figure of the finite-size law of U: alpha^q U against alpha, with the predicted slopes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter, ScalarFormatter

from cgro.report.style import figure, look_of, plain_text


@dataclass(frozen=True)
class Growth:
    """Runs that differ in alpha.

    Attributes:
        power: q.
        start: how the filters start, in words.
        strengths: alpha, increasing.
        margins: (alphas, seeds) alpha^q U at the end.
        slope: predicted, of log alpha^q U on log alpha.
    """

    power: float
    start: str
    strengths: Sequence[float]
    margins: np.ndarray
    slope: float


def alpha_law_figure(path: Path, growths: Sequence[Growth]) -> None:
    """Draw alpha^q U over alpha, one panel per start of the filters; lines have the predicted slope.

    A line passes through the mean of the logarithms: its height is measured, its slope is not.

    Args:
        path: of the files; another suffix is replaced.
        growths: of all powers and starts.
    """
    starts = list(dict.fromkeys(growth.start for growth in growths))
    powers = list(dict.fromkeys(growth.power for growth in growths))
    with figure(path, width=9.0, height=4.2) as drawing:
        panels = drawing.subplots(1, len(starts), sharey=True, squeeze=False)[0]
        for axes, start in zip(panels, starts, strict=True):
            for growth in growths:
                if growth.start != start:
                    continue
                k = powers.index(growth.power)
                x = np.array(growth.strengths)
                logs = np.log(growth.margins)
                line = np.exp(logs.mean() + growth.slope * (np.log(x) - np.log(x).mean()))
                label = f"q = {growth.power:g}, predicted slope {growth.slope:.3f}"
                color, marker, _ = look_of(k)
                axes.plot(x, line, color=color, linewidth=1.2, label=label)
                axes.plot(x, np.exp(logs.mean(1)), color=color, marker=marker, linestyle="none", markersize=5)
            axes.set(xscale="log", yscale="log", xlabel="signal strength alpha", title=plain_text(start))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(ScalarFormatter())
                axis.set_minor_formatter(NullFormatter())
            axes.set_xticks([2, 3, 4, 6])
            axes.set_yticks([8, 10, 12, 14, 16, 18, 20])
            axes.legend(loc="upper left", fontsize=8)
        panels[0].set_ylabel("signal margin alpha^q U")
