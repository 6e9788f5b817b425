"""Figures of Section 4: decision regions of f_clean and f_S, the hierarchy of sizes, the parameter law."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgro.reading import read_npz
from cgro.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, figure, norm_text, plain_text
from cgro.runs import Run


def decision_regions(folder: Path) -> Path | None:
    """What f_clean and f_S answer on a plane through three training images, with the balls drawn."""
    source = folder / "slice.npz"
    if not source.exists():
        return None
    a = read_npz(source)
    threat = Run(folder).config
    path = folder / "figures" / "decision_regions"
    titles = (("clean", r"$f_{clean}$"), ("hard", r"$f_S$ (Lemma 4.5)"), ("network", "F, the ReLU network"))
    with figure(path, width=10.0, height=3.6) as drawing:
        panels = drawing.subplots(1, 3, sharex=True, sharey=True)
        for axes, (name, title) in zip(panels, titles, strict=True):
            _regions(axes, a, name)
            axes.contour(a["s"], a["t"], a["ball"].astype(float), levels=[0.5], colors="black", linewidths=0.9)
            for point, label in zip(a["corners"], a["labels"], strict=True):
                axes.plot(*point, marker="o", color="white", markeredgecolor="black", markersize=5)
                axes.annotate(f"{label:+d}" if bool(a["binary"]) else str(label), point, xytext=(9, 9),
                              textcoords="offset points", fontsize=9,
                              bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})  # fmt: skip
            axes.set(title=title, xlabel="first direction (input units)", aspect="equal")
            axes.grid(visible=False)
        panels[0].set_ylabel("second direction (input units)")
        drawing.suptitle(
            f"{plain_text(threat['data'])}: plane through three training images; "
            f"black: edge of the {norm_text(threat['p'])} balls, radius {plain_text(threat['radius'])}", fontsize=10,
        )  # fmt: skip
    return path.with_suffix(".png")


def _regions(axes: Any, a: Mapping[str, np.ndarray], name: str) -> None:
    if bool(a["binary"]):
        axes.contourf(a["s"], a["t"], np.sign(a[name]), levels=[-2, 0, 2], colors=[SKY, ORANGE], alpha=0.55)
        axes.contour(a["s"], a["t"], a[name], levels=[0], colors=GREY, linewidths=0.8)
    else:
        extent = (a["s"][0], a["s"][-1], a["t"][0], a["t"][-1])
        axes.imshow(a[name], origin="lower", extent=extent, cmap="tab10", vmin=-0.5, vmax=9.5, alpha=0.55)


def hierarchy(folder: Path) -> Path | None:
    """Parameters against D on a log scale: clean, CGRO (upper bound, N marked), robust (floor and construction)."""
    run = Run(folder)
    rows, result = run.rows(), run.result
    if not rows:
        return None
    dims = np.array([r["dim"] for r in rows])

    def log10(key: str) -> np.ndarray:
        return np.array([r[key] if r[key] is not None else math.nan for r in rows]) * math.log10(2)

    path = folder / "figures" / "hierarchy"
    with figure(path, width=7.2, height=4.6) as drawing:
        axes = drawing.subplots()
        axes.plot(dims, log10("log2_construction"), color=RED, linestyle="--", label="robust: a network we build")
        axes.plot(dims, log10("log2_floor"), color=RED, label="robust: no smaller network can (Theorem 4.7)")
        axes.fill_between(dims, log10("log2_floor"), log10("log2_construction"), color=RED, alpha=0.10, linewidth=0)
        axes.plot(dims, log10("log2_memorizer"), color=BLUE, linestyle="-.",
                  label=f"CGRO: memoriser of N = {result['n_points']:,} points")  # fmt: skip
        axes.plot(dims, log10("log2_clean"), color=GREEN, linestyle=":", label="clean: 2 parameters, error 0")
        if result["crossing"] is not None:
            axes.axvline(result["crossing"], ymax=0.5, color=GREY, linewidth=0.9)
            axes.annotate(f"the floor passes the memoriser at D = {result['crossing']}", (result["crossing"], 0),
                          xytext=(6, 6), textcoords="offset points", fontsize=9, color=GREY)  # fmt: skip
        axes.set(
            xlabel="dimension D", ylabel=r"$\log_{10}$ of non-zero parameters",
            title=rf"Cheap to memorise, expensive to generalise ($\delta$ = {result['threat']['radius']:g})",
        )  # fmt: skip
        axes.legend(fontsize=9, loc="upper left")
    return path.with_suffix(".png")


def toy(folder: Path, rows: Sequence[Mapping[str, Any]], n_points: int) -> Path:
    """Errors of the memorizer on the worst-case family against D: CGRO appears with the dimension."""
    path = folder / "figures" / "toy"
    dims = [r["dim"] for r in rows]
    with figure(path, width=6.4, height=4.0) as drawing:
        axes = drawing.subplots()
        axes.plot(dims, [100 * r["expected"] for r in rows], color=RED, label="robust test error, expected")
        axes.plot(dims, [100 * r["robust_test"] for r in rows], "o", color=RED, label="one draw, exact")
        axes.plot(dims, [0] * len(dims), color=BLUE, linestyle="--", label="clean test and robust training error")
        axes.set(xlabel="dimension D", ylabel="error (%)", title=f"The exact toy at N = {n_points}", ylim=(-3, 103))
        axes.legend(fontsize=9, loc="upper left")
    return path.with_suffix(".png")


def parameter_law(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Non-zero parameters of the indicator layers against N D: measured on random and on real data, and the law."""
    colors = {"box": RED, "compact": PURPLE, "lean": ORANGE, "shared": BLUE}
    slopes = {"box": "6ND + N", "compact": "at most 6ND + N", "lean": "3ND + 4N + D", "shared": "ND + 4N + (8m-1)D + m"}
    with figure(path, width=7.0, height=4.4) as drawing:
        axes = drawing.subplots()
        for variant, color in colors.items():
            for kind, marker, face in (("random", "o", color), ("mnist5k", "s", "white")):
                own = [r for r in rows if r["variant"] == variant and r["data"] == kind]
                axes.loglog([r["n"] * r["dim"] for r in own], [r["measured"] for r in own], marker, color=color,
                            markerfacecolor=face, markersize=5, alpha=0.8)  # fmt: skip
            own = sorted((r["n"] * r["dim"], r["generic"]) for r in rows if r["variant"] == variant)
            axes.loglog([o[0] for o in own], [o[1] for o in own], color=color, linewidth=0.9,
                        label=f"{variant}: {slopes[variant]}")  # fmt: skip
        axes.plot([], [], "o", color=GREY, label="measured, random data")
        axes.plot([], [], "s", color=GREY, markerfacecolor="white", label="measured, mnist5k")
        axes.set(xlabel="N D", ylabel="non-zero parameters of the indicators", title="The parameter law")
        axes.legend(fontsize=8)
    return path.with_suffix(".png")
