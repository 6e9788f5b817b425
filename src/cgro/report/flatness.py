"""Figures 3 and 4: flatness against the radius, over training, and against the robust generalization gap."""

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from matplotlib.axes import Axes

from cgro.reading import read_json
from cgro.report.style import COMPARED, FLATNESS, MARK, MARKERS, PAPER, counted, figure, line_of, plain_text
from cgro.report.values import damaged, drawable
from cgro.results import FlatnessCheckpoint, FlatnessPart, FlatnessRecord, Metric, read_value

Measure = Literal["gradient", "rise"]
MEASURES: tuple[Measure, Measure] = ("gradient", "rise")
LABELS = {
    "gradient": r"max $\|\nabla_x L\|$ in the ball (nats / input unit)",
    "rise": "max rise of the loss in the ball (nats)",
}
PART_LABELS = {"train": "train (local)", "test": "test (global)"}
RADIUS_AXIS = "radius (input units)"
MOST_EPOCHS = 6
"""Columns of the figure over epochs. A choice."""


class _Look(TypedDict):
    color: str
    label: str
    linestyle: str
    marker: str
    markersize: float
    markerfacecolor: str


def draw(folder: Path) -> list[Path]:
    """Draw all figures that a run with flatness/curves.json supports.

    Args:
        folder: the run.

    Returns:
        The PNG of each; SVGs lie beside them.

    Raises:
        BadRequest: the curves are damaged or of another shape; names the file.
    """
    curves = _read_curves(folder / "flatness" / "curves.json")
    drawn = [by_radius(folder / "figures" / "flatness_by_radius", curves)]
    if all(len(_numbered(curve)) > 1 for curve in curves):
        drawn.append(by_epoch(folder, curves))
        drawn.append(over_training(folder / "figures" / "flatness_over_training", curves))
    return drawn


def _read_curves(path: Path) -> list[FlatnessRecord]:
    """One curve per run; every checkpoint has the same parts, and each part a value for each radius."""
    what = str(path)
    curves = read_value(read_json(path), what, list[FlatnessRecord])
    if not curves or not all(curve.checkpoints for curve in curves):
        raise damaged(what, expected="one or more checkpoints", got="none")
    parts = set(curves[0].checkpoints[0].parts)
    n_radii = len(curves[0].radii)
    for curve in curves:
        if len(curve.radii) != n_radii:
            raise damaged(what, expected="the same number of radii in every run", got="others")
        for checkpoint in curve.checkpoints:
            if not parts or set(checkpoint.parts) != parts:
                raise damaged(what, expected="checkpoints of the same parts", got="others")
            for part in checkpoint.parts.values():
                if len(part.gradient) != n_radii or len(part.rise) != n_radii:
                    raise damaged(what, expected="checkpoints with a value for each radius", got="others")
    return curves


def _look(part: str) -> _Look:
    """How a part is drawn: training hollow and dashed, test filled and solid."""
    return {
        "color": FLATNESS,
        "label": PART_LABELS.get(part, plain_text(part)),
        "marker": "o",
        "markersize": 4,
        "markerfacecolor": FLATNESS if part == "test" else PAPER,
        **line_of(part),
    }


def _numbered(curve: FlatnessRecord) -> list[FlatnessCheckpoint]:
    """The checkpoints after an epoch, without the last and the selected one."""
    return [checkpoint for checkpoint in curve.checkpoints if checkpoint.epoch is not None]


def _averages(part: FlatnessPart, measure: Measure) -> Sequence[Metric]:
    return part.gradient if measure == "gradient" else part.rise


def _values(checkpoints: Sequence[FlatnessCheckpoint], part: str, measure: Measure) -> np.ndarray:
    """(checkpoints, radii) averages over examples."""
    rows = []
    for checkpoint in checkpoints:
        rows.append([average.typical for average in _averages(checkpoint.parts[part], measure)])
    return drawable(rows)


def _spread(checkpoints: Sequence[FlatnessCheckpoint], part: str, measure: Measure) -> np.ndarray:
    """(radii,) standard deviations over runs; of one run half widths of the 95% intervals, NaN where there is none."""
    if len(checkpoints) > 1:
        return _values(checkpoints, part, measure).std(0, ddof=1)
    halves = []
    for average in _averages(checkpoints[0].parts[part], measure):
        if average.interval:
            low, high = average.interval
            halves.append((high - low) / 2)
        else:
            halves.append(None)
    return drawable(halves)


def training_index(curve: FlatnessRecord) -> int | None:
    """Find the training radius among the radii.

    Args:
        curve: of one run.

    Returns:
        Its index; None if flatness was not measured there.
    """
    for k, radius in enumerate(curve.radii):
        if math.isclose(radius, curve.training_radius, rel_tol=1e-6):
            return k
    return None


def gaps(curves: Sequence[FlatnessRecord]) -> tuple[np.ndarray, np.ndarray] | None:
    """Collect global flatness and the robust gap of the loss over the epochs that all runs have (Figure 4).

    The gap is the mean of loss + rise at the training radius, test minus train.

    Args:
        curves: one per run.

    Returns:
        Both as (runs, epochs); None where the runs share fewer than three epochs, or flatness was not measured at the
        training radius on train and test.
    """
    k = training_index(curves[0])
    common = set.intersection(*({checkpoint.epoch for checkpoint in _numbered(curve)} for curve in curves))
    if k is None or len(common) < 3:
        return None
    flatness = []
    gap = []
    for curve in curves:
        for checkpoint in _numbered(curve):
            if checkpoint.epoch not in common:
                continue
            train = checkpoint.parts.get("train")
            test = checkpoint.parts.get("test")
            if train is None or test is None:
                return None
            flatness.append(test.gradient[k].typical)
            gap.append(_robust_loss(test, k) - _robust_loss(train, k))
    shape = len(curves), len(common)
    return drawable(flatness).reshape(shape), drawable(gap).reshape(shape)


def _robust_loss(part: FlatnessPart, k: int) -> float:
    """Mean loss at the worst point of the balls of the k-th radius; NaN where the rise is not known."""
    rise = part.rise[k].typical
    return math.nan if rise is None else part.loss + rise


def _title(curves: Sequence[FlatnessRecord]) -> str:
    first = curves[0]
    network = plain_text(first.model)
    if first.width:
        network += f" x{first.width}"
    title = f"{plain_text(first.note or first.data)}, {network}, trained at {plain_text(first.training_name)}"
    if len(curves) > 1:
        title += f", {counted(len(curves), 'run')}"
    return title


def _mark(axes: Axes, curve: FlatnessRecord) -> None:
    """Draw the training radius, and make the axis of values logarithmic with plain numbers."""
    if any(np.any(np.asarray(line.get_ydata(), float) > 0) for line in axes.get_lines()):
        axes.set_yscale("log")  # of a constant network all values are 0, and have no logarithm
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(_two_and_five)
    axes.axvline(curve.training_radius, color=MARK, linewidth=1, linestyle="-.", label="training radius")


def _two_and_five(value: float, _: object) -> str:
    """Of the minor ticks those at 2 and 5 have a number: more would overlap."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def by_radius(path: Path, curves: Sequence[FlatnessRecord]) -> Path:
    """Draw Figure 3: both measures against the radius, train and test, at the last checkpoint.

    Bars are 95% intervals over examples, of several runs their standard deviation. The axis is logarithmic, as beyond
    the training radius both measures grow by an order of magnitude and hide what is inside.

    Args:
        path: of the figure; its suffix is replaced.
        curves: one per run, of the same radii and parts.

    Returns:
        The PNG; an SVG lies beside it.
    """
    last = [curve.checkpoints[-1] for curve in curves]
    with figure(path, width=9.6, height=4.0) as drawing:
        for axes, measure in zip(drawing.subplots(1, 2), MEASURES, strict=True):
            for part in last[0].parts:
                mean = _values(last, part, measure).mean(0)
                spread = _spread(last, part, measure)
                axes.errorbar(curves[0].radii, mean, spread, capsize=2, elinewidth=0.8, **_look(part))
            _mark(axes, curves[0])
            axes.set(xlabel=RADIUS_AXIS, ylabel=LABELS[measure], xlim=(0, None))
            axes.legend(fontsize=9)
        title = f"Flatness against the radius (lower bounds)\n{_title(curves)}"
        drawing.suptitle(title, fontsize=11, fontweight="bold")
    return path.with_suffix(".png")


def by_epoch(folder: Path, curves: Sequence[FlatnessRecord]) -> Path:
    """Draw Figure 3 over epochs, as small multiples of the first run: one column per epoch, one row per measure.

    Args:
        folder: the run that takes the figure.
        curves: one per run.

    Returns:
        The PNG; an SVG lies beside it.
    """
    path = folder / "figures" / "flatness_by_epoch"
    first = curves[0]
    numbered = _numbered(first)
    at = np.linspace(0, len(numbered) - 1, min(MOST_EPOCHS, len(numbered))).round().astype(int)
    chosen = [numbered[i] for i in np.unique(at)]
    with figure(path, width=2.0 * len(chosen) + 1, height=4.6) as drawing:
        grid = drawing.subplots(2, len(chosen), sharex=True, sharey="row", squeeze=False)
        for panels, measure in zip(grid, MEASURES, strict=True):
            for axes, checkpoint in zip(panels, chosen, strict=True):
                for part in checkpoint.parts:
                    axes.plot(first.radii, _values([checkpoint], part, measure)[0], **_look(part))
                _mark(axes, first)
                axes.set(xlim=(0, None))
            panels[0].set_ylabel(LABELS[measure].replace(" in the ball", "\nin the ball"), fontsize=8)
        for axes, checkpoint in zip(grid[0], chosen, strict=True):
            axes.set_title(f"epoch {checkpoint.epoch}", fontsize=10)
        grid[0, 0].legend(fontsize=7)
        drawing.supxlabel(RADIUS_AXIS, fontsize=9)
        drawing.suptitle(f"{_title(curves[:1])}, seed {first.seed}", fontsize=11, fontweight="bold")
    return path.with_suffix(".png")


def over_training(path: Path, curves: Sequence[FlatnessRecord]) -> Path:
    """Draw Figure 4: local and global flatness over training, and the robust gap against global flatness.

    Args:
        path: of the figure; its suffix is replaced.
        curves: one per run; flatness is drawn at the training radius, or at the largest if it was not measured there.

    Returns:
        The PNG; an SVG lies beside it.
    """
    k = training_index(curves[0])
    if k is None:
        k = -1
    points = gaps(curves)
    with figure(path, width=9.6, height=4.0) as drawing:
        left, right = drawing.subplots(1, 2)
        for n, curve in enumerate(curves):
            numbered = _numbered(curve)
            epochs = [checkpoint.epoch for checkpoint in numbered]
            for part in numbered[0].parts:
                look = _look(part)
                if n:
                    look["label"] = "_"  # one entry in the legend for all runs
                left.plot(epochs, _values(numbered, part, "gradient")[:, k], alpha=0.8, **look)
        name = plain_text(curves[0].training_name)
        left.set(xlabel="epoch", ylabel=f"{LABELS['gradient']},\nradius {name}", ylim=(0, None))
        left.legend(fontsize=9)
        if points is None:
            right.set_axis_off()
        else:
            _draw_gaps(right, curves, *points)
        drawing.suptitle(f"Flatness over training\n{_title(curves)}", fontsize=11, fontweight="bold")
    return path.with_suffix(".png")


def _draw_gaps(axes: Axes, curves: Sequence[FlatnessRecord], flatness: np.ndarray, gap: np.ndarray) -> None:
    """Draw one point per checkpoint, and a line through those of a run."""
    for curve, x, y, color, marker in zip(curves, flatness, gap, cycle(COMPARED), cycle(MARKERS), strict=False):
        axes.plot(x, y, color=color, linewidth=0.6, alpha=0.6)
        axes.scatter(x, y, color=color, marker=marker, s=22, label=f"seed {curve.seed}")
    axes.set(xlabel="global flatness, test (nats / input unit)", ylabel="robust gap of the loss, test - train (nats)")
    axes.legend(fontsize=9, title=f"rank correlation {_spearman(flatness, gap):.2f}", title_fontsize=9)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation over all checkpoints of all runs; NaN where a side is constant or not known.

    Not `cgro.flatness.spearman`: pictures are drawn without PyTorch.
    """
    from scipy.stats import rankdata  # scipy.stats takes a second to import

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
