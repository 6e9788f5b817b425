"""How often `rise_of` raises a false alarm, and how often it sees a rise of 0.5, 1, 2 and 5 points.

1,000 random learning curves a cell (300 in the two hard cases), each with its own length, noise (autocorrelated), learning-rate drop, onset and speed
of the rise; and the same for noise of heavy tails, strong autocorrelation, and shuffled rows.

    PYTHONPATH=src:. python benchmarks/diagnosis.py

Result: benchmarks/results/diagnosis.json.
"""

import json
import time
from pathlib import Path

import numpy as np
from tests.diagnosis.writers import four, learning_curve

from cgro.diagnosis import CurveRule, Curves, rise_of
from cgro.diagnosis.shape import shuffled
from cgro.runs import environment, plain

RESULT = Path(__file__).parent / "results" / "diagnosis.json"
GAPS, N, N_BOOT = (0.0, 0.005, 0.01, 0.02, 0.05), 1000, 199
NOISE = {"0.2 points": (0.001, 0.003), "0.5 points": (0.003, 0.007), "1 point": (0.007, 0.013)}


def one(rng: np.random.Generator, gap: float, sd: tuple[float, float], rho: float | None, df: float | None) -> dict:
    n = int(rng.choice([50, 100, 200]))
    onset, drop = int(rng.integers(n // 4, 3 * n // 4)), bool(rng.random() < 0.7)
    spread, corr = rng.uniform(*sd), rng.uniform(0, 0.5) if rho is None else rho
    ramp = rng.uniform(1, n / 6)
    y, truth = learning_curve(n, onset, gap, sd=spread, rho=corr, rng=rng, drop=drop, ramp=ramp, df=df)
    lr = np.where(np.arange(n) >= max(0, onset - 3), 0.01, 0.1) if drop and rng.random() < 0.5 else None
    rise = rise_of(np.arange(float(n)), y, rng, lr=lr, n_boot=N_BOOT)
    return {
        "called": rise.p_value <= CurveRule().alpha and rise.interval[0] > 0, "error": rise.size - truth,
        "naive_error": rise.naive - truth, "covered": rise.interval[0] <= truth <= rise.interval[1],
        "onset_error": abs(rise.onset - onset), "noise": spread,
        "onset_covered": rise.onset_interval[0] <= onset <= rise.onset_interval[1], "steep": gap / ramp > spread,
    }  # fmt: skip


def cell(gap: float, sd: tuple[float, float], rho: float | None = None, df: float | None = None, n: int = N) -> dict:
    found = [one(np.random.default_rng([seed, round(gap * 1e4)]), gap, sd, rho, df) for seed in range(n)]
    called = [f for f in found if f["called"]]
    steep = [f for f in called if f["steep"]]

    def share(key: str, rows: list[dict] = found) -> float | None:
        return float(np.mean([f[key] for f in rows])) if rows else None

    return {
        "n": n, "called": share("called"), "bias": share("error"), "naive_bias": share("naive_error"),
        "rms_error": float(np.sqrt(np.mean([f["error"] ** 2 for f in found]))), "covered": share("covered"),
        "onset_median_error": float(np.median([f["onset_error"] for f in called])) if called else None,
        "onset_within_1_if_steep": float(np.mean([f["onset_error"] <= 1 for f in steep])) if steep else None,
        "n_steep": len(steep), "onset_covered": share("onset_covered", called),
    }  # fmt: skip


def order(lengths: tuple[int, ...] = (12, 20, 40, 100, 200), n: int = N) -> dict:
    """How many shuffled trainings are taken for ordered ones, and how many ordered ones are believed."""
    found = {}
    for length in lengths:
        counts = {"n": n, "shuffled_believed": 0, "ordered_believed": 0}
        for seed in range(n):
            whole = four(length, length // 2, seed=seed)
            mixed = np.random.default_rng(seed).permutation(length)
            for key, values in (("ordered", whole), ("shuffled", {k: v[mixed] for k, v in whole.items()})):
                counts[f"{key}_believed"] += not shuffled(Curves(range(length), values), CurveRule())
        found[str(length)] = counts
    return found


def main() -> None:
    start, result = time.time(), {}
    for name, sd in NOISE.items():
        result[name] = {f"{100 * gap:g}": cell(gap, sd) for gap in GAPS}
        print(
            name,
            {k: (v["called"], round(v["covered"], 3), round(100 * v["rms_error"], 2)) for k, v in result[name].items()},
            flush=True,
        )
    half = NOISE["0.5 points"]
    result["0.5 points, correlation 0.8"] = {f"{100 * gap:g}": cell(gap, half, rho=0.8, n=300) for gap in GAPS}
    result["0.5 points, t with 4 degrees of freedom"] = {
        f"{100 * gap:g}": cell(gap, half, df=4.0, n=300) for gap in GAPS
    }
    result["order"] = order()
    result |= {"seconds": time.time() - start, "n_boot": N_BOOT, "environment": environment(0)}
    RESULT.write_text(json.dumps(plain(result), indent=1) + "\n")


if __name__ == "__main__":
    main()
