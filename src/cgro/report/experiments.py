"""Figures of the paper's artifacts, drawn from the plain findings of `cgro reproduce`: the paper beside ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from cgro.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, TEST, TRAIN, figure, plain_text

_HATCHES = ("", "//", "..", "xx", "\\\\")


def _mean_sd(values: Sequence[float]) -> tuple[float, float]:
    known = np.array(list(values), float)
    return float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else 0.0


def accuracy_bars(path: Path, groups: Mapping[str, Mapping[str, Sequence[float]]], labels: Sequence[str]) -> Path:
    """Bars of each group side by side; errors one standard deviation; hatches tell groups apart in gray.

    Args:
        groups: name -> column -> percent over seeds, columns in the order of labels.
    """
    colors = (GREY, RED, BLUE, GREEN, ORANGE)
    with figure(path, 7.6, 4.2) as drawing:
        axes = drawing.subplots()
        wide = 0.8 / len(groups)
        for k, (name, columns) in enumerate(groups.items()):
            mean, sd = np.array([_mean_sd(v) for v in columns.values()]).T
            at = np.arange(len(labels)) + (k - (len(groups) - 1) / 2) * wide
            axes.bar(at, mean, wide * 0.92, yerr=sd if sd.any() else None, capsize=2, color=colors[k % 5], label=plain_text(name),
                     hatch=_HATCHES[k % 5], edgecolor="white", error_kw={"elinewidth": 0.9})  # fmt: skip
            for x, value in zip(at, mean, strict=True):
                axes.annotate(
                    f"{value:.1f}", (x, value), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=7
                )
        axes.set_xticks(range(len(labels)), [plain_text(label) for label in labels])
        axes.set(ylabel="accuracy (%)", ylim=(0, 112))
        axes.grid(visible=False, axis="x")
        drawing.legend(loc="outside lower center", ncols=len(groups), fontsize=9)
    return path.with_suffix(".svg")


def size_law(path: Path, sizes: Sequence[Mapping[str, Any]], slopes: Mapping[str, float]) -> Path:
    """Parameters of the memory against N D in each norm, both axes logarithmic."""
    look = {"inf": (RED, "o", r"$\ell_\infty$"), "2": (BLUE, "s", r"$\ell_2$"), "1": (ORANGE, "^", r"$\ell_1$")}
    with figure(path, 6.4, 4.2) as drawing:
        axes = drawing.subplots()
        for p, (color, marker, norm) in look.items():
            own = sorted((s["n_times_dim"], s["generic"], s["dim"]) for s in sizes if s["p"] == p)
            if not own:
                continue
            x, y, dims = np.array(own, float).T
            axes.plot(x, y, color=color, linewidth=0.8, alpha=0.6)
            for dim, face in ((64, "white"), (784, color)):
                axes.plot(x[dims == dim], y[dims == dim], marker, color=color, markerfacecolor=face, markersize=5)
            axes.plot([], [], marker, color=color, label=f"{norm}: power of N D {slopes[p]:.3f}")
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", label="D = 64 (digits)")
        axes.plot([], [], "o", color=GREY, label="D = 784 (mnist5k)")
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="training points N times dimension D",
            ylabel="parameters of the memory (generic)",
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=8)
    return path.with_suffix(".svg")


def robust_brackets(path: Path, tasks: Mapping[str, Mapping[str, Any]]) -> Path:
    """Robust test error between attack and certificate, clean test error, and what naive PGD says."""
    with figure(path, max(6.4, 1.25 * len(tasks) + 1.2), 4.4) as drawing:
        axes = drawing.subplots()
        for k, t in enumerate(tasks.values()):
            low, high = _mean_sd(t["robust_low"])[0], _mean_sd(t["robust_high"] or t["robust_low"])[0]
            axes.bar(k, max(high - low, 0.8), 0.42, bottom=low, color=RED, alpha=0.35, hatch="//", edgecolor=RED,
                     label="robust test error: from attack to certificate" if not k else None)  # fmt: skip
            for name, key, color, marker in (("clean test error", "clean_error", BLUE, "o"), ("naive PGD (masked)", "naive_pgd", GREY, "x"),
                                             ("robust training error, certified", "certified_error", GREEN, "_")):  # fmt: skip
                mean, sd = _mean_sd(t[key])
                axes.errorbar(k, mean, sd or None, fmt=marker, color=color, markersize=9 if marker == "_" else 6,
                              markeredgewidth=2, capsize=2, label=name if not k else None)  # fmt: skip
        axes.set_xticks(range(len(tasks)), [plain_text(name) for name in tasks], fontsize=8)
        axes.set(ylabel="error (%)", ylim=(-3, 103))
        axes.grid(visible=False, axis="x")
        drawing.legend(loc="outside lower center", ncols=2, fontsize=8)
    return path.with_suffix(".svg")


def width_curves(
    path: Path, ours: Mapping[int, Mapping[str, Any]], paper: Mapping[int, Sequence[float]], title: str, width: str
) -> Path:
    """Accuracies against the width, paper (open, thin) and ours (filled, bars), and the robust gap on the right."""
    look = {"clean_test": ("clean test", BLUE, TEST, "o"), "robust_test": ("robust test", RED, TEST, "s"),
            "robust_train": ("robust train", RED, TRAIN, "^")}  # fmt: skip
    with figure(path, 9.2, 4.2) as drawing:
        left, right = drawing.subplots(1, 2, width_ratios=(1.5, 1))
        for column, (key, (name, color, style, marker)) in enumerate(look.items()):
            mean, sd = np.array([_mean_sd(p[key]) for p in ours.values()]).T
            left.errorbar(
                list(ours),
                mean,
                sd if sd.any() else None,
                color=color,
                marker=marker,
                markersize=5,
                capsize=2,
                label=f"{name}, ours",
                **style,
            )
            left.plot(list(paper), [row[column] for row in paper.values()], color=color, marker=marker, markerfacecolor="white",
                      linewidth=0.8, alpha=0.7, label=f"{name}, paper", **style)  # fmt: skip
        gaps = [
            _mean_sd([a - b for a, b in zip(p["robust_train"], p["robust_test"], strict=True)]) for p in ours.values()
        ]
        mean, sd = np.array(gaps).T
        right.errorbar(
            list(ours), mean, sd if sd.any() else None, color=PURPLE, marker="D", markersize=5, capsize=2, label="ours"
        )
        right.plot(list(paper), [row[2] - row[1] for row in paper.values()], color=PURPLE, marker="D", markerfacecolor="white",
                   linewidth=0.8, alpha=0.8, linestyle=":", label="paper")  # fmt: skip
        left.set(xlabel=plain_text(width), ylabel="accuracy (%)", ylim=(0, 103))
        right.set(xlabel=plain_text(width), ylabel="robust gap, train - test (points)")
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            ticks = sorted({*ours, *paper})
            axes.set_xticks(ticks, [f"{t}" for t in ticks], fontsize=8)
            axes.minorticks_off()
        handles, labels = left.get_legend_handles_labels()
        right.legend(fontsize=8)
        drawing.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, handlelength=3.2)
        drawing.suptitle(plain_text(title).replace("l_inf", r"$\ell_\infty$"), fontsize=11, fontweight="bold")
    return path.with_suffix(".svg")


def curves_over_epochs(path: Path, found: Mapping[str, Any]) -> Path:
    """Figure 1: the four errors over the epochs with one standard deviation over seeds; drops of the learning rate marked."""
    epochs = np.array(found["epochs"], float)
    with figure(path, 7.6, 4.6) as drawing:
        axes = drawing.subplots()
        for kind, color, shift, marker in (("robust", RED, 0.0, "s"), ("clean", BLUE, 0.15, "o")):
            for part, style in (("train", TRAIN), ("test", TEST)):
                values = np.array(found["curves"][f"{kind}_error/{part}"])
                axes.plot(
                    epochs,
                    values.mean(0),
                    color=color,
                    label=f"{kind} error, {part}",
                    marker=marker,
                    markersize=3.5,
                    **style,
                )
                if len(values) > 1:
                    axes.errorbar(
                        epochs + shift,
                        values.mean(0),
                        values.std(0, ddof=1),
                        fmt="none",
                        color=color,
                        linewidth=0.9,
                        capsize=1.5,
                    )
        for k, drop in enumerate(found["drops"]):
            axes.axvline(
                drop + 0.5, color=GREY, linewidth=1, linestyle="-.", label=None if k else "learning rate drops"
            )
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
        n = len(found["curves"]["robust_error/test"])
        axes.set_title(f"{plain_text(found['note'] or found['data'])}: adversarial training, {n} seeds")
        drawing.legend(loc="outside lower center", ncols=3, fontsize=9, handlelength=3.2)
    return path.with_suffix(".svg")


def bound_bars(path: Path, data: Mapping[str, Mapping[str, Sequence[float]]]) -> Path:
    """The measured gap, the whole robust test loss and the bound's right side, on a logarithmic axis."""
    look = (("gap", "measured gap of the loss", BLUE), ("robust_loss", "robust test loss (no gap exceeds it)", SKY),
            ("bound", "the bound's right side", RED))  # fmt: skip
    with figure(path, 6.4, 4.0) as drawing:
        axes: Axes = drawing.subplots()
        for k, (key, label, color) in enumerate(look):
            mean, sd = np.array([_mean_sd(part[key]) for part in data.values()]).T
            axes.bar(np.arange(len(data)) + 0.25 * (k - 1), mean, 0.23, yerr=sd if sd.any() else None, color=color, hatch=_HATCHES[k],
                     edgecolor="white", capsize=2, label=label)  # fmt: skip
        axes.set_xticks(range(len(data)), [plain_text(name) for name in data])
        axes.set(yscale="log", ylabel="cross-entropy (nats)")
        axes.grid(visible=False, axis="x")
        drawing.legend(loc="outside lower center", ncols=2, fontsize=9)
    return path.with_suffix(".svg")
