"""The figures of docs/dynamics.md that come from stored results.

    python benchmarks/draw_dynamics.py

Reads benchmarks/results/law_*.json and full_ball.json, results/cpu/full-ball; writes docs/figures/dynamics_laws,
dynamics_full_ball and full_ball_phases.
"""

import json
from pathlib import Path

import numpy as np

from cgro.dynamics.ball_theory import SIGNAL_THRESHOLD
from cgro.experiments import full_ball as artifact
from cgro.experiments.findings import read_findings
from cgro.report.style import BLUE, GREEN, MARK, ORANGE, PURPLE, RED, figure

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "figures"


def laws() -> None:
    """U against alpha for three powers; V against N and d."""
    with figure(FIGURES / "dynamics_laws", 9.6, 3.9) as drawing:
        left, right = drawing.subplots(1, 2)
        for q, color, marker in ((2, BLUE, "o"), (3, ORANGE, "s"), (4, RED, "^")):
            fits = json.loads((HERE / "results" / f"law_signal_q{q}.json").read_text())["fits"]
            for name, style in (("table2 (calibrated)", "-"), ("delta = alpha", "--")):
                fit = fits[f"q={q}, {name}"]
                u = np.array([cell["U"] for cell in fit["cells"]])
                label = f"q = {q}, {name.replace('delta', 'radius').replace('alpha', 'signal')}: {fit['slope']:.3f}"
                left.plot(
                    fit["alphas"], u.mean(1), color=color, linestyle=style, marker=marker, markersize=4, label=label
                )
        left.set(xscale="log", yscale="log", xlabel=r"signal strength $\alpha$", ylabel="signal learned U at the end")
        left.set_xticks([2, 3, 4, 6], ["2", "3", "4", "6"])
        left.minorticks_off()
        left.legend(title="measured slope", fontsize=7, title_fontsize=7, loc="lower left")
        left.set_ylim(1.5e-3, 3)
        noise = json.loads((HERE / "results" / "law_noise.json").read_text())
        for key, color, label in (
            ("n_train", GREEN, "against N (d = 100)"),
            ("patch_dim", PURPLE, "against d (N = 20)"),
        ):
            v = np.array([cell["V_mean"] for cell in noise[key]["cells"]])
            low = np.array([min(cell["V_min"]) for cell in noise[key]["cells"]])
            right.plot(noise[key]["sizes"], v.mean(1), color=color, marker="o", markersize=4, label=f"mean, {label}")
            right.fill_between(noise[key]["sizes"], v.min(1), v.max(1), color=color, alpha=0.18, linewidth=0)
            right.plot(noise[key]["sizes"], low, color=color, linestyle=":", label="least of all examples and seeds")
        right.set(
            xscale="log",
            xlabel="training examples N, or patch dimension d",
            ylabel=r"noise learned $V_i$",
            ylim=(0, 12),
        )
        right.legend(fontsize=7)


def full_ball() -> None:
    """Errors under the full l2 ball, and noise learned, against the radius."""
    cells = json.loads((HERE / "results" / "full_ball.json").read_text())["cells"]
    with figure(FIGURES / "dynamics_full_ball", 9.6, 3.9) as drawing:
        left, right = drawing.subplots(1, 2)
        for adversary, color, label in (("l2", BLUE, "full ball"), ("restricted", ORANGE, "along the signal only")):
            mine = [c for c in cells if c["adversary"] == adversary]
            x = [c["radius_ratio"] for c in mine]
            for part, style in (("train", "--"), ("test", "-")):
                y = [100 * np.mean(c[f"full_ball_error/{part}"]) for c in mine]
                left.plot(
                    x,
                    y,
                    color=color,
                    linestyle=style,
                    marker="o",
                    markersize=4,
                    label=f"{label}; {part}",
                )
            right.plot(x, [np.mean(c["noise_learned"]) for c in mine], color=color, marker="o", markersize=4,
                       label=label)  # fmt: skip
        left.axvline(SIGNAL_THRESHOLD, color=MARK, linestyle=":", label="predicted: signal alone, 1/√2")
        left.set(xlabel="radius / signal strength", ylabel="error under the full l2 ball (%)", ylim=(-3, 103))
        right.set(xlabel="radius / signal strength", ylabel=r"noise learned, mean $V_i$")
        left.legend(fontsize=7, handlelength=4, title="attack in training", title_fontsize=7)
        right.legend(fontsize=7, title="attack in training", title_fontsize=7)


def full_ball_phases() -> None:
    """The phase map of the artifact `full-ball`, as a picture of docs/full_ball.md and for talks."""
    path = HERE.parent / "results" / "cpu" / "full-ball" / "findings.json"
    artifact.draw_map(read_findings(path, artifact.Findings), FIGURES / "full_ball_phases")


if __name__ == "__main__":
    laws()
    full_ball()
    full_ball_phases()
