"""Adversarial training against an adversary that may move every patch: what becomes of the three stages?

    python benchmarks/full_ball.py

The question readers asked first. l2 ball over all patches, projected gradient on the current network (10 steps in
training, 40 steps and 6 restarts in evaluation: lower bounds). d = 100, N = 12, m = 16, q = 3, 4 seeds. Radii as shares
of alpha: the theorem's radius erases the signal and is at the same time several times longer than a noise patch (‖xi‖
is about 1, alpha 3.1). For each radius also the network trained against the restricted adversary, attacked with the
same full ball.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, Setting, full_ball_errors, simulate, theorem_radius_ratio
from cgro.runs import environment, plain

SEEDS, RESULT = range(4), Path(__file__).parent / "results" / "full_ball.json"


def main() -> None:
    cells, base = [], replace(PRESETS["theorem"], data=PatchData(100), n_train=12, n_filters=16)
    for ratio in (0.15, 0.5, 0.7, 0.85, 0.95, theorem_radius_ratio(100)):
        for adversary, n_steps in (("l2", 4_000 if ratio <= 0.5 else 25_000), ("restricted", 25_000)):
            setting: Setting = replace(base, radius_ratio=ratio, adversary=adversary)
            start = time.time()
            run = simulate(setting, seeds=SEEDS, n_steps=n_steps, n_records=60, n_test=1000, backend="direct")
            ball = full_ball_errors(run.vectors, setting, p="l2", n_test=300, seeds=SEEDS)
            cell = {
                "radius_ratio": ratio, "adversary": adversary, "n_steps": n_steps, "outcome": run.outcomes[0].kind,
                "clean_error/train": run.final("clean_error/train"), "clean_error/test": run.final("clean_error/test"),
                "full_ball_error/train": ball["train"], "full_ball_error/test": ball["test"],
                "signal_margin": run.final("signal_margin"), "noise_learned": run.final("noise_learned").mean(1),
                "seconds": time.time() - start,
            }  # fmt: skip
            cells.append(plain(cell))
            print({k: sum(v) / len(v) if isinstance(v, list) else v for k, v in cells[-1].items()}, flush=True)
            RESULT.write_text(json.dumps({"cells": cells, "environment": environment(0)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
