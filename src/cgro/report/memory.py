"""The memory probe: attacked margins, and who is remembered."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cgro.reading import read_json_object, read_npz
from cgro.report.shape import INTERVAL, NUMBER, Maybe, fault_in, require
from cgro.report.style import BLUE, GREEN, GREY, RED, TEST, TRAIN, figure, plain_text

LOOK: dict[str, dict[str, Any]] = {"train": {"color": BLUE, **TRAIN}, "test": {"color": RED, **TEST}}
QUARTERS = ("nearest", "2nd", "3rd", "farthest")

_QUARTER = {"memory": NUMBER, "train": NUMBER, "test": NUMBER, "interval": INTERVAL}
_MEMORY = {"radius": NUMBER, "quarters": Maybe([_QUARTER]), "influence": Maybe([NUMBER])}


def draw(folder: Path) -> Path:
    """Margins as cumulative shares; with a clean network, the share that stands by quarter; with retraining, influence."""
    found = read_json_object(folder / "memory.json")
    require(found, _MEMORY, str(folder / "memory.json"))
    panels = [_margins, *([_quarters] if "quarters" in found else []), *([_influence] if "influence" in found else [])]
    path = folder / "figures" / "memory"
    examples = read_npz(folder / "examples.npz")
    for part in LOOK:
        margins = examples.get(f"{part}/margin", np.zeros(0))
        if margins.ndim != 1 or not margins.size or margins.dtype.kind != "f":
            raise fault_in(str(folder / "examples.npz"), f"{part}/margin", "a list of margins", "another array or none")
    with figure(path, width=1.2 + 3.6 * len(panels), height=3.8) as drawing:
        for axes, panel in zip(drawing.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            panel(axes, found, examples)
        drawing.suptitle(f"Memory in the balls of radius {found['radius']:.3g}", fontsize=11, fontweight="bold")
    return path.with_suffix(".png")


def _margins(axes: Axes, found: dict[str, Any], examples: dict[str, np.ndarray]) -> None:
    """Left of 0 an example has fallen: the curves' height there is the robust error."""
    for part, look in LOOK.items():
        values = np.sort(examples[f"{part}/margin"])
        axes.step(values, np.arange(1, len(values) + 1) / len(values), where="post", label=part, **look)
    low, high = np.percentile(np.concatenate([examples[f"{p}/margin"] for p in LOOK]), (1, 99))
    axes.axvline(0, color=GREY, linewidth=1, linestyle="-.")
    axes.set(xlabel="attacked margin (logits)", ylabel="share of examples below", xlim=(low, high), ylim=(0, 1))
    axes.legend(fontsize=9)


def _quarters(axes: Axes, found: dict[str, Any], _: dict[str, np.ndarray]) -> None:
    rows = found["quarters"]
    memory, ends = np.array([row["memory"] for row in rows]), np.array([row["interval"] for row in rows])
    shares = {part: (np.array([row[part] for row in rows]), None) for part in LOOK}
    _panel(axes, shares, memory, np.array([memory - ends[:, 0], ends[:, 1] - memory]))


def over_seeds(path: Path, data: Mapping[str, Mapping[str, Any]]) -> Path:
    """The quarters of several seeds, one panel a data set; bars one standard deviation.

    Args:
        data: name -> {"quarters": {"train", "test", "memory"} -> (seeds, 4) shares}.
    """
    with figure(path, width=1.0 + 4.0 * len(data), height=3.8) as drawing:
        for axes, (name, part) in zip(drawing.subplots(1, len(data), squeeze=False)[0], data.items(), strict=True):
            mean = {k: np.mean(v, axis=0) for k, v in part["quarters"].items()}
            sd = {k: np.std(v, axis=0, ddof=min(1, len(v) - 1)) for k, v in part["quarters"].items()}
            _panel(axes, {k: (mean[k], sd[k]) for k in LOOK}, mean["memory"], sd["memory"])
            axes.set_title(plain_text(name))
    return path.with_suffix(".svg")


def _panel(axes: Axes, shares: dict[str, tuple[np.ndarray, Any]], memory: np.ndarray, error: np.ndarray) -> None:
    place = np.arange(4)
    for part, (share, spread) in shares.items():
        axes.errorbar(place, share, spread, marker="o", capsize=3, label=part, **LOOK[part])
    axes.bar(
        place, memory, 0.5, yerr=error, color=GREEN, ecolor=GREEN, alpha=0.4, capsize=3, label="memory: train - test"
    )
    axes.set(xlabel="quarter by distance to the standard boundary", ylabel="share that stands", ylim=(None, 1.03))
    axes.set_xticks(place, QUARTERS)
    axes.legend(fontsize=8)


def _influence(axes: Axes, found: dict[str, Any], examples: dict[str, np.ndarray]) -> None:
    by = "clean_flip" if "train/clean_flip" in examples else "flip"
    axes.bar(np.arange(4), found["influence"], 0.5, color=GREEN, alpha=0.6)
    whose = "the standard boundary" if by == "clean_flip" else "the boundary"
    axes.set(xlabel=f"quarter by distance to {whose}", ylabel="P[stands | trained on] - P[stands | left out]")
    axes.set_xticks(np.arange(4), QUARTERS)
