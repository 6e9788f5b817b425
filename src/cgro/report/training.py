"""Figures of a training run: learning curves with the robust gap, and adversarial images."""

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path

import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from cgro.reading import attempt
from cgro.report.curves import (
    CLEAN_TEST,
    CLEAN_TRAIN,
    ROBUST_TEST,
    ROBUST_TRAIN,
    Epoch,
    read_epochs,
    read_learning_curves,
    seeds_of,
)
from cgro.report.examples import image_of, read_examples
from cgro.report.style import (
    COMPARED,
    GAP,
    INK,
    MARK,
    MARKERS,
    PAPER,
    PIXEL_SCALE,
    ROBUST,
    SIGNED_SCALE,
    figure,
    line_of,
    norm_text,
    plain_text,
)
from cgro.results import EpochRecord, ErrorRate, TrainSummary, read_value
from cgro.runs import Run

COLUMN = 1.12
"""From one image to the next in the grid of adversarial images, in sides of an image."""
TOPS = (0.0, -1.09, -2.37)
"""Of its rows: clean images, changes, and attacked ones, below predictions."""
DROP = 0.5
"""A learning rate that falls to less than this share of the one before drops. A choice; schedules divide by 5 or 10."""


class _Settings(msgspec.Struct):
    """What the title names; these are shown as text, whatever they are."""

    data: object
    p: object
    radius: object
    attack: object
    seeds: object = 1
    eval_n: object = None


def learning_curves(folder: Path) -> Path | None:
    """Draw clean and robust error on train and test against the epoch; the robust gap is shaded.

    Over several seeds the lines are means and the thin bars one standard deviation. Of one seed the bars are 95%
    intervals for the examples behind each point, if the run says how many they are. Drops of the learning rate are
    marked.

    Args:
        folder: a run of `cgro train`, of one seed or of several.

    Returns:
        The PNG, an SVG lies beside it; None where nothing was evaluated.
    """
    curves = read_learning_curves(Run(folder))
    epochs = curves.epochs
    if not len(epochs):
        return None
    counts = _counts(folder)
    path = folder / "figures" / "learning_curves"
    with figure(path) as drawing:
        axes = drawing.subplots()
        for curve in (ROBUST_TRAIN, ROBUST_TEST, CLEAN_TRAIN, CLEAN_TEST):
            values = curves.percent(curve)
            mean = values.mean(0)
            axes.plot(epochs, mean, color=curve.color, label=curve.label, **line_of(curve.part))
            lengths = _bars(values, counts.get(curve.part))
            if lengths is not None:
                axes.errorbar(epochs, mean, lengths, fmt="none", color=curve.color, linewidth=0.8, alpha=0.7)
        low = curves.percent(ROBUST_TRAIN).mean(0)
        high_seeds = curves.percent(ROBUST_TEST)
        high = high_seeds.mean(0)
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
        for k, drop in enumerate(lr_drops(read_epochs(seeds_of(Run(folder))[0]))):
            label = "_" if k else "learning rate drops"
            axes.axvline(drop, color=MARK, linewidth=1, linestyle="-.", label=label)
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"{_title(folder)}\n{_bars_text(len(high_seeds), counts)}", fontsize=10)
        axes.legend(ncols=2, fontsize=9)
    return path.with_suffix(".png")


def lr_drops(epochs: Sequence[Epoch]) -> list[float]:
    """Find sudden drops of the learning rate.

    Args:
        epochs: what a run recorded, in order.

    Returns:
        The middle between an epoch and the next one where the rate falls to less than half.

    Example:
        >>> rates = (0.1, 0.1, 0.01, 0.009)
        >>> lr_drops([Epoch(k, rate, {}) for k, rate in enumerate(rates, 1)])
        [2.5]
    """
    found = []
    for before, after in pairwise(epochs):
        if before.lr and after.lr is not None and after.lr < DROP * before.lr:
            found.append((before.epoch + after.epoch) / 2)
    return found


def _bars(values: np.ndarray, n: int | None) -> np.ndarray | None:
    """(2, E) lengths in points below and above the mean of (seeds, E) percent; None where nothing is known."""
    if len(values) > 1:
        sd = values.std(0, ddof=1)
        return np.array([sd, sd])
    if n is None:
        return None
    lengths = np.full((2, values.shape[1]), np.nan)
    for e, percent in enumerate(values[0]):
        if np.isfinite(percent):
            low, high = ErrorRate(round(n * percent / 100), n).interval
            lengths[:, e] = max(0.0, percent - 100 * low), max(0.0, 100 * high - percent)
    return lengths


def _counts(folder: Path) -> dict[str, int]:
    """Part of the data -> examples behind each point; empty where the run does not say, as of several seeds."""
    summary = attempt(lambda: Run(folder).read(TrainSummary, draft=True))
    most = _settings(folder).eval_n
    if summary is None or not isinstance(most, int) or most < 1:
        return {}
    sizes = {"train": summary.data.n_train, "test": summary.data.n_test}
    return {part: min(most, size) for part, size in sizes.items() if size}


def _bars_text(n_seeds: int, counts: Mapping[str, int]) -> str:
    """What the bars are, and on how many examples."""
    if n_seeds > 1:
        return "mean over seeds, bars one standard deviation"
    if not counts:
        return "one seed"
    sizes = " and ".join(f"{n:,} {part}" for part, n in counts.items())
    return f"one seed, {sizes} examples, bars 95% intervals"


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
    axes.plot(epochs[~complete], values[~complete], marker, color=color, markerfacecolor=PAPER)


def _settings(folder: Path) -> _Settings:
    return read_value(Run(folder).config, str(folder / "config.yaml"), _Settings)


def _title(folder: Path) -> str:
    settings = _settings(folder)
    words = {"none": "standard training", "unknown": "training"}
    what = words.get(str(settings.attack), "adversarial training")
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
    n = len(found)
    with figure(path, width=1.15 * n + 0.8, height=4.1) as drawing:
        # One pair of axes for all: matplotlib takes longer over 24 pairs than a short training over its epoch.
        axes = drawing.subplots()
        axes.set_axis_off()
        axes.set_title("Predictions before and after the attack, test images", fontsize=11, fontweight="normal")
        for i in range(n):
            change = (found.x_adv[i] - found.x[i]).mean(0)
            _show(axes, image_of(found.x[i]), (i, 0), found.before[i], right=bool(found.right_before[i]))
            _show(axes, change, (i, 1), "", scale=scale)
            _show(axes, image_of(found.x_adv[i]), (i, 2), found.after[i], right=bool(found.right_after[i]))
        for top, name in zip(TOPS, ("clean", f"change\n(at most {scale:.3g})", "attacked"), strict=True):
            axes.text(-0.08, top - 0.5, name, fontsize=9, rotation=90, ha="right", va="center", linespacing=1.1)
        axes.set(xlim=(-0.3, COLUMN * n - 0.1), ylim=(TOPS[-1] - 1.02, 0.22), aspect="equal")
    return path.with_suffix(".png")


def _show(
    axes: Axes, image: np.ndarray, place: tuple[int, int], prediction: str, *, right: bool = True, scale: float = 0.0
) -> None:
    """Draw an image at a column and a row with the prediction above it; a wrong one has a frame and a word.

    Args:
        axes: whose unit is the longer side of an image.
        image: (h, w) or (h, w, 3).
        place: column and row.
        prediction: empty for none.
        right: whether it is.
        scale: of a change, the largest; 0 for an image in [0, 1].
    """
    height, width = np.array(image.shape[:2]) / max(image.shape[:2])
    left, top = COLUMN * place[0] + (1 - width) / 2, TOPS[place[1]] - (1 - height) / 2
    extent = (left, left + width, top - height, top)
    if scale:
        axes.imshow(image, cmap=SIGNED_SCALE, vmin=-scale, vmax=scale, extent=extent)
    else:
        axes.imshow(image, cmap=PIXEL_SCALE, vmin=0, vmax=1, extent=extent)
    text, color, line = plain_text(prediction), INK, 0.8
    edge = MARK
    if not right:
        text, color, line = f"{text}  wrong", ROBUST, 2.2
        edge = ROBUST
    axes.text(left + width / 2, top + 0.05, text, fontsize=9, color=color, fontweight="bold", ha="center", va="bottom")
    axes.add_patch(Rectangle((left, top - height), width, height, fill=False, edgecolor=edge, linewidth=line))
