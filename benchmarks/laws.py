"""Theorem 5.9 as measured laws: U = Theta(alpha^-q), V_i = Theta(1), robust test error >= 1/2 - o(1).

    python benchmarks/laws.py [noise] [signal2] [signal3] [signal4]

signalQ: slope of log U on log alpha for the power q = Q at four radii; 10 seeds, alpha from 2 to 6 (4 for q = 4), d =
100, N = 20, m = 32. The slope is fitted per seed, its interval is Student's t. noise: V_i across N and across d in
the theorem's regime. The runs of `signalQ` end when all training examples resist the attack and noise learning has
slowed to half its highest rate; those of `noise` when the loss is below 0.1/N in all seeds, so that no example's
attacked loss is above 0.2: every example is memorized, and what is left to see is that V_i does not grow with N or d.
Results: benchmarks/results/law_*.json.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, LossBelow, Setting, onset_ratio, simulate, theorem_radius_ratio, unseen_errors
from cgro.runs import environment, plain

SEEDS = range(10)
RESULTS = Path(__file__).parent / "results"
# Steps and starts per power: curvature at the end of stage I grows with q, and v_0^(q-2) sets the time of stage III.
LEARNING = {3: (0.3, 0.0944), 2: (0.3, 0.05), 4: (0.06, 0.3)}  # lr * alpha^2, init_std * alpha


def store(name: str, result: dict) -> None:
    path = RESULTS / f"law_{name}.json"
    path.write_text(json.dumps(plain({**result, "environment": environment(0)}), indent=1) + "\n")


def end(setting: Setting, n_steps: int, loss_below: float = 0.0) -> dict:
    """What holds when memorization is complete, or the loss is below a number."""
    start, until = time.time(), LossBelow(loss_below) if loss_below else "memorized"
    run = simulate(setting, seeds=SEEDS, n_steps=n_steps, n_records=120, n_test=1, stop_when=until)
    v = run.final("noise_learned")
    return {
        "U": run.final("signal_learned"), "V_mean": v.mean(1), "V_min": v.min(1), "V_max": v.max(1),
        "robust_error/test": unseen_errors(run, 5000)["robust"], "robust_error/train": run.final("robust_error/train"),
        "outcome": run.outcomes[0].kind, "steps": int(run.steps[-1]), "seconds": time.time() - start,
    }  # fmt: skip


def slope(x: np.ndarray, y: np.ndarray) -> dict:
    """Least-squares slope of each seed's log y on log x; mean and 95% interval over seeds. y: (cells, seeds)."""
    each = np.polyfit(np.log(x), np.log(y), 1)[0]
    half = student.ppf(0.975, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each))
    return {"slope": each.mean(), "low": each.mean() - half, "high": each.mean() + half, "n_seeds": len(each)}


def signal(q: int) -> None:
    lr, init = LEARNING[q]
    radii = {
        "theorem": theorem_radius_ratio(100),
        "rho = rho_c / 4": 0.25,
        "delta = alpha": 1.0,
        "table2 (calibrated)": None,
    }
    result = {"fits": {}}
    alphas = np.geomspace(2, 4 if q == 4 else 6, 5)  # the time of stage III grows like alpha^4 for q = 4
    for name, ratio in radii.items():
        base = PRESETS["table2" if ratio is None else "theorem"]
        base = replace(base, n_train=20, n_filters=32, activation_power=q)
        cells = []
        for a in alphas:
            data = PatchData(100, signal_strength=float(a))
            setting = replace(base, data=data, lr=lr / a**2, init_std=init / a)
            if ratio is not None:
                ratio_here = 1 - ratio * (1 - onset_ratio(setting, SEEDS)) if "rho_c" in name else ratio
                setting = replace(setting, radius_ratio=ratio_here)
            cells.append(end(setting, 2_000_000))
        u = np.array([c["U"] for c in cells])
        fit = slope(alphas, u) | {"theory": -q}
        result["fits"][f"q={q}, {name}"] = fit | {"alphas": alphas, "cells": cells}
        store(f"signal_q{q}", result)
        print(q, name, {k: round(float(v), 3) for k, v in fit.items()},
              [(c["outcome"], c["steps"], round(c["seconds"], 1)) for c in cells], flush=True)  # fmt: skip


def noise() -> None:
    result = {}
    for name, sizes in {"n_train": [10, 20, 40, 80], "patch_dim": [50, 100, 200, 400, 800, 1600]}.items():
        cells = []
        for size in sizes:
            d = size if name == "patch_dim" else 100
            n = size if name == "n_train" else 20
            setting = Setting(PatchData(d), n_train=n, n_filters=32, radius_ratio=theorem_radius_ratio(d))
            setting = replace(setting, init_std=0.0944 / setting.strength)
            cells.append(end(setting, 2_000_000, loss_below=0.1 / n))
            c = cells[-1]
            print(name, size, c["V_mean"].mean(), c["V_min"].min(), c["V_max"].max(), c["robust_error/test"].mean(),
                  c["outcome"], c["steps"], round(c["seconds"], 1), flush=True)  # fmt: skip
        result[name] = {
            "sizes": sizes,
            "cells": cells,
            **slope(np.array(sizes), np.array([c["V_mean"] for c in cells])),
        }
        print(name, {k: result[name][k] for k in ("slope", "low", "high")}, flush=True)
    store("noise", result)


if __name__ == "__main__":
    for part in sys.argv[1:] or ["noise", "signal2", "signal3", "signal4"]:
        noise() if part == "noise" else signal(int(part.removeprefix("signal")))
