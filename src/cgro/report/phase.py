"""Phase diagrams of Section 5: what a sweep of `cgro dynamics` found beside what the theory predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.patheffects as effects
import msgspec
import numpy as np
from matplotlib.patches import Rectangle
from msgspec import UNSET

from cgro._check import bad
from cgro.report.style import (
    CLEAN,
    ERROR_SCALE,
    INK,
    MARK,
    PAPER,
    ROBUST,
    TEST,
    TRAIN,
    counted,
    draw_band,
    figure,
    plain_text,
)
from cgro.report.values import Number, damaged
from cgro.results import DynamicsSummary
from cgro.results.records import Real
from cgro.runs import Run

AXIS_NAMES = {
    "radius_ratio": "radius / signal strength",
    "robust_weight": "robust weight",
    "signal_strength": "signal strength",
    "n_train": "training examples",
    "patch_dim": "patch dimension",
    "activation_power": "activation power q",
    "n_filters": "filters",
    "noise_std": "noise standard deviation",
    "init_std": "initial standard deviation",
    "n_patches": "patches",
    "lr": "step size",
    "batch_size": "batch size",
    "n_signals": "signal directions",
}

RANGES = {"robust_weight": (0.0, 1.0), "radius_ratio": (0.0, np.inf)}
"""What the parameters can be."""
DIVERGED_HATCH = "////"


class _Cell(msgspec.Struct):
    """A setting of a sweep; lists over seeds."""

    outcome: str
    radius_over_strength: Number
    onset_ratio: Real | None
    extinction_ratio: Real | None
    clean_test: list[Real | None] = msgspec.field(name="clean_error/test")
    robust_train: list[Real | None] = msgspec.field(name="robust_error/train")
    robust_test: list[Real | None] = msgspec.field(name="robust_error/test")


@dataclass(frozen=True)
class _Sweep:
    """A sweep's cells, in the order of the grid.

    Attributes:
        values: parameter -> its values.
        cells: as rows of metrics.jsonl.
        title: of the figure.
    """

    values: Mapping[str, np.ndarray]
    cells: Sequence[_Cell]
    title: str

    def beyond(self, limits: Sequence[Real | None]) -> np.ndarray | None:
        """By how much each cell's radius / signal strength lies beyond a predicted limit; None where one has none."""
        if any(limit is None for limit in limits):
            return None
        ratios = np.array([cell.radius_over_strength for cell in self.cells])
        return ratios - np.array(limits, float)  # "inf" is text in strict JSON

    def predicted(self) -> list[tuple[str, str, np.ndarray | None]]:
        """Name, style of line and `beyond` of both boundaries."""
        onset = self.beyond([cell.onset_ratio for cell in self.cells])
        extinction = self.beyond([cell.extinction_ratio for cell in self.cells])
        return [("predicted onset", "-", onset), ("predicted extinction", "--", extinction)]


def phase_diagram(folder: Path) -> Path:
    """Draw the robust test accuracy over a sweep, with the predicted boundaries on it.

    Solid: onset of memorization, delta/alpha = 1 - rho_c. Dashed: extinction of the signal. Cells that diverged are
    hatched. Of a sweep over one parameter the accuracies are drawn as lines.

    Args:
        folder: a run of `cgro dynamics --sweep`.

    Returns:
        The PNG; an SVG lies beside it.

    Raises:
        BadRequest: the run is damaged.
    """
    run = Run.open(folder)
    cells = run.rows_as(_Cell)
    found = run.read(DynamicsSummary, draft=True)
    if found.sweep is UNSET:
        raise bad(str(run.path), expected="a sweep", got="a run of one setting")
    values = {name: np.array(axis) for name, axis in found.sweep.items()}
    n_cells = int(np.prod([len(axis) for axis in values.values()]))
    if len(values) not in (1, 2) or len(cells) != n_cells:
        expected = f"a row for each of {n_cells} cells of one or two parameters"
        raise damaged(str(run.path / "metrics.jsonl"), expected=expected, got=len(cells))
    path = run.path / "figures" / "phase.png"
    seeds = counted(found.n_seeds, "seed")
    if len(values) == 1:
        _draw_line(path, _Sweep(values, cells, f"{plain_text(found.preset)}, {seeds}, range shaded"))
    else:
        _draw_plane(path, _Sweep(values, cells, f"{plain_text(found.preset)}, {seeds} per cell"))
    return path


def _draw_plane(path: Path, sweep: _Sweep) -> None:
    """Draw a sweep of two parameters: the robust test accuracy as color."""
    (x_name, x), (y_name, y) = sweep.values.items()
    shape = len(x), len(y)
    accuracy = np.full(len(sweep.cells), np.nan)
    for k, cell in enumerate(sweep.cells):
        if cell.outcome in ("completed", "stopped"):
            accuracy[k] = 100 * (1 - np.mean(np.array(cell.robust_test, float)))
    with figure(path, 6.8, 5.0) as drawing:
        axes = drawing.add_subplot()
        axes.patch.set(facecolor=PAPER, edgecolor=MARK, hatch=DIVERGED_HATCH)
        image = axes.pcolormesh(x, y, accuracy.reshape(shape).T, cmap=ERROR_SCALE, vmin=0, vmax=100, shading="nearest")
        drawing.colorbar(image, ax=axes, label="robust test accuracy (%)")
        for label, linestyle, distance in sweep.predicted():
            if distance is None:
                continue
            distance = np.nan_to_num(distance, neginf=-1e3).reshape(shape).T
            if distance.min() < 0 < distance.max():
                # Black with a white edge: seen on both ends of the color map.
                drawn = axes.contour(x, y, distance, levels=[0.0], colors=[INK], linestyles=[linestyle])
                drawn.set(path_effects=[effects.withStroke(linewidth=3.5, foreground=PAPER)])
                axes.plot([], [], color=INK, linestyle=linestyle, label=label)
        if np.isnan(accuracy).any():
            axes.add_patch(
                Rectangle((0, 0), 0, 0, facecolor=PAPER, edgecolor=MARK, hatch=DIVERGED_HATCH, label="diverged")
            )
        if axes.get_legend_handles_labels()[0]:
            drawing.legend(loc="outside lower center", ncols=3)
        axes.grid(False)
        axes.set(xlabel=_axis_name(x_name), ylabel=_axis_name(y_name), title=sweep.title)
        axes.set(xlim=_within(x_name, axes.get_xlim()), ylim=_within(y_name, axes.get_ylim()))


def _within(parameter: str, limits: tuple[float, float]) -> tuple[float, float]:
    """Limits of an axis, cut to the values that the parameter can have: the outer cells reach half a step beyond.

    >>> _within("robust_weight", (-0.05, 1.05)), _within("n_filters", (-1.0, 9.0))
    ((0.0, 1.0), (-1.0, 9.0))
    """
    low, high = RANGES.get(parameter, limits)
    return max(low, limits[0]), min(high, limits[1])


def _draw_line(path: Path, sweep: _Sweep) -> None:
    """Draw a sweep of one parameter: three accuracies, and where the boundaries are predicted."""
    ((name, x),) = sweep.values.items()
    with figure(path, 6.8, 4.4) as drawing:
        axes = drawing.add_subplot()
        shown = (
            ("clean test", CLEAN, TEST, [cell.clean_test for cell in sweep.cells]),
            ("robust training", ROBUST, TRAIN, [cell.robust_train for cell in sweep.cells]),
            ("robust test", ROBUST, TEST, [cell.robust_test for cell in sweep.cells]),
        )
        for label, color, style, errors in shown:
            accuracy = 100 * (1 - np.array(errors, float))
            draw_band(axes, x, accuracy, color=color, label=label, marker="o", **style)
        for label, linestyle, distance in sweep.predicted():
            if distance is not None and distance.min() < 0 < distance.max():
                axes.axvline(_crossing(x, distance), color=MARK, linestyle=linestyle, linewidth=1.2, label=label)
        axes.set(xlabel=_axis_name(name), ylabel="accuracy (%)", ylim=(-3, 103), title=sweep.title)
        drawing.legend(loc="outside lower center", ncols=3)


def _crossing(x: np.ndarray, values: np.ndarray) -> float:
    """Where values over x first change their sign, between two points by a straight line.

    >>> _crossing(np.array([1.0, 2.0, 4.0]), np.array([-3.0, -1.0, 1.0]))
    3.0
    """
    at = int(np.nonzero(np.diff(np.sign(values)))[0][0])
    share = values[at] / (values[at] - values[at + 1])
    return float(x[at] + share * (x[at + 1] - x[at]))


def _axis_name(parameter: str) -> str:
    """What an axis is called; a parameter that this version does not know, by its own name."""
    return AXIS_NAMES.get(parameter, plain_text(parameter))
