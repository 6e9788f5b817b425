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
from cgro.report.style import MARK, MEMORY, draw_band, figure, look_of, shades

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "figures"


def laws() -> None:
    """U against alpha for three powers; V against N and d. Means, and bands over the range of seeds."""
    with figure(FIGURES / "dynamics_laws", 9.6, 3.9) as drawing:
        left, right = drawing.subplots(1, 2)
        for k, q in enumerate((2, 3, 4)):
            color, marker, _ = look_of(k)
            fits = json.loads((HERE / "results" / f"law_signal_q{q}.json").read_text())["fits"]
            for name, style in (("table2 (calibrated)", "-"), ("delta = alpha", "--")):
                fit = fits[f"q={q}, {name}"]
                u = np.array([cell["U"] for cell in fit["cells"]])
                label = f"q = {q}, {name.replace('delta', 'radius').replace('alpha', 'signal')}: {fit['slope']:.3f}"
                draw_band(left, np.array(fit["alphas"]), u, color=color, label=label, linestyle=style, marker=marker)
        left.set(xscale="log", yscale="log", xlabel=r"signal strength $\alpha$", ylabel="signal learned U at the end")
        left.set_xticks([2, 3, 4, 6], ["2", "3", "4", "6"])
        left.minorticks_off()
        left.legend(title="measured slope", fontsize=7, title_fontsize=7, loc="lower left")
        left.set_ylim(1.5e-3, 3)
        noise = json.loads((HERE / "results" / "law_noise.json").read_text())
        light, dark = shades(MEMORY, 2)
        for key, color, marker, label in (
            ("n_train", dark, "o", "against N (d = 100)"),
            ("patch_dim", light, "s", "against d (N = 20)"),
        ):
            v = [cell["V_mean"] for cell in noise[key]["cells"]]
            low = np.array([min(cell["V_min"]) for cell in noise[key]["cells"]])
            sizes = np.array(noise[key]["sizes"])
            draw_band(right, sizes, v, color=color, label=f"mean, {label}", linestyle="-", marker=marker)
            right.plot(sizes, low, color=color, linestyle=":", label="least of all examples and seeds")
        right.set(
            xscale="log",
            xlabel="training examples N, or patch dimension d",
            ylabel=r"noise learned $V_i$",
            ylim=(0, 12),
        )
        right.legend(fontsize=7)


def full_ball() -> None:
    """Errors under the full l2 ball, and noise learned, against the radius. Means, and bands over the range of seeds."""
    cells = json.loads((HERE / "results" / "full_ball.json").read_text())["cells"]
    with figure(FIGURES / "dynamics_full_ball", 9.6, 3.9) as drawing:
        left, right = drawing.subplots(1, 2)
        for k, (adversary, label) in enumerate((("l2", "full ball"), ("restricted", "along the signal only"))):
            color, marker, _ = look_of(k)
            mine = [c for c in cells if c["adversary"] == adversary]
            x = np.array([c["radius_ratio"] for c in mine])
            for part, style in (("train", "--"), ("test", "-")):
                y = [100 * np.array(c[f"full_ball_error/{part}"]) for c in mine]
                draw_band(left, x, y, color=color, label=f"{label}; {part}", linestyle=style, marker=marker)
            learned = [c["noise_learned"] for c in mine]
            draw_band(right, x, learned, color=color, label=label, linestyle="-", marker=marker)
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
