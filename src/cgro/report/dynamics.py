"""Figure 2(c) and filter space, from run directories of `cgro dynamics` (Section 5)."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from msgspec import UNSET
from PIL import Image

from cgro._check import bad
from cgro.report.style import MARK, MEMORY, ROBUST, SIGNAL, TEST, TRAIN, counted, draw_band, figure, plain_text
from cgro.report.values import Number, damaged
from cgro.results import BoundaryRecord, DynamicsSummary, read_value
from cgro.results.records import Real
from cgro.runs import Run, write_atomic

BOUNDARIES = ("signal_growth_end", "memorization_start", "memorization_end")
"""Ends of stages I, II and III in a summary."""
TITLE_WIDTH = 65
"""Characters of a line of a title: what fits above the axes. A choice."""
NOT_REACHED = BoundaryRecord(mean=None, sd=None, per_seed=(None,), n_found=0, reason="not recorded")
SIGNAL_AXIS = r"signal $\alpha\langle w_r, w^*\rangle$"
NOISE_AXIS = r"noise $\max_i\, y_i\langle w_r, X_i[j]\rangle$"


class _Dots(TypedDict):
    s: float
    color: str
    edgecolor: str
    linewidth: float
    alpha: float


DOTS: _Dots = {"s": 16, "color": SIGNAL, "edgecolor": MARK, "linewidth": 0.4, "alpha": 0.75}
"""How filters are drawn."""
FRAME_MS = 120
"""Of the animation: each frame, in milliseconds. A choice, as is that of the last one."""
LAST_FRAME_MS = 1500
LARGEST_SHOWN = 1e150
"""Of the axes of filter space. A choice: matplotlib squares what it draws."""


class _Data(msgspec.Struct):
    signal_strength: Number


class _Setting(msgspec.Struct):
    robust_weight: Number
    data: _Data


class _Step(msgspec.Struct):
    """A recorded step; lists over seeds, those of the filters over the filters of the first seed."""

    step: Number
    signal_margin: list[Real | None]
    noise_learned: list[Real | None]
    robust_train: list[Real | None] = msgspec.field(name="robust_error/train")
    robust_test: list[Real | None] = msgspec.field(name="robust_error/test")
    filter_signal: list[Real | None]
    filter_noise: list[Real | None]


@dataclass(frozen=True)
class Recording:
    """The recorded steps of a run.

    Attributes:
        steps: (T,) numbers of steps.
        signal_margin: (T, seeds) what the signal adds to the margin.
        noise_learned: (T, seeds) what the noise of the training examples adds to their margins, mean over examples.
        robust_train: (T, seeds) robust training error.
        robust_test: (T, seeds) robust test error.
        filter_signal: (T, m) signal components of the filters of the first seed.
        filter_noise: (T, m) their largest noise components.
    """

    steps: np.ndarray
    signal_margin: np.ndarray
    noise_learned: np.ndarray
    robust_train: np.ndarray
    robust_test: np.ndarray
    filter_signal: np.ndarray
    filter_noise: np.ndarray

    def nearest(self, step: float) -> int:
        """Find a record.

        Args:
            step: number of a step.

        Returns:
            The index of the record nearest to it.
        """
        return int(np.abs(self.steps - step).argmin())


def _read_recording(run: Run) -> Recording:
    rows = run.rows_as(_Step)
    if not rows:
        raise bad(str(run.path), expected="recorded steps in metrics.jsonl", got="none")
    try:
        return Recording(
            steps=np.array([row.step for row in rows], float),
            signal_margin=np.array([row.signal_margin for row in rows], float),
            noise_learned=np.array([row.noise_learned for row in rows], float),
            robust_train=np.array([row.robust_train for row in rows], float),
            robust_test=np.array([row.robust_test for row in rows], float),
            filter_signal=np.array([row.filter_signal for row in rows], float),
            filter_noise=np.array([row.filter_noise for row in rows], float),
        )
    except ValueError as error:  # lists of different lengths
        raise damaged(str(run.path / "metrics.jsonl"), expected="as many values in every row", got=str(error)) from None


@dataclass(frozen=True)
class _Described:
    """What the summary says of a run of one setting.

    Attributes:
        title: of a figure.
        strength: of the signal, alpha.
        ends: of stages I, II and III.
    """

    title: str
    strength: float
    ends: Sequence[BoundaryRecord]

    @property
    def first_seed(self) -> list[float | None]:
        """The steps at which the stages of the first seed end; None where it did not reach the end."""
        return [end.per_seed[0] if end.per_seed else None for end in self.ends]


def _read_description(run: Run) -> _Described:
    found = run.read(DynamicsSummary, draft=True)
    what = str(run.path / "summary.json")
    if found.setting is UNSET or found.radius_ratio is UNSET:
        raise bad(str(run.path), expected="a run of one setting", got="a sweep")
    setting = read_value(found.setting, what, _Setting)
    name = plain_text(found.preset)
    if found.calibrated:
        name += " (calibrated)"
    threat = f"radius {found.radius_ratio:.3g} x signal, robust weight {setting.robust_weight:.3g}"
    stages = found.stages or {}
    ends = [stages.get(name, NOT_REACHED) for name in BOUNDARIES]
    title = f"{name}: {threat}; {counted(found.n_seeds, 'seed')}, range shaded"
    return _Described(title, setting.data.signal_strength, ends)


def stages_figure(folder: Path) -> Path:
    """Draw Figure 2(c): signal and noise learned against the step, stage boundaries; below, robust accuracy.

    The lower panel shows the robust training and the robust test accuracy: when the noise is memorized the first one
    rises and the second does not.

    Args:
        folder: a run of `cgro dynamics`.

    Returns:
        The PNG; an SVG lies beside it.

    Raises:
        BadRequest: nothing was recorded, or the run is damaged.
    """
    run = Run.open(folder)
    recorded = _read_recording(run)
    found = _read_description(run)
    keep = recorded.steps >= 1  # the axis is logarithmic
    steps = recorded.steps[keep]
    path = run.path / "figures" / "stages.png"
    with figure(path, 7.6, 6.2) as drawing:
        upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
        signal = recorded.signal_margin[keep]
        noise = recorded.noise_learned[keep]
        draw_band(upper, steps, signal, color=SIGNAL, label=r"signal learned, $\alpha^q U$", linestyle="-")
        draw_band(upper, steps, noise, color=MEMORY, label=r"noise learned, mean $V_i$", linestyle="-.")
        upper.set(xscale="log", ylabel="contribution to the margin (logits)")
        upper.margins(x=0)
        for label, errors, style in (
            ("robust accuracy, train", recorded.robust_train, TRAIN),
            ("robust accuracy, test", recorded.robust_test, TEST),
        ):
            draw_band(lower, steps, 100 * (1 - errors[keep]), color=ROBUST, label=label, **style)
        lower.set(xlabel="step of gradient descent", ylabel="accuracy (%)", ylim=(-3, 103))
        if len(steps):  # none where training stopped before its first step
            _mark_stages(upper, found.ends, float(steps[-1]))
        for end in _ends_of_all(found.ends):
            lower.axvline(end, color=MARK, linewidth=1)
        handles = upper.get_legend_handles_labels()[0] + lower.get_legend_handles_labels()[0]
        drawing.legend(handles=handles, loc="outside lower center", ncols=2)
        upper.set_title(textwrap.fill(found.title, TITLE_WIDTH, break_long_words=False), pad=18)
    return path


def _ends_of_all(ends: Sequence[BoundaryRecord]) -> list[float]:
    """The boundaries that all seeds found, as means over them."""
    return [end.mean for end in ends if end.mean]


def _mark_stages(axes: Axes, ends: Sequence[BoundaryRecord], last: float) -> None:
    """Draw a line at each boundary that all seeds found, its spread as a band, and before it the stage's number."""
    top = axes.get_xaxis_transform()
    start = 1.0
    found = []
    for numeral, end in zip(("I", "II", "III"), ends, strict=True):
        steps = [step for step in end.per_seed if step is not None]
        if not end.mean or not steps:
            continue
        found.append(numeral)
        axes.axvspan(min(steps), max(steps), color=MARK, alpha=0.12, linewidth=0)
        axes.axvline(end.mean, color=MARK, linewidth=1)
        axes.text(np.sqrt(start * end.mean), 1.015, numeral, transform=top, ha="center", color=MARK)
        start = end.mean
    if found == ["I"]:
        axes.text(np.sqrt(start * last), 1.015, "no later stage found", transform=top, ha="center", color=MARK)


def filters_figure(folder: Path) -> Path:
    """Draw the filters of the first seed at four times: each one's signal against its largest noise component.

    Args:
        folder: a run of `cgro dynamics`.

    Returns:
        The PNG; an SVG lies beside it.
    """
    run = Run.open(folder)
    recorded = _read_recording(run)
    found = _read_description(run)
    times = _four_times(found.first_seed, recorded)
    limits = _Limits.of(recorded, found.strength)
    path = run.path / "figures" / "filters.png"
    with figure(path, 9.6, 2.9) as drawing:
        panels = drawing.subplots(1, len(times), sharex=True, sharey=True, squeeze=False)[0]
        for axes, at in zip(panels, times, strict=True):
            signal = found.strength * recorded.filter_signal[at]
            axes.scatter(signal, recorded.filter_noise[at], **DOTS)
            limits.apply(axes)
            axes.set_title(f"step {recorded.steps[at]:.0f}")
            axes.set_xlabel(SIGNAL_AXIS)
        panels[0].set_ylabel(NOISE_AXIS)
    return path


def _four_times(ends: Sequence[float | None], recorded: Recording) -> list[int]:
    """The beginning, the first two boundaries that were found (else even times) and the end, as indices of records."""
    inner = [end for end in ends if end][:2]
    last = recorded.steps[-1]
    if len(inner) < 2:
        inner = np.geomspace(max(last**0.25, 1), max(last**0.8, 1), 2).tolist()
    times = {0, len(recorded.steps) - 1}
    times.update(recorded.nearest(step) for step in inner)
    return sorted(times)


def _largest(values: np.ndarray) -> float:
    """The largest size among numbers that an axis can show: filters of a training that diverged grow past any."""
    sizes = np.abs(values)
    shown = sizes[sizes < LARGEST_SHOWN]
    return float(shown.max()) if shown.size and shown.max() > 0 else 1.0


@dataclass(frozen=True)
class _Limits:
    """Of the axes of filter space, the same at all times.

    Attributes:
        signal: half the width of the signal's axis.
        noise: the end of the noise's axis.
    """

    signal: float
    noise: float

    @classmethod
    def of(cls, recorded: Recording, strength: float) -> "_Limits":
        signal = _largest(strength * np.asarray(recorded.filter_signal))
        return cls(1.1 * signal, 1.1 * _largest(np.asarray(recorded.filter_noise)))

    def apply(self, axes: Axes) -> None:
        axes.set(xlim=(-self.signal, self.signal), ylim=(-0.08 * self.noise, self.noise))


def filters_gif(folder: Path, n_frames: int = 48) -> Path:
    """Draw the filters of the first seed over time, evenly in the logarithm of the step, as an animation.

    Args:
        folder: a run of `cgro dynamics`.
        n_frames: how many images; the first is that of the initial filters.

    Returns:
        The GIF.
    """
    run = Run.open(folder)
    recorded = _read_recording(run)
    found = _read_description(run)
    drawing = Figure(figsize=(4.4, 3.6), dpi=90)
    canvas = FigureCanvasAgg(drawing)
    axes = drawing.add_axes((0.15, 0.15, 0.82, 0.75))
    points = axes.scatter([], [], **DOTS)
    axes.set(xlabel=SIGNAL_AXIS, ylabel=NOISE_AXIS)
    _Limits.of(recorded, found.strength).apply(axes)
    axes.grid(alpha=0.25)
    frames = []
    for step in [0.0, *np.geomspace(1, max(recorded.steps[-1], 1), n_frames - 1)]:
        at = recorded.nearest(step)
        points.set_offsets(np.stack([found.strength * recorded.filter_signal[at], recorded.filter_noise[at]], 1))
        axes.set_title(
            f"step {recorded.steps[at]:.0f}   {_stage_name(found.first_seed, recorded.steps[at])}", fontsize=10
        )
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        frames.append(Image.fromarray(pixels).quantize(64))
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    path = run.file("figures", "filters.gif")
    write_atomic(path, buffer.getvalue())
    return path


def _stage_name(ends: Sequence[float | None], step: float) -> str:
    """Which stage a seed is in."""
    names = ("stage I: signal grows", "stage II: signal stalls", "stage III: noise is memorized")
    for name, end in zip(names, ends, strict=True):
        if end is None or step < end:
            return name
    return "memorized"
