"""Short answers to questions that the paper leaves open: ReLU halves beyond the signal, longer training, stochastic
gradients, several signal directions. Ten seeds each, the presets' sizes.

    python benchmarks/open_questions.py

Result: benchmarks/results/open_questions.json. The full ball has a script of its own.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, Setting, final_signal, simulate, unseen_errors
from cgro.runs import environment, plain

SHOWN = ("clean_error/test", "robust_error/test", "robust_error/train", "signal_margin", "noise_learned", "seconds")
SEEDS, RESULT = range(10), Path(__file__).parent / "results" / "open_questions.json"


def measure(setting: Setting, n_steps: int) -> dict:
    start = time.time()
    run = simulate(setting, seeds=SEEDS, n_steps=n_steps, n_records=60, n_test=1)
    test, batch = unseen_errors(run), run.batch
    by_class = batch.rule.class_signal(batch.u).mean(1) * batch.rule.strength**batch.rule.power
    v = run.final("noise_learned")
    return {
        "clean_error/test": test["clean"], "robust_error/test": test["robust"],
        "robust_error/train": run.final("robust_error/train"), "signal_margin": run.final("signal_margin"),
        "signal_margin_by_class": by_class, "noise_learned": v.mean(1), "noise_learned_min": v.min(1),
        "log_share": [np.log(np.exp(-v[s])[y > 0].sum() / np.exp(-v[s])[y < 0].sum()) for s, y in enumerate(batch.y)],
        "predicted_final_signal": final_signal(setting), "outcome": [o.kind for o in run.outcomes], "n_steps": n_steps,
        "seconds": time.time() - start,
    }  # fmt: skip


def main() -> None:
    table2, theorem = PRESETS["table2"], PRESETS["theorem"]
    lower = replace(theorem, lr=theorem.lr / 3)
    questions = {
        "halves, table2 (calibrated)": (replace(table2, activation="halves"), 100_000),
        "halves, theorem": (replace(theorem, activation="halves"), 100_000),
        "batch of 5, theorem": (replace(theorem, batch_size=5), 50_000),
        "batch of 5, third of the step, theorem": (replace(lower, batch_size=5), 150_000),
        "three signals, theorem": (replace(theorem, data=PatchData(100, n_signals=3)), 100_000),
        "three signals, table2 (calibrated)": (replace(table2, data=PatchData(100, n_signals=3)), 100_000),
        "transfer, theorem": (replace(theorem, adversary="transfer"), 50_000),
        "table2 (calibrated), 25,000 steps": (table2, 25_000),
        "table2 (calibrated), 50,000 steps": (table2, 50_000),
        "table2 (calibrated), 100,000 steps": (table2, 100_000),
        "table2 (calibrated), 400,000 steps": (table2, 400_000),
    }
    result = {}
    for name, (setting, n_steps) in questions.items():
        result[name] = plain(measure(setting, n_steps))
        print(name, {k: np.round(np.mean(result[name][k]), 4) for k in SHOWN}, flush=True)
        RESULT.write_text(json.dumps({"answers": result, "environment": environment(0)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
