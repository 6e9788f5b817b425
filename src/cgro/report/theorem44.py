"""Figures of Theorem 4.4: how many parameters the memory needs, and the robust test error that is left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from cgro.report.style import CLEAN, MARK, MEMORY, PAPER, ROBUST, figure, look_of, norm_text, plain_text
from cgro.results import Measured


class Size(Protocol):
    """A memory of N points in D dimensions: its norm, N D, parameters in general position, and D."""

    @property
    def p(self) -> str:
        """Norm: inf, 2 or 1."""
        ...

    @property
    def n_times_dim(self) -> int:
        """N D."""
        ...

    @property
    def generic(self) -> int:
        """Parameters for data in general position."""
        ...

    @property
    def dim(self) -> int:
        """D."""
        ...


LOOKS = {"inf": look_of(0), "2": look_of(1), "1": look_of(2)}
"""Of the norms."""


def size_law(path: Path, sizes: Sequence[Size], slopes: Mapping[str, float]) -> Path:
    """Parameters of the memory against N D in each norm, both axes logarithmic.

    Args:
        path: of the figure, without ending.
        sizes: memories at D = 64 and D = 784.
        slopes: norm -> power of N D.

    Returns:
        The SVG file.
    """
    with figure(path, 6.4, 4.2) as drawing:
        axes = drawing.subplots()
        for p in LOOKS:
            own = [size for size in sizes if size.p == p]
            if own:
                _size_line(axes, own, p, slopes[p])
        axes.plot([], [], "o", color=MARK, markerfacecolor=PAPER, label="D = 64 (digits)")
        axes.plot([], [], "o", color=MARK, label="D = 784 (mnist5k)")
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="training points N times dimension D",
            ylabel="parameters of the memory (generic)",
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=8)
    return path.with_suffix(".svg")


def _size_line(axes: Axes, sizes: Sequence[Size], p: str, slope: float) -> None:
    """The memories of one norm, the smallest first; open where D = 64."""
    color, marker, _ = LOOKS[p]
    ordered = sorted((size.n_times_dim, size.generic, size.dim) for size in sizes)
    x, y, dims = np.array(ordered, float).T
    axes.plot(x, y, color=color, linewidth=0.8, alpha=0.6)
    for dim, face in ((64, PAPER), (784, color)):
        axes.plot(x[dims == dim], y[dims == dim], marker, color=color, markerfacecolor=face, markersize=5)
    axes.plot([], [], marker, color=color, label=f"{norm_text(p)}: power of N D {slope:.3f}")


class Bracketed(Protocol):
    """Errors of a certified network in percent, one number per seed."""

    @property
    def robust_low(self) -> Sequence[float]:
        """Robust test error that an attack found."""
        ...

    @property
    def robust_high(self) -> Sequence[float]:
        """Robust test error that the certificate leaves; empty where it is not known."""
        ...

    @property
    def clean_error(self) -> Sequence[float]:
        """On test images."""
        ...

    @property
    def naive_pgd(self) -> Sequence[float]:
        """Robust test error that PGD finds."""
        ...

    @property
    def certified_error(self) -> Sequence[float]:
        """Robust training error."""
        ...


def robust_brackets(path: Path, tasks: Mapping[str, Bracketed]) -> Path:
    """Robust test error between attack and certificate, clean test error, and what naive PGD says.

    Args:
        path: of the figure, without ending.
        tasks: name -> errors.

    Returns:
        The SVG file.
    """
    with figure(path, max(6.4, 1.25 * len(tasks) + 1.2), 4.4) as drawing:
        axes = drawing.subplots()
        for k, task in enumerate(tasks.values()):
            _bracket(axes, k, task)
        axes.set_xticks(range(len(tasks)), [_in_lines(name) for name in tasks], fontsize=8)
        axes.set(ylabel="error (%)", ylim=(-3, 103))
        axes.grid(visible=False, axis="x")
        drawing.legend(loc="outside lower center", ncols=2, fontsize=8)
    return path.with_suffix(".svg")


def _in_lines(name: str) -> str:
    """A name of several lines for a tick: each line is text from outside."""
    return "\n".join(plain_text(line) for line in name.split("\n"))


def _bracket(axes: Axes, k: int, task: Bracketed) -> None:
    """One task at place k; the first one carries the labels of the legend."""

    def label(text: str) -> str | None:
        return None if k else text

    low = Measured.of(task.robust_low).mean
    high = Measured.of(task.robust_high or task.robust_low).mean
    axes.bar(
        k,
        max(high - low, 0.8),
        0.42,
        bottom=low,
        color=ROBUST,
        alpha=0.35,
        hatch="//",
        edgecolor=ROBUST,
        label=label("robust test error: from attack to certificate"),
    )
    for name, values, color, marker, size in (
        ("clean test error", task.clean_error, CLEAN, "o", 6),
        ("naive PGD (masked)", task.naive_pgd, MARK, "x", 6),
        ("robust training error, certified", task.certified_error, MEMORY, "_", 9),
    ):
        found = Measured.of(values)
        spread = None if found.n < 2 or found.sd == 0 else found.sd
        axes.errorbar(
            k,
            found.mean,
            spread,
            fmt=marker,
            color=color,
            markersize=size,
            markeredgewidth=2,
            capsize=2,
            label=label(name),
        )
