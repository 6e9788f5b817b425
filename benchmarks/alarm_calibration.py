"""What it would cost in power to hold the nominal 1% of false alarms at strongly correlated noise.

Curves of 30 to 200 epochs that stay flat, fall, or fall until late, and falling ones that rise by 2 and 5 points, with
AR(1) noise of 0.5 points. Rules: more standard errors added to the correlation of the residuals (`noise_of`), or a
smaller p-value where the correlation found is large.

    PYTHONPATH=src python benchmarks/alarm_calibration.py [CURVES PER CELL]

Result: benchmarks/results/alarm_calibration.json (150 per cell, 5 minutes of one core).
"""

import json
import sys
from pathlib import Path

import numpy as np

from cgro.diagnosis.noise import GRID, MARGIN, noise_of, noisy
from cgro.diagnosis.rise import LAST
from cgro.diagnosis.valley import fallen, size_of, valley
from cgro.runs import environment, plain

RESULT = Path(__file__).parent / "results" / "alarm_calibration.json"
LENGTHS = (30, 50, 100, 150, 200)
CORRELATIONS = (0.0, 0.3, 0.6, 0.8, 0.9)
SHAPES = (("flat", 0.0), ("falling", 0.0), ("late", 0.0), ("falling", 0.02), ("falling", 0.05))
"""Shape and rise."""
MARGINS = {MARGIN: GRID[-1], 1.0: 0.96, 1.5: 0.96, 2.0: 0.96}
"""Standard errors added -> largest correlation believed."""
SD, N_NULL = 0.005, 499


def shape(n: int, which: str, rise: float, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(n) / n
    y = np.full(n, 0.5)
    if which == "falling":
        y = 0.45 + 0.35 * np.exp(-t * rng.uniform(3, 20))
    elif which == "late":
        y = 0.7 - 0.2 * np.minimum(t / 0.8, 1)
    start = int(n * rng.uniform(0.4, 0.7))
    up = np.clip((np.arange(n) - start) / max(1, n - 1 - start), 0, 1)
    return y + rise * np.minimum(1, up / 0.6)


def p_values(y: np.ndarray, generator: np.random.Generator) -> dict[float, tuple[float, float]]:
    """Margin -> p-value of the rise, and the correlation that was found."""
    n = len(y)
    fit, bounds, one_stretch = valley(y), np.array([0, n]), np.zeros(n, int)
    draws = generator.standard_normal((N_NULL, n))
    flat, found, curve = fallen(y), size_of(y, LAST), np.empty(n)
    results = {}
    for margin, most in MARGINS.items():
        noise = noise_of(y, fit, bounds, one_stretch, np.random.default_rng(0), most=most, margin=margin)
        n_as_large = 0
        for row in draws:
            noisy(flat, noise.spread, noise.rho, row, curve)
            n_as_large += size_of(curve, LAST) >= found
        results[margin] = ((1 + n_as_large) / (1 + N_NULL), noise.rho)
    return results


def called(results: list[dict[float, tuple[float, float]]]) -> dict[str, float]:
    """Share of curves that each rule calls a rise."""
    shares = {f"margin {margin:g}": float(np.mean([r[margin][0] <= 0.01 for r in results])) for margin in MARGINS}
    strict = [r[MARGIN][0] <= (0.002 if r[MARGIN][1] > 0.6 else 0.01) for r in results]
    return shares | {"p <= 0.002 above 0.6": float(np.mean(strict))}


def main(n_curves: int) -> None:
    rows = []
    for k, (which, rise) in enumerate(SHAPES):
        for rho in CORRELATIONS:
            results = []
            for seed in range(n_curves):
                rng = np.random.default_rng([seed, k, round(10 * rho)])
                n = int(rng.choice(LENGTHS))
                y, curve = shape(n, which, rise, rng), np.empty(n)
                noisy(y, np.full(n, SD), rho, rng.standard_normal(n), curve)
                results.append(p_values(curve, rng))
            rows.append({"shape": which, "rise": rise, "correlation": rho, **called(results)})
            print(json.dumps(rows[-1]), flush=True)
    found = {"n_curves": n_curves, "noise": SD, "rows": rows, "environment": environment(0)}
    RESULT.write_text(json.dumps(plain(found), indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 150)
