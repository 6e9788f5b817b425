"""Theorem 4.7: robust generalization needs exp(D) parameters. The counting floor, a network that meets it, the toy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cgro.experiments.artifact import Findings, Table, copied
from cgro.experiments.claims import Claim, holds
from cgro.experiments.jobs import Home, Job, Scale

NAME = "theorem47"
TITLE = "Theorem 4.7: robust generalization needs exponentially many parameters"
PAPER: dict[str, Any] = {"growth": "exponential", "robust_test_limit": 1.0}
CAPTIONS = {
    "floor": "Parameters against D: clean, memoriser, and the band between the counting floor and the network we build.",
    "toy": "The memoriser on the worst-case family: clean and robust training error 0, robust test error to 1 with D.",
}
RADII = ("0.1", "0.2")
OURS = (
    "worst case over labellings, uniform distribution on the grid points, Warren's bound with explicit constants: our "
    "derivation, not the paper's text, and no statement about MNIST or a trained network"
)


def lower_bound(scale: Scale, radius: str) -> Job:
    """Floor, construction and toy; the hierarchy reads the same runs."""
    dims = "2:30" if scale == "smoke" else "2:784" if radius == "0.1" else "2:100"
    return Job(f"lower-bound-{radius}", "lower-bound", {"radius": radius, "dims": dims}, 15)


def jobs(scale: Scale) -> list[Job]:
    """Two radii."""
    return [lower_bound(scale, radius) for radius in RADII]


def run(scale: Scale, home: Home) -> Findings:
    """Floors and constructions by D, certified networks, and the toy."""
    found: Findings = {"scale": scale, "radii": {}}
    for radius, job in zip(RADII, jobs(scale), strict=True):
        done = home.make(job)
        result, rows = done.summary, done.rows()
        found["radii"][radius] = {
            "dims": [r["dim"] for r in rows], "floor": _rounded(rows, "log2_floor"),
            "construction": _rounded(rows, "log2_construction"), "memorizer": _rounded(rows, "log2_memorizer"),
            "grid_side": result["grid_side"], "error": result["error"], "layers": result["n_layers"],
            "built": result["built"], "toy": result["toy"], "crossing": result["crossing"],
            "n_points": result["n_points"], "assumptions": result["assumptions"],
        }  # fmt: skip
    return found


def _rounded(rows: list[dict[str, Any]], key: str) -> list[float | None]:
    return [None if r[key] is None else round(r[key], 4) for r in rows]


def bits(part: Mapping[str, Any]) -> float:
    """Bits of log2 floor gained a dimension, by least squares over the upper half of the dimensions."""
    known = [(d, f) for d, f in zip(part["dims"], part["floor"], strict=True) if f is not None]
    d, f = np.array(known[len(known) // 2 :], float).T
    return float(np.polyfit(d, f, 1)[0])


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """Exponential floor, a certified construction above it, and CGRO appearing with D in the exact toy."""
    parts = findings["radii"]
    grows, above, toys = {}, {}, {}
    for radius, p in parts.items():
        grows[f"radius {radius}: exponential, log2(k) = {np.log2(p['grid_side']):.3f} bits a dimension"] = (
            paper["growth"] == "exponential" and abs(bits(p) / np.log2(p["grid_side"]) - 1) < 0.1
        )
        above[f"radius {radius}: floor below construction"] = all(
            f is None or f <= c for f, c in zip(p["floor"], p["construction"], strict=True)
        )
        above |= {f"radius {radius}, D = {b['dim']}": b["certified"] for b in p["built"]}
        toys |= {f"radius {radius}, D = {t['dim']}": _as_expected(t) for t in p["toy"]}
        last = p["toy"][-1]["robust_test"]
        toys[f"radius {radius}: towards {paper['robust_test_limit']:g}"] = abs(last - paper["robust_test_limit"]) < 0.1
    slopes = ", ".join(f"{bits(p):.3f} bits a dimension (radius {r})" for r, p in parts.items())
    tops = [p["built"][-1] for p in parts.values()]
    return [
        holds("theorem47/floor", "every network with fewer than Omega(exp D) parameters has robust test error above a constant",
              grows, paper="Omega(exp D)", ours=f"log2 floor grows by {slopes}; robust error above 10% below it",
              rule="the counting floor's log2 grows linearly in D, by log2 of the grid's side within 10%", why=OURS),
        holds("theorem47/construction", "the floor is no artefact: a network that is robust on the family exists, above it", above,
              paper="not in the paper", ours="; ".join(f"{b['random']['parameters']:,} parameters at D = {b['dim']}" for b in tops),
              rule="y f >= 0.5 certified by intervals on all balls up to the largest D that fits, and floor <= construction"),
        holds("theorem47/toy", "CGRO appears with D: clean and robust training error 0, robust test error towards 1", toys,
              paper="Omega(1)", ours="; ".join(f"{t['robust_test']:.3f} (expected {t['expected']:.3f}) at D = {t['dim']}"
                                               for p in parts.values() for t in p["toy"][-1:]),
              rule="exact errors; each robust test error within four standard deviations of (1 - 1/m)^N, the last above 0.9"),
    ]  # fmt: skip


def _as_expected(t: Mapping[str, Any]) -> bool:
    """Errors of the toy as they must be; the number of unseen points has at most the variance of independent ones."""
    m = t.get("m") or t["n_points"]
    sd = (t["expected"] * (1 - t["expected"]) / m) ** 0.5
    return t["clean_test"] == 0 and t["robust_train"] == 0 and abs(t["robust_test"] - t["expected"]) <= 4 * sd + 1e-12


def tables(findings: Findings) -> list[Table]:
    """log2 of the sizes at some D, and what was built."""
    rows = []
    for radius, p in findings["radii"].items():
        for i in [p["dims"].index(d) for d in (5, 10, 20, 50, 100, 784) if d in p["dims"]]:
            floor = "vacuous" if p["floor"][i] is None else f"{p['floor'][i]:.1f}"
            rows.append([radius, p["dims"][i], "1.0", f"{p['memorizer'][i]:.1f}", floor, f"{p['construction'][i]:.1f}"])
    built = [[radius, b["dim"], b["random"]["m"], b["random"]["parameters"], b["checkerboard"]["parameters"],
              b["random"]["least_margin"]] for radius, p in findings["radii"].items() for b in p["built"]]  # fmt: skip
    return [
        {"name": "floor", "caption": "log2 of non-zero parameters; memoriser of N = 1,000 points, floor at L = 3, error 0.1.",
         "columns": ["radius", "D", "clean", "memoriser", "robust: floor", "robust: construction"], "rows": rows},
        {"name": "built", "caption": "Certified robust networks: a random labelling, and the checkerboard, which is easy.",
         "columns": ["radius", "D", "points m", "parameters", "checkerboard", "least y f"], "rows": built},
    ]  # fmt: skip


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """The figures of `cgro lower-bound`."""
    copied(home, "lower-bound-0.2", "hierarchy", folder, "floor")
    copied(home, "lower-bound-0.2", "toy", folder, "toy")
