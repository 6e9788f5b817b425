"""Figures of a training run: learning curves with the robust gap, and adversarial images."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import msgspec
import numpy as np
from matplotlib.axes import Axes

from cgro.report.curves import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN, read_learning_curves
from cgro.report.examples import Examples, image_of, read_examples
from cgro.report.style import COMPARED, GAP, MARK, MARKERS, ROBUST, figure, line_of, norm_text, plain_text
from cgro.results import EpochRecord, TrainSummary, read_value
from cgro.runs import Run


class _Settings(msgspec.Struct):
    """What the title names; these are shown as text, whatever they are."""

    data: object
    p: object
    radius: object
    attack: object
    seeds: object = 1


def learning_curves(folder: Path) -> Path | None:
    """Draw clean and robust error on train and test against the epoch; the robust gap is shaded.

    Over several seeds the lines are means and the thin bars one standard deviation.

    Args:
        folder: a run of `cgro train`, of one seed or of several.

    Returns:
        The PNG, an SVG lies beside it; None where nothing was evaluated.
    """
    curves = read_learning_curves(Run(folder))
    epochs = curves.epochs
    if not len(epochs):
        return None
    path = folder / "figures" / "learning_curves"
    with figure(path) as drawing:
        axes = drawing.subplots()
        for curve in (ROBUST_TRAIN, ROBUST_TEST, CLEAN_TRAIN, CLEAN_TEST):
            values = curves.percent(curve)
            mean = values.mean(0)
            axes.plot(epochs, mean, color=curve.color, label=curve.label, **line_of(curve.part))
            if len(values) > 1:
                axes.errorbar(epochs, mean, values.std(0, ddof=1), fmt="none", color=curve.color, linewidth=0.8)
        low = curves.percent(ROBUST_TRAIN).mean(0)
        high = curves.percent(ROBUST_TEST).mean(0)
        axes.fill_between(epochs, low, high, where=high >= low, color=GAP, alpha=0.25, linewidth=0)
        axes.annotate(
            f"robust gap {high[-1] - low[-1]:.1f} points",
            (epochs[-1], (low[-1] + high[-1]) / 2),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
        )
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None), title=_title(folder))
        axes.legend(ncols=2, fontsize=9)
    return path.with_suffix(".png")


def robust_error_by_epoch(folder: Path) -> Path | None:
    """Draw the robust error of every kept checkpoint by each attack that was tried on all of them.

    Bands are 95% intervals; a hollow marker is an attack that was stopped before its end.

    Args:
        folder: a run of `cgro train` that `cgro evaluate --per-epoch` went over.

    Returns:
        The PNG, an SVG lies beside it; None where there is no such curve.
    """
    found = Run(folder).read()
    if not isinstance(found, TrainSummary) or not found.curves:
        return None
    path = folder / "figures" / "robust_error_by_epoch"
    with figure(path) as drawing:
        axes = drawing.subplots()
        for (attack, parts), color, marker in zip(found.curves.items(), cycle((ROBUST, *COMPARED)), cycle(MARKERS)):
            for part, checkpoints in parts.items():
                label = plain_text(f"{attack}, {part}")
                _draw_checkpoints(axes, checkpoints, part=part, label=label, color=color, marker=marker)
        axes.set(xlabel="epoch", ylabel="robust error, lower bound (%)", ylim=(0, None), title=_title(folder))
        axes.legend(fontsize=9)
    return path.with_suffix(".png")


def _draw_checkpoints(
    axes: Axes, checkpoints: Sequence[EpochRecord], *, part: str, label: str, color: str, marker: str
) -> None:
    epochs = np.array([one.epoch for one in checkpoints])
    values = 100 * np.array([one.value for one in checkpoints])
    intervals = 100 * np.array([one.interval for one in checkpoints], float).reshape(-1, 2)
    complete = np.array([one.complete for one in checkpoints], bool)
    axes.plot(epochs, values, color=color, label=label, **line_of(part))
    axes.fill_between(epochs, intervals[:, 0], intervals[:, 1], color=color, alpha=0.15, linewidth=0)
    axes.plot(epochs[complete], values[complete], marker, color=color)
    axes.plot(epochs[~complete], values[~complete], marker, color=color, markerfacecolor="white")


def _title(folder: Path) -> str:
    settings = read_value(Run(folder).config, str(folder / "config.yaml"), _Settings)
    what = "standard training" if settings.attack == "none" else "adversarial training"
    threat = f"{norm_text(settings.p)} radius {plain_text(settings.radius)}"
    title = f"{plain_text(settings.data)}: {what}, {threat}"
    if settings.seeds != 1:
        title += f", {plain_text(settings.seeds)} seeds"
    return title


def adversarial_grid(folder: Path) -> Path | None:
    """Draw test images, the perturbation (blue lowers, red raises a pixel), and the attacked images with predictions.

    Args:
        folder: a run of `cgro train`.

    Returns:
        The PNG, an SVG lies beside it; None where no examples were kept.

    Raises:
        BadRequest: the examples are damaged or others (`read_examples`).
    """
    source = folder / "examples.npz"
    if not source.exists():
        return None
    found = read_examples(source)
    scale = float(np.abs(found.x_adv - found.x).max()) or 1.0
    path = folder / "figures" / "adversarial_examples"
    with figure(path, width=1.15 * len(found) + 0.8, height=4.1) as drawing:
        grid = drawing.subplots(3, len(found), squeeze=False)
        for i in range(len(found)):
            _draw_example(grid[:, i], found, i, scale)
        grid[0, 0].set_ylabel("clean", fontsize=9)
        grid[1, 0].set_ylabel(f"change\n(at most {scale:.3g})", fontsize=9)
        grid[2, 0].set_ylabel("attacked", fontsize=9)
        drawing.suptitle("Predictions before and after the attack, test images", fontsize=11)
    return path.with_suffix(".png")


def _draw_example(column: np.ndarray, found: Examples, i: int, scale: float) -> None:
    """Draw one image, its change and the attacked image, one below the other."""
    top, middle, bottom = column
    change = (found.x_adv[i] - found.x[i]).mean(0)
    top.imshow(image_of(found.x[i]), cmap="gray", vmin=0, vmax=1)
    middle.imshow(change, cmap="RdBu_r", vmin=-scale, vmax=scale)
    bottom.imshow(image_of(found.x_adv[i]), cmap="gray", vmin=0, vmax=1)
    _frame(top, found.before[i], bool(found.right_before[i]))
    _frame(middle, "", True)
    _frame(bottom, found.after[i], bool(found.right_after[i]))


def _frame(axes: Axes, prediction: str, right: bool) -> None:
    """Write a prediction above an image, and mark a wrong one by a frame and a word."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    if right:
        axes.set_title(plain_text(prediction), fontsize=9, color="black")
        color, width = MARK, 0.8
    else:
        axes.set_title(f"{plain_text(prediction)}  wrong", fontsize=9, color=ROBUST)
        color, width = ROBUST, 2.2
    for side in axes.spines.values():
        side.set(visible=True, color=color, linewidth=width)
