"""Adversarial training against an adversary that may move every patch: what becomes of the three stages?

    python benchmarks/full_ball.py

The question readers asked first. l2 ball over all patches; the search of `cgro.dynamics.ball_attack` in training and,
from all its starts, in evaluation: lower bounds. d = 100, N = 12, m = 16, q = 3, 4 seeds, the theorem's noise (a third
of the radius long): noise as long as the radius and longer is the artifact `full-ball`. For each radius also the
network trained against the restricted adversary, attacked with the same full ball.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, Setting, full_ball_errors, simulate, theorem_radius_ratio
from cgro.runs import environment, plain

SEEDS = range(4)
RESULT = Path(__file__).parent / "results" / "full_ball.json"
RATIOS = (0.15, 0.5, 0.7, 0.72, 0.85, 0.95, theorem_radius_ratio(100))
N_STEPS = {"l2": 4_000, "restricted": 25_000}
"""The full ball takes 100 times as long a step. Memory of noise so short would begin after 10,000 steps and more."""


def cell(setting: Setting) -> dict[str, object]:
    """Train one setting and attack the end of it.

    Args:
        setting: radius and adversary.

    Returns:
        Errors and what was learned, per seed.
    """
    start = time.time()
    n_steps = N_STEPS[setting.adversary]
    run = simulate(setting, seeds=SEEDS, n_steps=n_steps, n_records=60, n_test=1000, backend="direct")
    ball = full_ball_errors(run.vectors, setting, p="l2", n_test=300, seeds=SEEDS)
    return {
        "radius_ratio": setting.radius_ratio,
        "adversary": setting.adversary,
        "n_steps": n_steps,
        "outcome": run.outcomes[0].kind,
        "clean_error/train": run.final("clean_error/train"),
        "clean_error/test": run.final("clean_error/test"),
        "full_ball_error/train": ball["train"],
        "full_ball_error/test": ball["test"],
        "signal_margin": run.final("signal_margin"),
        "noise_learned": run.final("noise_learned").mean(1),
        "seconds": time.time() - start,
    }


def main() -> None:
    """Train, attack and store cell by cell."""
    cells = []
    base = replace(PRESETS["theorem"], data=PatchData(100), n_train=12, n_filters=16)
    for ratio in RATIOS:
        for adversary in ("restricted", "l2"):
            cells.append(plain(cell(replace(base, radius_ratio=ratio, adversary=adversary))))
            print({name: np.mean(value) for name, value in cells[-1].items() if isinstance(value, list)}, flush=True)
            RESULT.write_text(json.dumps({"cells": cells, "environment": environment(0)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
