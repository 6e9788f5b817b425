"""Fit the two knobs of the preset `table2` to the two test numbers of Table 2.

    python benchmarks/calibrate_table2.py --threads 1

Knobs: radius_ratio and robust_weight. Targets: mean clean test accuracy 98.5% and mean robust test accuracy 17.5% over
seeds 10000 .. 10199, 20,000 unseen examples a seed. Newton's method; the same seeds at every point, so that the
differences that make its Jacobian are smooth. Two knobs meet two targets: the fit is a description, no evidence for the
theory. The check is on seeds 0 .. 99, which the fit never saw.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cgro.dynamics import PRESETS, Setting, simulate, unseen_errors
from cgro.runs import environment

FIT, HOLD_OUT = range(10_000, 10_200), range(100)
TARGET = np.array([0.985, 0.175])
RESULT = Path(__file__).parent / "results" / "calibrate_table2.json"


def measure(setting: Setting, seeds, threads: int) -> dict:
    """Mean and spread of the four accuracies over seeds."""
    run = simulate(setting, seeds=seeds, n_records=2, n_test=1, threads=threads)
    test = unseen_errors(run)
    four = {
        "clean train": 1 - run.final("clean_error/train"), "clean test": 1 - test["clean"],
        "robust train": 1 - run.final("robust_error/train"), "robust test": 1 - test["robust"],
    }  # fmt: skip
    return {k: {"mean": float(v.mean()), "sd": float(v.std(ddof=1)), "n": len(v)} for k, v in four.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    start, log = time.time(), []

    def at(knobs):
        four = measure(replace(PRESETS["table2"], radius_ratio=knobs[0], robust_weight=knobs[1]), FIT, threads)
        means = np.array([four["clean test"]["mean"], four["robust test"]["mean"]])
        log.append({"knobs": list(map(float, knobs)), "means": means.tolist(), "seconds": time.time() - start})
        print(log[-1], flush=True)
        return means, four

    knobs = np.array([1.566, 0.325])
    means, four = at(knobs)
    step = np.array([0.02, 0.01])
    jacobian = np.stack([(at(knobs + step * e)[0] - means) / h for e, h in zip(np.eye(2), step, strict=True)], 1)
    for _ in range(4):
        if np.abs(means - TARGET).max() < 0.0005:
            break
        knobs = np.round(knobs + np.linalg.solve(jacobian, TARGET - means), 4)
        means, four = at(knobs)
    held = measure(replace(PRESETS["table2"], radius_ratio=knobs[0], robust_weight=knobs[1]), HOLD_OUT, threads)
    print(held)
    result = {
        "radius_ratio": float(knobs[0]), "robust_weight": float(knobs[1]), "fit": four, "hold_out": held, "log": log,
        "fit_seeds": [FIT[0], FIT[-1]], "hold_out_seeds": [HOLD_OUT[0], HOLD_OUT[-1]], "environment": environment(0),
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
