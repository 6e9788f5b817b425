"""Figures of trained networks, drawn from what `cgro reproduce` found: the paper's accuracies beside ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from cgro.report.style import (
    CLEAN,
    COMPARED,
    GAP,
    HATCHES,
    MARK,
    PAPER,
    ROBUST,
    TEST,
    TRAIN,
    figure,
    plain_text,
    width_ticks,
)
from cgro.results import Measured

_COLORS = (MARK, *COMPARED)
"""Of groups: the paper in gray; the others mean nothing, the legend names each."""


def _means_sds(groups: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray | None]:
    """Means, and standard deviations unless all are 0: then no bars are drawn."""
    found = [Measured.of(values) for values in groups]
    mean = np.array([one.mean for one in found])
    sd = np.array([one.sd if one.n > 1 else 0.0 for one in found])
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
                color=_COLORS[k % len(_COLORS)],
                label=plain_text(name),
                hatch=HATCHES[k % len(HATCHES)],
                edgecolor=PAPER,
                error_kw={"elinewidth": 0.9},
            )
            tops = mean if sd is None else mean + sd
            for x, value, top in zip(at, mean, tops, strict=True):
                axes.annotate(
                    f"{value:.1f}", (x, top), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=7
                )
        axes.set_xticks(range(len(labels)), [plain_text(label) for label in labels])
        axes.set(ylabel="accuracy (%)", ylim=(0, 112))
        axes.grid(visible=False, axis="x")
        drawing.legend(loc="outside lower center", ncols=len(groups), fontsize=9)
    return path.with_suffix(".svg")


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
            width_ticks(axes, (*ours, *paper))
        handles, labels = left.get_legend_handles_labels()
        right.legend(fontsize=8)
        drawing.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, handlelength=3.2)
        drawing.suptitle(plain_text(title).replace("l_inf", r"$\ell_\infty$"), fontsize=11, fontweight="bold")
    return path.with_suffix(".svg")


def _accuracy_curves(axes: Axes, ours: Mapping[int, Accuracies], paper: Printed) -> None:
    curves = (
        ("clean test", [own.clean_test for own in ours.values()], CLEAN, TEST, "o"),
        ("robust test", [own.robust_test for own in ours.values()], ROBUST, TEST, "s"),
        ("robust train", [own.robust_train for own in ours.values()], ROBUST, TRAIN, "^"),
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
            markerfacecolor=PAPER,
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
    axes.errorbar(list(ours), mean, sd, color=GAP, marker="D", markersize=5, capsize=2, label="ours")
    axes.plot(
        list(paper),
        [train - test for _, test, train in paper.values()],
        color=GAP,
        marker="D",
        markerfacecolor=PAPER,
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
            ("robust error, train", curves.robust_train, ROBUST, TRAIN, "s", 0.0),
            ("robust error, test", curves.robust_test, ROBUST, TEST, "s", 0.0),
            ("clean error, train", curves.clean_train, CLEAN, TRAIN, "o", 0.15),
            ("clean error, test", curves.clean_test, CLEAN, TEST, "o", 0.15),
        ):
            epochs = np.array(found.epochs, float)
            values = np.array(errors)
            axes.plot(epochs, values.mean(0), color=color, label=name, marker=marker, markersize=3.5, **style)
            if len(values) > 1:
                sd = values.std(0, ddof=1)
                axes.errorbar(epochs + shift, values.mean(0), sd, fmt="none", color=color, linewidth=0.9, capsize=1.5)
        for k, drop in enumerate(found.drops):
            label = None if k else "learning rate drops"
            axes.axvline(drop + 0.5, color=MARK, linewidth=1, linestyle="-.", label=label)
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
        n = len(curves.robust_test)
        axes.set_title(f"{plain_text(found.note or found.data)}: adversarial training, {n} seeds")
        drawing.legend(loc="outside lower center", ncols=3, fontsize=9, handlelength=3.2)
    return path.with_suffix(".svg")
