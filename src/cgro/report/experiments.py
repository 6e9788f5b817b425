"""Figures of the paper's artifacts, drawn from what `cgro reproduce` found: the paper beside ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from cgro.report.style import (
    BLUE,
    GAP,
    GREEN,
    GREY,
    MARK,
    ORANGE,
    PURPLE,
    RED,
    ROBUST,
    TEST,
    TRAIN,
    counted,
    figure,
    plain_text,
)
from cgro.results import Measured

_HATCHES = ("", "//", "..", "xx", "\\\\")
_COLORS = (GREY, RED, BLUE, GREEN, ORANGE)


def _mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation, which is 0 for one seed."""
    known = np.array(list(values), float)
    if len(known) > 1:
        return float(known.mean()), float(known.std(ddof=1))
    return float(known.mean()), 0.0


def _means_sds(groups: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray | None]:
    """Means, and standard deviations unless all are 0: then no bars are drawn."""
    mean, sd = np.array([_mean_sd(values) for values in groups]).T
    if sd.any():
        return mean, sd
    return mean, None


def accuracy_bars(path: Path, groups: Mapping[str, Mapping[str, Sequence[float]]], labels: Sequence[str]) -> Path:
    """Bars of each group side by side; errors one standard deviation; hatches tell groups apart in gray.

    Args:
        path: of the figure, without ending.
        groups: name -> column -> percent over seeds, columns in the order of labels.
        labels: of the columns.

    Returns:
        The SVG file.
    """
    with figure(path, 7.6, 4.2) as drawing:
        axes = drawing.subplots()
        wide = 0.8 / len(groups)
        for k, (name, columns) in enumerate(groups.items()):
            mean, sd = _means_sds(list(columns.values()))
            at = np.arange(len(labels)) + (k - (len(groups) - 1) / 2) * wide
            axes.bar(
                at,
                mean,
                wide * 0.92,
                yerr=sd,
                capsize=2,
                color=_COLORS[k % 5],
                label=plain_text(name),
                hatch=_HATCHES[k % 5],
                edgecolor="white",
                error_kw={"elinewidth": 0.9},
            )
            for x, value in zip(at, mean, strict=True):
                axes.annotate(
                    f"{value:.1f}", (x, value), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=7
                )
        axes.set_xticks(range(len(labels)), [plain_text(label) for label in labels])
        axes.set(ylabel="accuracy (%)", ylim=(0, 112))
        axes.grid(visible=False, axis="x")
        drawing.legend(loc="outside lower center", ncols=len(groups), fontsize=9)
    return path.with_suffix(".svg")


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


NORMS = {
    "inf": (RED, "o", r"$\ell_\infty$"),
    "2": (BLUE, "s", r"$\ell_2$"),
    "1": (ORANGE, "^", r"$\ell_1$"),
}
"""Norm -> color, marker and name."""


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
        for p in NORMS:
            own = [size for size in sizes if size.p == p]
            if own:
                _size_line(axes, own, p, slopes[p])
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", label="D = 64 (digits)")
        axes.plot([], [], "o", color=GREY, label="D = 784 (mnist5k)")
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
    color, marker, norm = NORMS[p]
    ordered = sorted((size.n_times_dim, size.generic, size.dim) for size in sizes)
    x, y, dims = np.array(ordered, float).T
    axes.plot(x, y, color=color, linewidth=0.8, alpha=0.6)
    for dim, face in ((64, "white"), (784, color)):
        axes.plot(x[dims == dim], y[dims == dim], marker, color=color, markerfacecolor=face, markersize=5)
    axes.plot([], [], marker, color=color, label=f"{norm}: power of N D {slope:.3f}")


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
        axes.set_xticks(range(len(tasks)), [plain_text(name) for name in tasks], fontsize=8)
        axes.set(ylabel="error (%)", ylim=(-3, 103))
        axes.grid(visible=False, axis="x")
        drawing.legend(loc="outside lower center", ncols=2, fontsize=8)
    return path.with_suffix(".svg")


def _bracket(axes: Axes, k: int, task: Bracketed) -> None:
    """One task at place k; the first one carries the labels of the legend."""

    def label(text: str) -> str | None:
        return None if k else text

    low, _ = _mean_sd(task.robust_low)
    high, _ = _mean_sd(task.robust_high or task.robust_low)
    axes.bar(
        k,
        max(high - low, 0.8),
        0.42,
        bottom=low,
        color=RED,
        alpha=0.35,
        hatch="//",
        edgecolor=RED,
        label=label("robust test error: from attack to certificate"),
    )
    for name, values, color, marker, size in (
        ("clean test error", task.clean_error, BLUE, "o", 6),
        ("naive PGD (masked)", task.naive_pgd, GREY, "x", 6),
        ("robust training error, certified", task.certified_error, GREEN, "_", 9),
    ):
        mean, sd = _mean_sd(values)
        axes.errorbar(
            k,
            mean,
            sd or None,
            fmt=marker,
            color=color,
            markersize=size,
            markeredgewidth=2,
            capsize=2,
            label=label(name),
        )


class Accuracies(Protocol):
    """Accuracies of networks of one width in percent, one number per seed."""

    @property
    def clean_test(self) -> Sequence[float]:
        """On test images."""
        ...

    @property
    def robust_test(self) -> Sequence[float]:
        """On test images under attack."""
        ...

    @property
    def robust_train(self) -> Sequence[float]:
        """On training images under attack."""
        ...


Printed = Mapping[int, tuple[float, float, float]]
"""Width -> clean test, robust test and robust training accuracy."""


def width_curves(path: Path, ours: Mapping[int, Accuracies], paper: Printed, title: str, width: str) -> Path:
    """Accuracies against the width, paper (open, thin) and ours (filled, bars), and the robust gap on the right.

    Args:
        path: of the figure, without ending.
        ours: width -> accuracies over seeds.
        paper: width -> printed accuracies.
        title: of the figure.
        width: what the width is, under the axes.

    Returns:
        The SVG file.
    """
    with figure(path, 9.2, 4.2) as drawing:
        left, right = drawing.subplots(1, 2, width_ratios=(1.5, 1))
        _accuracy_curves(left, ours, paper)
        _gap_curves(right, ours, paper)
        left.set(xlabel=plain_text(width), ylabel="accuracy (%)", ylim=(0, 103))
        right.set(xlabel=plain_text(width), ylabel="robust gap, train - test (points)")
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            ticks = sorted({*ours, *paper})
            axes.set_xticks(ticks, [f"{t}" for t in ticks], fontsize=8)
            axes.minorticks_off()
        handles, labels = left.get_legend_handles_labels()
        right.legend(fontsize=8)
        drawing.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, handlelength=3.2)
        drawing.suptitle(plain_text(title).replace("l_inf", r"$\ell_\infty$"), fontsize=11, fontweight="bold")
    return path.with_suffix(".svg")


def _accuracy_curves(axes: Axes, ours: Mapping[int, Accuracies], paper: Printed) -> None:
    curves = (
        ("clean test", [own.clean_test for own in ours.values()], BLUE, TEST, "o"),
        ("robust test", [own.robust_test for own in ours.values()], RED, TEST, "s"),
        ("robust train", [own.robust_train for own in ours.values()], RED, TRAIN, "^"),
    )
    for column, (name, values, color, style, marker) in enumerate(curves):
        mean, sd = _means_sds(values)
        axes.errorbar(
            list(ours),
            mean,
            sd,
            color=color,
            marker=marker,
            markersize=5,
            capsize=2,
            label=f"{name}, ours",
            **style,
        )
        axes.plot(
            list(paper),
            [row[column] for row in paper.values()],
            color=color,
            marker=marker,
            markerfacecolor="white",
            linewidth=0.8,
            alpha=0.7,
            label=f"{name}, paper",
            **style,
        )


def _gap_curves(axes: Axes, ours: Mapping[int, Accuracies], paper: Printed) -> None:
    gaps = []
    for own in ours.values():
        gaps.append([train - test for train, test in zip(own.robust_train, own.robust_test, strict=True)])
    mean, sd = _means_sds(gaps)
    axes.errorbar(list(ours), mean, sd, color=PURPLE, marker="D", markersize=5, capsize=2, label="ours")
    axes.plot(
        list(paper),
        [train - test for _, test, train in paper.values()],
        color=PURPLE,
        marker="D",
        markerfacecolor="white",
        linewidth=0.8,
        alpha=0.8,
        linestyle=":",
        label="paper",
    )


class FourErrors(Protocol):
    """Errors in percent: one list per seed, with one number per epoch."""

    @property
    def clean_train(self) -> Sequence[Sequence[float]]:
        """On training images."""
        ...

    @property
    def clean_test(self) -> Sequence[Sequence[float]]:
        """On test images."""
        ...

    @property
    def robust_train(self) -> Sequence[Sequence[float]]:
        """On training images under attack."""
        ...

    @property
    def robust_test(self) -> Sequence[Sequence[float]]:
        """On test images under attack."""
        ...


class LearningCurves(Protocol):
    """What Figure 1 shows."""

    @property
    def epochs(self) -> Sequence[int]:
        """Of the curves."""
        ...

    @property
    def drops(self) -> Sequence[int]:
        """Epochs after which the learning rate drops."""
        ...

    @property
    def data(self) -> str:
        """The data set."""
        ...

    @property
    def note(self) -> str:
        """What is particular about it; in the title if there is something."""
        ...

    @property
    def curves(self) -> FourErrors:
        """The errors."""
        ...


def curves_over_epochs(path: Path, found: LearningCurves) -> Path:
    """Figure 1: the four errors over the epochs, one standard deviation over seeds, drops of the learning rate marked.

    Args:
        path: of the figure, without ending.
        found: the curves.

    Returns:
        The SVG file.
    """
    curves = found.curves
    with figure(path, 7.6, 4.6) as drawing:
        axes = drawing.subplots()
        for name, errors, color, style, marker, shift in (
            ("robust error, train", curves.robust_train, RED, TRAIN, "s", 0.0),
            ("robust error, test", curves.robust_test, RED, TEST, "s", 0.0),
            ("clean error, train", curves.clean_train, BLUE, TRAIN, "o", 0.15),
            ("clean error, test", curves.clean_test, BLUE, TEST, "o", 0.15),
        ):
            epochs = np.array(found.epochs, float)
            values = np.array(errors)
            axes.plot(epochs, values.mean(0), color=color, label=name, marker=marker, markersize=3.5, **style)
            if len(values) > 1:
                sd = values.std(0, ddof=1)
                axes.errorbar(epochs + shift, values.mean(0), sd, fmt="none", color=color, linewidth=0.9, capsize=1.5)
        for k, drop in enumerate(found.drops):
            label = None if k else "learning rate drops"
            axes.axvline(drop + 0.5, color=GREY, linewidth=1, linestyle="-.", label=label)
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
        n = len(curves.robust_test)
        axes.set_title(f"{plain_text(found.note or found.data)}: adversarial training, {n} seeds")
        drawing.legend(loc="outside lower center", ncols=3, fontsize=9, handlelength=3.2)
    return path.with_suffix(".svg")


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
