"""Figures of a training run: learning curves with the robust gap, and adversarial images."""

from pathlib import Path
from typing import Any

import numpy as np

from cgro.report.examples import image_of, read_examples
from cgro.report.shape import INTERVAL, NUMBER, SHALLOW, SHARE, Maybe, require
from cgro.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, TEST, TRAIN, figure, norm_text, plain_text
from cgro.runs import Run

_ERRORS = ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
_BY_EPOCH = {...: {...: [{"epoch": NUMBER, "value": SHARE, "interval": INTERVAL, "complete": SHALLOW}]}}


def _curves(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Epochs and (seeds, epochs) arrays of each error, of one run or of all its seeds."""
    parts = sorted(folder.glob("seed-*")) or [folder]
    rows = [_evaluated(Run(part)) for part in parts]
    length = min(len(r) for r in rows)
    epochs = np.array([r["epoch"] for r in rows[0][:length]])
    return epochs, {k: np.array([[r.get(k) for r in seed[:length]] for seed in rows], float) for k in _ERRORS}


def _evaluated(run: Run) -> list[dict[str, Any]]:
    """Rows of the epochs after which the network was evaluated."""
    what = str(run.path / "metrics.jsonl")
    rows = run.rows()
    require(rows, [{...: SHALLOW}], what)
    found = [row for row in rows if "robust_error/test" in row]
    require(found, [{"epoch": NUMBER, **dict.fromkeys(_ERRORS, Maybe(SHARE))}], what)
    return found


def learning_curves(folder: Path) -> Path | None:
    """Clean and robust error on train and test against the epoch; the robust gap is shaded.

    Over several seeds the lines are means and the thin bars one standard deviation.
    """
    epochs, curves = _curves(folder)
    if not len(epochs):
        return None
    path = folder / "figures" / "learning_curves"
    with figure(path) as drawing:
        axes = drawing.subplots()
        for kind, color in (("robust", RED), ("clean", BLUE)):
            for part, style in (("train", TRAIN), ("test", TEST)):
                values = 100 * curves[f"{kind}_error/{part}"]
                axes.plot(epochs, values.mean(0), color=color, label=f"{kind} error, {part}", **style)
                if len(values) > 1:
                    axes.errorbar(epochs, values.mean(0), values.std(0, ddof=1), fmt="none", color=color, linewidth=0.8)
        low, high = (100 * curves[f"robust_error/{part}"].mean(0) for part in ("train", "test"))
        axes.fill_between(epochs, low, high, where=high >= low, color=ORANGE, alpha=0.25, linewidth=0)
        axes.annotate(
            f"robust gap {high[-1] - low[-1]:.1f} points", (epochs[-1], (low[-1] + high[-1]) / 2),
            xytext=(-8, 0), textcoords="offset points", ha="right", va="center", fontsize=9,
        )  # fmt: skip
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None), title=_title(folder))
        axes.legend(ncols=2, fontsize=9)
    return path.with_suffix(".png")


def robust_error_by_epoch(folder: Path) -> Path | None:
    """The robust error of every kept checkpoint by each attack that was tried on all of them; unfinished ones are hollow."""
    curves = Run(folder).summary.get("curves") or {}
    require(curves, _BY_EPOCH, str(folder / "summary.json"))
    if not curves:
        return None
    path = folder / "figures" / "robust_error_by_epoch"
    with figure(path) as drawing:
        axes = drawing.subplots()
        for (name, parts), color in zip(curves.items(), (RED, BLUE, GREEN, PURPLE, ORANGE), strict=False):
            for part, rows in parts.items():
                epochs, values = [r["epoch"] for r in rows], np.array([100 * r["value"] for r in rows])
                low, high = (np.array([100 * r["interval"][k] for r in rows]) for k in (0, 1))
                axes.plot(
                    epochs,
                    values,
                    color=color,
                    label=plain_text(f"{name}, {part}"),
                    **(TRAIN if part == "train" else TEST),
                )
                axes.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
                for complete, face in ((True, color), (False, "white")):
                    chosen = [k for k, r in enumerate(rows) if r["complete"] == complete]
                    axes.plot([epochs[k] for k in chosen], values[chosen], "o", color=color, markerfacecolor=face)
        axes.set(xlabel="epoch", ylabel="robust error, lower bound (%)", ylim=(0, None), title=_title(folder))
        axes.legend(fontsize=9)
    return path.with_suffix(".png")


def _title(folder: Path) -> str:
    config = Run(folder).config
    require(config, dict.fromkeys(("data", "p", "radius", "attack"), SHALLOW), str(folder / "config.yaml"))
    seeds = config.get("seeds", 1)
    what = "standard training" if config["attack"] == "none" else "adversarial training"
    title = f"{plain_text(config['data'])}: {what}, {norm_text(config['p'])} radius {plain_text(config['radius'])}"
    return f"{title}, {plain_text(seeds)} seeds" if seeds != 1 else title


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
    n = len(found)
    delta = found.x_adv - found.x
    scale = float(np.abs(delta).max()) or 1.0
    path = folder / "figures" / "adversarial_examples"
    with figure(path, width=1.15 * n + 0.8, height=4.1) as drawing:
        grid = drawing.subplots(3, n, squeeze=False)
        for i in range(n):
            rows = (
                (image_of(found.x[i]), found.before[i], found.right_before[i], None),
                (_flat(delta[i]), "", True, scale),
                (image_of(found.x_adv[i]), found.after[i], found.right_after[i], None),
            )
            for row, (image, text, right, limit) in enumerate(rows):
                axes = grid[row][i]
                look = (
                    {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
                    if limit
                    else {"cmap": "gray", "vmin": 0, "vmax": 1}
                )
                axes.imshow(image, **look)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(False)
                for side in axes.spines.values():
                    side.set(visible=True, color=GREY if right else RED, linewidth=0.8 if right else 2.2)
                axes.set_title(
                    plain_text(text) + ("" if right else "  wrong"), fontsize=9, color="black" if right else RED
                )
        for row, text in enumerate(("clean", f"change\n(at most {scale:.3g})", "attacked")):
            grid[row][0].set_ylabel(text, fontsize=9)
        drawing.suptitle("Predictions before and after the attack, test images", fontsize=11)
    return path.with_suffix(".png")


def _flat(delta: np.ndarray) -> np.ndarray:
    """The channel mean of a perturbation."""
    return delta.mean(0)
