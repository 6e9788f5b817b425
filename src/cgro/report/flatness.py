"""Figures 3 and 4: flatness against the radius, over training, and against the robust generalization gap."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cgro.reading import read_json
from cgro.report.shape import NUMBER, SHALLOW, Maybe, fault_in, require
from cgro.report.style import BLUE, GREEN, GREY, ORANGE, RED, TEST, TRAIN, figure, plain_text

LOOK: dict[str, dict[str, Any]] = {
    "train": {"color": BLUE, "label": "train (local)", **TRAIN},
    "test": {"color": RED, "label": "test (global)", **TEST},
    "between": {"color": GREEN, "label": "between", "linestyle": ":"},
}
MEASURES = (("gradient", r"max $\|\nabla_x L\|$ in the ball"), ("rise", "max rise of the loss in the ball"))

_AVERAGE = {"value": NUMBER, "interval": Maybe([NUMBER])}
_CURVE = {
    "data": SHALLOW, "note": SHALLOW, "model": SHALLOW, "width": SHALLOW, "seed": SHALLOW, "training_name": SHALLOW,
    "radii": [NUMBER], "training_radius": NUMBER,
    "checkpoints": [
        {"epoch": Maybe(NUMBER), "parts": {...: {"loss": Maybe(NUMBER), "gradient": [_AVERAGE], "rise": [_AVERAGE]}}}
    ],
}  # fmt: skip


def draw(folder: Path) -> list[Path]:
    """Draw all figures that a run with flatness/curves.json supports.

    Args:
        folder: the run.

    Returns:
        The PNG of each; SVGs lie beside them.

    Raises:
        BadRequest: the curves are damaged or of another shape; names the file.
    """
    path = folder / "flatness" / "curves.json"
    curves = read_json(path)
    _require_curves(curves, str(path))
    drawn = [by_radius(folder / "figures" / "flatness_by_radius", curves)]
    if all(len(_epochs(c)) > 1 for c in curves):
        drawn.append(by_epoch(folder, curves))
        drawn.append(over_training(folder / "figures" / "flatness_over_training", curves))
    return drawn


def _require_curves(curves: Any, what: str) -> None:
    """Every checkpoint has the same parts, and each part a value for each radius."""
    require(curves, [_CURVE], what)
    rows = [row for curve in curves for row in curve["checkpoints"]]
    if not rows or not all(curve["checkpoints"] for curve in curves):
        raise fault_in(what, "", "one or more checkpoints", "none")
    parts = set(rows[0]["parts"])
    if not parts or any(set(row["parts"]) != parts for row in rows):
        raise fault_in(what, "", "checkpoints of the same parts", "others")
    lengths = {len(part[measure]) for row in rows for part in row["parts"].values() for measure, _ in MEASURES}
    if lengths | {len(curve["radii"]) for curve in curves} != lengths or len(lengths) != 1:
        raise fault_in(what, "", "checkpoints with a value for each radius", "others")


def _look(part: str) -> dict[str, Any]:
    """How a part is drawn; of one that this version does not know, its name."""
    return LOOK.get(part, {"color": ORANGE, "label": plain_text(part), "linestyle": "-."})


def _epochs(curve: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in curve["checkpoints"] if row.get("epoch") is not None]


def _values(rows: list[dict[str, Any]], part: str, measure: str) -> np.ndarray:
    """(rows, radii)"""
    return np.array([[a["value"] for a in row["parts"][part][measure]] for row in rows])


def training_index(curve: dict[str, Any]) -> int | None:
    """Where the training radius stands among the radii."""
    close = [math.isclose(r, curve["training_radius"], rel_tol=1e-6) for r in curve["radii"]]
    return close.index(True) if True in close else None


def gaps(curves: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray] | None:
    """Global flatness and robust gap of the loss, (runs, epochs) each, over the epochs that all runs have; or None.

    The gap is the mean of loss + rise at the training radius, test minus train.
    """
    k = training_index(curves[0])
    common = set.intersection(*({row["epoch"] for row in _epochs(c)} for c in curves))
    if k is None or len(common) < 3:
        return None
    rows = [[row for row in _epochs(c) if row["epoch"] in common] for c in curves]
    measured = [row["parts"].get(part, {}) for r in rows for row in r for part in ("train", "test")]
    if any(part.get("loss") is None for part in measured):
        return None
    flat = np.array([[row["parts"]["test"]["gradient"][k]["value"] for row in r] for r in rows])
    robust = {
        part: np.array(
            [[row["parts"][part]["loss"] + row["parts"][part]["rise"][k]["value"] for row in r] for r in rows]
        )
        for part in ("train", "test")
    }
    return flat, robust["test"] - robust["train"]


def _title(curves: list[dict[str, Any]]) -> str:
    c = curves[0]
    width = f" x{plain_text(c['width'])}" if c["width"] else ""
    seeds = f", {len(curves)} runs" if len(curves) > 1 else ""
    data, model, radius = (plain_text(text) for text in (c["note"] or c["data"], c["model"], c["training_name"]))
    return f"{data}, {model}{width}, trained at {radius}{seeds}"


def _mark(axes: Axes, curve: dict[str, Any]) -> None:
    """The training radius, and a logarithmic axis with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes.axvline(curve["training_radius"], color=GREY, linewidth=1, linestyle="-.", label="training radius")


def by_radius(path: Path, curves: list[dict[str, Any]]) -> Path:
    """Figure 3: both measures against the radius, train and test, at the last checkpoint; bars: 95%, or runs' spread.

    Logarithmic, as beyond the training radius both grow by an order of magnitude and hide what is inside.
    """
    last = [c["checkpoints"][-1] for c in curves]
    with figure(path, width=9.6, height=4.0) as drawing:
        for axes, (measure, label) in zip(drawing.subplots(1, 2), MEASURES, strict=True):
            for part in last[0]["parts"]:
                radii, values = curves[0]["radii"], _values(last, part, measure)
                if len(values) > 1:
                    spread = values.std(0, ddof=1)
                else:
                    entries = last[0]["parts"][part][measure]
                    spread = np.array([(e["interval"][1] - e["interval"][0]) / 2 for e in entries])
                axes.errorbar(radii, values.mean(0), spread, capsize=2, elinewidth=0.8, **_look(part))
            _mark(axes, curves[0])
            axes.set(xlabel="radius (units of the input)", ylabel=label, xlim=(0, None))
            axes.legend(fontsize=9)
        drawing.suptitle(
            f"Flatness against the radius (lower bounds)\n{_title(curves)}", fontsize=11, fontweight="bold"
        )
    return path.with_suffix(".png")


def by_epoch(folder: Path, curves: list[dict[str, Any]]) -> Path:
    """Figure 3 over epochs, as small multiples of the first run: one column an epoch, one row a measure."""
    path = folder / "figures" / "flatness_by_epoch"
    rows = _epochs(curves[0])
    chosen = [rows[i] for i in sorted({round(v) for v in np.linspace(0, len(rows) - 1, min(6, len(rows)))})]
    with figure(path, width=2.0 * len(chosen) + 1, height=4.6) as drawing:
        grid = drawing.subplots(2, len(chosen), sharex=True, sharey="row", squeeze=False)
        for column, row in enumerate(chosen):
            for line, (measure, label) in enumerate(MEASURES):
                axes = grid[line][column]
                for part in row["parts"]:
                    axes.plot(curves[0]["radii"], _values([row], part, measure)[0], **_look(part))
                _mark(axes, curves[0])
                axes.set(xlim=(0, None))
                if not column:
                    axes.set_ylabel(label, fontsize=9)
            grid[0][column].set_title(f"epoch {row['epoch']}", fontsize=10)
        grid[0][0].legend(fontsize=7)
        drawing.supxlabel("radius (units of the input)", fontsize=9)
        drawing.suptitle(_title(curves[:1]) + f", seed {plain_text(curves[0]['seed'])}", fontsize=11, fontweight="bold")
    return path.with_suffix(".png")


def over_training(path: Path, curves: list[dict[str, Any]]) -> Path:
    """Figure 4: local and global flatness over training; the robust gap against global flatness over checkpoints."""
    k, points = training_index(curves[0]), gaps(curves)
    with figure(path, width=9.6, height=4.0) as drawing:
        left, right = drawing.subplots(1, 2)
        for c in curves:
            rows = _epochs(c)
            for part in rows[0]["parts"]:
                look = _look(part) | ({"label": None} if c is not curves[0] else {})
                column = -1 if k is None else k
                left.plot(
                    [r["epoch"] for r in rows],
                    _values(rows, part, "gradient")[:, column],
                    marker=".",
                    alpha=0.8,
                    **look,
                )
        left.set(
            xlabel="epoch", ylabel=f"{MEASURES[0][1]}, radius {plain_text(curves[0]['training_name'])}", ylim=(0, None)
        )
        left.legend(fontsize=9)
        if points is None:
            right.set_axis_off()
        else:
            _scatter(right, curves, *points)
        drawing.suptitle(f"Flatness over training\n{_title(curves)}", fontsize=11, fontweight="bold")
    return path.with_suffix(".png")


def _scatter(axes: Axes, curves: list[dict[str, Any]], flat: np.ndarray, gap: np.ndarray) -> None:
    for seed, (u, v) in enumerate(zip(flat, gap, strict=True)):
        color, marker = (BLUE, ORANGE, GREEN, RED)[seed % 4], "os^D"[seed % 4]
        axes.plot(u, v, color=color, linewidth=0.6, alpha=0.6)
        axes.scatter(u, v, color=color, marker=marker, s=22, label=f"seed {plain_text(curves[seed]['seed'])}")
    axes.set(xlabel=f"global flatness ({MEASURES[0][1]}, test)", ylabel="robust gap of the loss, test - train")
    axes.legend(fontsize=9, title=_rank(flat, gap), title_fontsize=9)


def _rank(flat: np.ndarray, gap: np.ndarray) -> str:
    """Spearman's rho of the pooled points; ties do not occur among measured means."""
    a, b = (v.ravel().argsort().argsort() for v in (flat, gap))
    return f"rank correlation {np.corrcoef(a, b)[0, 1]:.2f}"
