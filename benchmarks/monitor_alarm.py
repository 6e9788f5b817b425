"""How often `cgro.Monitor` says that robust overfitting has set in: on curves that only fall, and after a real onset.

The alarm looks after every epoch from the tenth on, so a training of 60 epochs gives 51 chances of a false one. Each cell: 100 curves of 60
epochs, noise between epochs of 0.5 or 1 point, correlation 0 or 0.5. Rising ones: onset
at epoch 25, then 0.3 points an epoch. Alarms that one look alone would have given are counted beside those of three in a row.

Prediction, written before the run: false alarms in at most 5% of the trainings with three looks in a row, about twice as many with one.

    PYTHONPATH=src:. python benchmarks/monitor_alarm.py

Result: benchmarks/results/monitor_alarm.json.
"""

import json
import time
from pathlib import Path

import numpy as np

from cgro.diagnosis.monitor import onset
from cgro.runs import environment, plain

RESULT = Path(__file__).parent / "results" / "monitor_alarm.json"
N, EPOCHS, START, PER_EPOCH = 100, 60, 25, 0.003
NOISE, CORRELATION = (0.005, 0.01), (0.0, 0.5)


def curve(rng: np.random.Generator, spread: float, rho: float, rises: bool) -> np.ndarray:
    e = np.empty(EPOCHS)
    e[0] = rng.standard_normal()
    for t in range(1, EPOCHS):
        e[t] = rho * e[t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal()
    t = np.arange(EPOCHS)
    return 0.5 + 0.2 * np.exp(-t / 8) + spread * e + (PER_EPOCH * np.maximum(0, t - START) if rises else 0)


def alarms(test: np.ndarray) -> dict:
    """The epoch of the first look that is positive, and of the first alarm; None where there is none."""
    rows = [{"epoch": t, "robust_error/test": float(v), "robust_error/train": 0.4, "clean_error/test": float(0.15 + 0.1 * np.exp(-t / 8)),
             "clean_error/train": float(0.1 + 0.1 * np.exp(-t / 8))} for t, v in enumerate(test)]  # fmt: skip
    first, in_a_row = None, 0
    for k in range(10, EPOCHS + 1):
        found = onset._looked(rows[:k], 10)
        positive = found is not None and found.label in onset.ALARMS
        if positive and first is None:
            first = k - 1
        in_a_row = in_a_row + 1 if positive else 0
        if in_a_row == onset.IN_A_ROW:
            return {"first": first, "alarm": k - 1}
    return {"first": first, "alarm": None}


def main() -> None:
    cells, started = [], time.perf_counter()
    for rises in (False, True):
        for spread in NOISE:
            for rho in CORRELATION:
                rng = np.random.default_rng(round(1e4 * spread + 10 * rho + rises))
                found = [alarms(curve(rng, spread, rho, rises)) for _ in range(N)]
                said = [one["alarm"] for one in found if one["alarm"] is not None]
                cells.append({
                    "rises": rises, "noise": spread, "rho": rho, "n": N, "epochs": EPOCHS, "alarms": len(said),
                    "before_onset": sum(epoch < START for epoch in said) if rises else None,
                    "by_one_look": sum(one["first"] is not None for one in found),
                    "epochs_after_onset": float(np.median(said) - START) if rises and said else None,
                })  # fmt: skip
                print(cells[-1], flush=True)
                content = {"cells": cells, "seconds": time.perf_counter() - started, "environment": environment(0)}
                RESULT.write_text(json.dumps(plain(content), indent=1) + "\n")


if __name__ == "__main__":
    main()
