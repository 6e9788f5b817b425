"""Figures of the remedies on the synthetic truth: shifts of the sample threshold, and courses of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from cgro.report.style import COMPARED, INK, MARK, MEMORY, PAPER, ROBUST, draw_band, figure, plain_text, plain_ticks


@dataclass(frozen=True)
class Shift:
    """A remedy, predicted and measured.

    Attributes:
        name: of its runs.
        words: for the reader.
        predicted: factor of N_half; infinite where every N is memorized.
        measured: the same, per seed that shows it.
        rhos: shares of the signal that the attack leaves.
        halves: predicted N_half at them.
        always: times of plain N_half up to which runs were made, where every N is predicted to be memorized; else "".
    """

    name: str
    words: str
    predicted: float
    measured: Sequence[float]
    rhos: Sequence[float]
    halves: Sequence[float]
    always: str


@dataclass(frozen=True)
class Curve:
    """Robust test error over training.

    Attributes:
        name: of what differs.
        steps: (T,) of the records.
        errors: (T, seeds), as fractions.
    """

    name: str
    steps: Sequence[int]
    errors: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Stop:
    """Where training is best stopped at one N, as fractions per seed.

    Attributes:
        n: N.
        best: least robust test error of any step.
        last: that of the last step.
        predicted: the least, as predicted.
    """

    n: int
    best: Sequence[float]
    last: Sequence[float]
    predicted: float


class _Look:
    """Of a remedy in the diagram: color, style of line, marker."""

    def __init__(self, color: str, linestyle: str, marker: str) -> None:
        self.color = color
        self.linestyle = linestyle
        self.marker = marker


IN_DIAGRAM: Mapping[str, _Look] = {
    "plain-far": _Look(INK, "-", "o"),
    "boxes-1-0.5": _Look(COMPARED[2], "--", "s"),
    "fresh-0.5": _Look(COMPARED[2], "-.", "^"),
    "decay-4": _Look(COMPARED[1], "--", "D"),
    "lambda-11200": _Look(COMPARED[1], "-.", "v"),
}
"""Remedies whose lines are drawn. One color for those that move the noise, one for those that hold everything back."""


BESIDE = 1.025
"""By which points of one rho are moved apart, so that their bars are seen."""


def shifts_figure(path: Path, shifts: Sequence[Shift], rho: float) -> None:
    """Draw the phase diagram with lines of remedies, and all factors in a row each.

    Args:
        path: of the files; another suffix is replaced.
        shifts: plain training first.
        rho: at which factors were measured.
    """
    with figure(path, width=13.5, height=6.2) as drawing:
        left, right = drawing.subplots(1, 2, width_ratios=(1.0, 1.15))
        _draw_diagram(left, shifts, rho)
        _draw_factors(right, shifts[1:])


def _draw_diagram(axes: Axes, shifts: Sequence[Shift], rho: float) -> None:
    plain = shifts[0]
    at_rho = float(np.exp(np.interp(np.log(rho), np.log(plain.rhos), np.log(plain.halves))))
    axes.fill_between(plain.rhos, plain.halves, 1.0, color=MEMORY, alpha=0.1, linewidth=0)
    axes.text(0.0205, 1.2, "plain training: memorized", color=MEMORY, fontsize=9)
    axes.text(0.045, 60.0, "plain training: robust", color=MARK, fontsize=9)
    shown = [shift for shift in shifts if shift.name in IN_DIAGRAM]
    for k, shift in enumerate(shown):
        look = IN_DIAGRAM[shift.name]
        halves = np.array(shift.halves)
        predicted = axes.plot(
            shift.rhos, halves, color=look.color, linestyle=look.linestyle, label=plain_text(shift.words)
        )[0]
        if len(shift.measured):
            predicted.set(marker=look.marker, markersize=7, markevery=slice(0))  # in the legend alone
        if len(shift.measured):
            sizes = at_rho * np.array(shift.measured)
            spread = sizes.std(ddof=1) if len(sizes) > 1 else 0.0
            at = rho * BESIDE ** (k - (len(shown) - 1) / 2)
            axes.errorbar(
                at, sizes.mean(), spread, color=look.color, marker=look.marker, markersize=7, capsize=3, zorder=3
            )
    axes.set(xscale="log", yscale="log", xlim=(plain.rhos[0], plain.rhos[-1]), ylim=(1.0, 200.0))
    axes.set(xlabel="rho = 1 - radius / signal", ylabel="training examples N")
    axes.set_xticks([0.02, 0.03, 0.04, 0.05, 0.06, 0.07])
    plain_ticks(axes.xaxis, axes.yaxis)
    axes.set_title(f"memorized below the line; points: measured at rho = {rho:g}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8)


def _draw_factors(axes: Axes, shifts: Sequence[Shift]) -> None:
    """A row per remedy: predicted open, measured filled with its standard deviation; arrows where there is no end."""
    edge = 4.5
    for row, shift in enumerate(shifts):
        y = len(shifts) - 1 - row
        axes.axhline(y, color=MARK, linewidth=0.4, alpha=0.4)
        if shift.always:
            axes.annotate(
                "",
                (edge, y),
                (1.25, y),
                arrowprops={"arrowstyle": "->", "color": MEMORY, "linewidth": 1.8},
            )
            axes.text(0.96, y, f"every N, runs to {plain_text(shift.always)}", ha="right", va="center", fontsize=8)
            continue
        axes.plot(shift.predicted, y, marker="o", color=MARK, markerfacecolor=PAPER, markersize=9, linestyle="none")
        if len(shift.measured):
            values = np.array(shift.measured)
            spread = values.std(ddof=1) if len(values) > 1 else 0.0
            axes.errorbar(values.mean(), y, xerr=spread, color=MEMORY, marker="o", markersize=4.5, capsize=3)
    axes.axvline(1.0, color=INK, linewidth=1.0)
    axes.plot([], [], marker="o", color=MARK, markerfacecolor=PAPER, markersize=9, linestyle="none", label="predicted")
    axes.errorbar([], [], xerr=[], color=MEMORY, marker="o", markersize=4.5, capsize=3, label="measured, sd over seeds")
    axes.set_yticks(range(len(shifts)), [plain_text(shift.words) for shift in reversed(shifts)], fontsize=9)
    axes.set(xscale="log", xlim=(0.1, edge), ylim=(-0.7, len(shifts) - 0.3))
    axes.set_xlabel("N that is memorized by half, relative to plain training")
    axes.set_xticks([0.1, 0.2, 0.5, 1.0, 2.0, 4.0])
    plain_ticks(axes.xaxis)
    axes.grid(axis="y", visible=False)
    axes.set_title("left of 1: fewer examples are memorized")
    # As the other panel's, below the axes: in them it would lie over the first rows.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8)


def courses_figure(
    path: Path, curves: Sequence[Curve], predicted: tuple[Sequence[int], Sequence[float]], stops: Sequence[Stop]
) -> None:
    """Draw robust test error over training, noise fixed and fresh, and what an early stop buys by N.

    Args:
        path: of the files; another suffix is replaced.
        curves: noise fixed and fresh.
        predicted: steps and robust test errors under fresh noise, in percent.
        stops: by N.
    """
    with figure(path, width=11.5, height=4.2) as drawing:
        left, right = drawing.subplots(1, 2)
        _draw_courses(left, curves, predicted)
        _draw_stops(right, stops)


def _draw_courses(axes: Axes, curves: Sequence[Curve], predicted: tuple[Sequence[int], Sequence[float]]) -> None:
    looks = {"fixed": ("-", "noise of the training set"), "fresh": ("-.", "fresh noise at every step")}
    for curve in curves:
        linestyle, label = looks.get(curve.name, (":", plain_text(curve.name)))
        errors = 100 * np.array(curve.errors)
        draw_band(axes, np.array(curve.steps), errors, color=ROBUST, label=label, linestyle=linestyle)
    axes.plot(*predicted, color=INK, linestyle="--", linewidth=1.2, label="predicted, fresh noise")
    axes.set(xscale="log", xlabel="step of gradient descent", ylabel="robust test error (%)", ylim=(-2, 60))
    axes.set_xlim(left=30)
    axes.set_title("N = 30: fresh noise is infinite data")
    axes.legend(loc="lower left", fontsize=8)


def _draw_stops(axes: Axes, stops: Sequence[Stop]) -> None:
    sizes = [stop.n for stop in stops]
    for label, ends, marker, filled in (
        ("last step", [stop.last for stop in stops], "o", ROBUST),
        ("best step", [stop.best for stop in stops], "s", PAPER),
    ):
        errors = 100 * np.array(ends)
        spread = errors.std(axis=1, ddof=1) if errors.shape[1] > 1 else np.zeros(len(errors))
        axes.errorbar(
            sizes,
            errors.mean(1),
            spread,
            color=ROBUST,
            marker=marker,
            markerfacecolor=filled,
            linestyle="none",
            capsize=3,
            label=label,
        )
    axes.plot(sizes, [100 * stop.predicted for stop in stops], color=INK, linestyle="--", label="best step, predicted")
    axes.set(xscale="log", xlabel="training examples N", ylabel="robust test error (%)", ylim=(-2, 60))
    axes.set_xticks(sizes)
    plain_ticks(axes.xaxis, axes.yaxis)
    axes.set_title("what an early stop buys")
    axes.legend(loc="lower left", fontsize=8)
