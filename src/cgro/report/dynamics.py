"""Figure 2(c), filter space and phase diagrams of Section 5, from run directories."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cgro._check import bad
from cgro.report.shape import fault_in
from cgro.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, figure, plain_text
from cgro.runs import Run, write_atomic

_BOUNDARIES = {"signal_growth_end": "I", "memorization_start": "II", "memorization_end": "III"}
AXIS_NAMES = {
    "radius_ratio": "radius / signal strength", "robust_weight": "robust weight", "signal_strength": "signal strength",
    "n_train": "training examples", "patch_dim": "patch dimension", "activation_power": "activation power q",
    "n_filters": "filters", "noise_std": "noise standard deviation", "init_std": "initial standard deviation",
    "n_patches": "patches", "lr": "step size", "batch_size": "batch size", "n_signals": "signal directions",
}  # fmt: skip


def _axis_name(parameter: str) -> str:
    """What an axis is called; a parameter that this version does not know, by its own name."""
    return AXIS_NAMES.get(parameter, plain_text(parameter))


def _columns(run: Run) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rows = run.rows()
    if not rows:
        raise bad(str(run.path), expected="recorded steps in metrics.jsonl", got="none")
    try:
        steps = np.array([row["step"] for row in rows], float)
        return steps, {k: np.array([row[k] for row in rows], float) for k in rows[0] if k != "step"}
    except (KeyError, TypeError, ValueError) as error:
        raise fault_in(str(run.path / "metrics.jsonl"), "", "equal rows of numbers", repr(error)) from None


def _band(axes: Axes, steps: np.ndarray, values: np.ndarray, color: str, label: str, **style: Any) -> None:
    """Mean over seeds, and the range from the smallest to the largest seed."""
    axes.plot(steps, values.mean(1), color=color, label=label, **style)
    if values.shape[1] > 1:
        axes.fill_between(steps, values.min(1), values.max(1), color=color, alpha=0.18, linewidth=0)


def stages_figure(folder: Path) -> Path:
    """Figure 2(c): signal and noise learned against the step, stage boundaries, robust training accuracy on the right.

    Args:
        folder: a run of `cgro dynamics`.

    Returns:
        The PNG; an SVG lies beside it.
    """
    run = Run.open(folder)
    steps, values = _columns(run)
    result, path = run.result, run.path / "figures" / "stages.png"
    keep = steps >= 1
    steps = steps[keep]
    with figure(path, 7.6, 4.6) as drawing:
        axes = drawing.add_subplot()
        _band(axes, steps, values["signal_margin"][keep], BLUE, r"signal learned, $\alpha^q U$")
        _band(axes, steps, values["noise_learned"][keep], RED, r"noise learned, mean $V_i$", linestyle="--")
        axes.set(xscale="log", xlabel="step of gradient descent", ylabel="contribution to the margin")
        axes.margins(x=0)
        right = axes.twinx()
        accuracy = 100 * (1 - values["robust_error/train"][keep])
        _band(right, steps, accuracy, GREEN, "robust training accuracy (right)", linestyle=":")
        right.set(ylabel="accuracy (%)", ylim=(-3, 103))
        right.spines["right"].set_visible(True)
        right.grid(False)
        _mark_stages(axes, result["stages"] or {}, steps[-1])
        handles = [h for a in (axes, right) for h in a.get_legend_handles_labels()[0]]
        drawing.legend(handles=handles, loc="outside lower center", ncols=3)
        axes.set_title(_title(result), pad=18)
    return path


def _mark_stages(axes: Axes, stages: dict[str, Any], last: float) -> None:
    """A line at each boundary that all seeds found, its spread as a band, and the stage's number before it."""
    start, top = 1.0, axes.get_xaxis_transform()
    found = [(label, stages[name]) for name, label in _BOUNDARIES.items() if stages.get(name, {}).get("mean")]
    for label, boundary in found:
        step, per_seed = boundary["mean"], boundary["per_seed"]
        axes.axvspan(min(per_seed), max(per_seed), color=GREY, alpha=0.12, linewidth=0)
        axes.axvline(step, color=GREY, linewidth=1)
        axes.text(np.sqrt(start * step), 1.015, label, transform=top, ha="center", color=GREY)
        start = step
    if found and found[-1][0] == "I":
        axes.text(np.sqrt(start * last), 1.015, "no later stage found", transform=top, ha="center", color=GREY)


def _title(result: dict[str, Any]) -> str:
    seeds = f"{result['n_seeds']} seed{'s' if result['n_seeds'] > 1 else ''}, range shaded"
    name = plain_text(result["preset"]) + (" (calibrated)" if result["calibrated"] else "")
    weight, ratio = result["setting"]["robust_weight"], result["radius_ratio"]
    return f"{name}: radius {ratio:.3g} x signal, robust weight {weight:.3g}; {seeds}"


def filters_figure(folder: Path) -> Path:
    """Filter space of the first seed at four times: each filter's signal against its largest noise coordinate."""
    run = Run.open(folder)
    steps, values = _columns(run)
    path = run.path / "figures" / "filters.png"
    wanted = _four_times(run.result["stages"] or {}, steps)
    limits = _limits(run, values)
    with figure(path, 9.6, 2.9) as drawing:
        panels = drawing.subplots(1, len(wanted), sharex=True, sharey=True)
        for axes, at in zip(panels, wanted, strict=True):
            _scatter(axes, values, at, limits)
            axes.set_title(f"step {steps[at]:.0f}")
            axes.set_xlabel(r"signal $\alpha\langle w_r, w^*\rangle$")
        panels[0].set_ylabel(r"noise $\max_i\, y_i\langle w_r, X_i[j]\rangle$")
    return path


def _four_times(stages: dict[str, Any], steps: np.ndarray) -> list[int]:
    """The beginning, the boundaries that were found (else even times) and the end, as record indices."""
    found = [stages[n]["per_seed"][0] for n in _BOUNDARIES if stages.get(n, {}).get("per_seed", [None])[0]]
    inner = found[:2] if len(found) >= 2 else np.geomspace(max(steps[-1] ** 0.25, 1), max(steps[-1] ** 0.8, 1), 2)
    times = [int(np.abs(steps - t).argmin()) for t in inner]
    return sorted({0, *times, len(steps) - 1})


def _limits(run: Run, values: dict[str, np.ndarray]) -> tuple[float, float, float]:
    """alpha, and half the width of both axes."""
    strength = float(run.result["setting"]["data"]["signal_strength"])
    wide = 1.1 * strength * np.nanmax(np.abs(values["filter_signal"]))
    return strength, wide, 1.1 * np.nanmax(np.abs(values["filter_noise"]))


def _scatter(axes: Axes, values: dict[str, np.ndarray], at: int, limits: tuple[float, float, float]) -> None:
    strength, wide, high = limits
    axes.scatter(strength * values["filter_signal"][at], values["filter_noise"][at], s=16, color=PURPLE, alpha=0.75)
    axes.set(xlim=(-wide, wide), ylim=(-0.08 * high, high))


def filters_gif(folder: Path, n_frames: int = 48) -> Path:
    """The filters of the first seed over time, evenly in the logarithm of the step, as an animation."""
    from PIL import Image

    run = Run.open(folder)
    steps, values = _columns(run)
    (strength, wide, high), frames = _limits(run, values), []
    drawing = Figure(figsize=(4.4, 3.6), dpi=90)
    canvas = FigureCanvasAgg(drawing)
    axes = drawing.add_axes((0.15, 0.15, 0.82, 0.75))
    points = axes.scatter([], [], s=16, color=PURPLE, alpha=0.75)
    axes.set(xlim=(-wide, wide), ylim=(-0.08 * high, high), xlabel=r"signal $\alpha\langle w_r, w^*\rangle$",
             ylabel=r"noise $\max_i\, y_i\langle w_r, X_i[j]\rangle$")  # fmt: skip
    axes.grid(alpha=0.25)
    for t in np.r_[0, np.geomspace(1, steps[-1], n_frames - 1)]:
        at = int(np.abs(steps - t).argmin())
        points.set_offsets(np.stack([strength * values["filter_signal"][at], values["filter_noise"][at]], 1))
        axes.set_title(f"step {steps[at]:.0f}   " + _stage_name(run.result["stages"] or {}, steps[at]), fontsize=10)
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()).quantize(64))
    buffer = io.BytesIO()
    durations = [120] * (len(frames) - 1) + [1500]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    path = run.file("figures", "filters.gif")
    write_atomic(path, buffer.getvalue())
    return path


def _stage_name(stages: dict[str, Any], step: float) -> str:
    """Which stage the first seed is in."""
    ends = [stages.get(n, {}).get("per_seed", [None])[0] for n in _BOUNDARIES]
    if ends[0] is None or step < ends[0]:
        return "stage I: signal grows"
    if ends[1] is None or step < ends[1]:
        return "stage II: signal stalls"
    if ends[2] is None or step < ends[2]:
        return "stage III: noise is memorized"
    return "memorized"


def phase_diagram(folder: Path) -> Path:
    """Robust test accuracy over the sweep, with the predicted boundaries drawn on it.

    Solid: onset of memorization, delta/alpha = 1 - rho_c. Dashed: extinction of the signal. Cells that diverged are
    gray.
    """
    run = Run.open(folder)
    rows, axes_values = run.rows(), run.result["sweep"]
    path = run.path / "figures" / "phase.png"
    names, good = list(axes_values), ("completed", "stopped")
    accuracy = np.array(
        [100 * (1 - np.mean(row["robust_error/test"])) if row["outcome"] in good else np.nan for row in rows]
    )
    if len(names) == 1:
        _line(path, run, rows, names[0])
        return path
    x, y = (np.array(axes_values[n], float) for n in names)
    shape = len(x), len(y)
    with figure(path, 6.8, 5.0) as drawing:
        axes = drawing.add_subplot()
        axes.set_facecolor("#bbbbbb")
        image = axes.pcolormesh(x, y, accuracy.reshape(shape).T, cmap="cividis", vmin=0, vmax=100, shading="nearest")
        drawing.colorbar(image, ax=axes, label="robust test accuracy (%)")
        for key, style in (("onset_ratio", "-"), ("extinction_ratio", "--")):
            if all(row[key] is not None for row in rows):
                limit = np.array([float(row[key]) for row in rows])  # "inf" is text in strict JSON
                distance = np.array([row["radius_over_strength"] for row in rows]) - limit
                distance = np.nan_to_num(distance, neginf=-1e3).reshape(shape).T
                if distance.min() < 0 < distance.max():
                    axes.contour(x, y, distance, levels=[0.0], colors=[RED], linestyles=[style])
                    axes.plot([], [], color=RED, linestyle=style, label="predicted " + key.split("_")[0])
        if axes.get_legend_handles_labels()[0]:
            drawing.legend(loc="outside lower center", ncols=2)
        axes.grid(False)
        axes.set(xlabel=_axis_name(names[0]), ylabel=_axis_name(names[1]))
        axes.set_title(f"{plain_text(run.result['preset'])}, {run.result['n_seeds']} seeds a cell")
    return path


def _line(path: Path, run: Run, rows: list[dict[str, Any]], name: str) -> None:
    """A sweep of one parameter: four accuracies' two test curves, and the signal learned."""
    x = np.array(run.result["sweep"][name], float)
    with figure(path, 6.8, 4.4) as drawing:
        axes = drawing.add_subplot()
        shown = (("clean_error/test", BLUE, "clean test", "-"), ("robust_error/train", GREEN, "robust training", "--"),
                 ("robust_error/test", RED, "robust test", "-"))  # fmt: skip
        for key, color, label, style in shown:
            _band(
                axes,
                x,
                100 * (1 - np.array([row[key] for row in rows], float)),
                color,
                label,
                linestyle=style,
                marker="o",
                markersize=3,
            )
        for key, style in (("onset_ratio", "-"), ("extinction_ratio", "--")):
            limits = [row[key] for row in rows]
            ahead = [
                row["radius_over_strength"] - float(v) for row, v in zip(rows, limits, strict=True) if v is not None
            ]
            if len(ahead) == len(x) and min(ahead) < 0 < max(ahead):
                at = int(np.nonzero(np.diff(np.sign(ahead)))[0][0])
                share = ahead[at] / (ahead[at] - ahead[at + 1])
                axes.axvline(
                    x[at] + share * (x[at + 1] - x[at]),
                    color=ORANGE,
                    linestyle=style,
                    label="predicted " + key.split("_")[0],
                )
        axes.set(xlabel=_axis_name(name), ylabel="accuracy (%)", ylim=(-3, 103))
        drawing.legend(loc="outside lower center", ncols=3)
        axes.set_title(f"{plain_text(run.result['preset'])}, {run.result['n_seeds']} seeds, range shaded")
