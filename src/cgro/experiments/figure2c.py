"""Figure 2(c): feature learning of the two-layer network. Signal rises and stalls, noise rises late (Theorem 5.9)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgro.experiments.artifact import Findings, Table, copied
from cgro.experiments.claims import Claim, Sample, above, below, holds
from cgro.experiments.jobs import Home, Job, Scale
from cgro.experiments.table2 import dynamics
from cgro.report.reproduction import cell

NAME = "figure2c"
TITLE = "Figure 2(c): the feature-learning process"
PAPER: dict[str, Any] = {
    "order": ("signal_growth_end", "memorization_start", "memorization_end"), "stall_share": 0.1, "delay": 10.0,
}  # fmt: skip
CAPTIONS = {
    "stages": "Signal and noise learned under the theorem's scales; vertical lines: stage boundaries, bands: range of seeds.",
    "control": "Standard training (robust weight 0) on the same data: the noise is never memorised.",
    "filters": "Filter space of the first seed at four times: one filter carries the signal, others take up the noise.",
}
STAGES = ("signal_growth_end", "memorization_start", "memorization_end")


def jobs(scale: Scale) -> list[Job]:
    """The theorem's scales and the control."""
    return [dynamics(scale, "theorem"), dynamics(scale, "control")]


def run(scale: Scale, home: Home) -> Findings:
    """Stage boundaries of every seed and the rates of signal and noise learning on either side of the first."""
    found: Findings = {"scale": scale}
    for job, done in zip(jobs(scale), home.finished(jobs(scale)).values(), strict=True):
        result = done.summary
        stages = {k: result["stages"][k]["per_seed"] for k in STAGES}
        found[job.settings["preset"]] = {
            "stages": stages, "n_seeds": result["n_seeds"], **_growth(done.rows(), stages),
            "noise_end": result["noise_learned"]["per_seed"], "theory": result["theory"],
            "noise_least": done.rows()[-1]["noise_learned_min"],
        }  # fmt: skip
    return found


def _growth(rows: list[dict[str, Any]], stages: Mapping[str, list[float | None]]) -> dict[str, list[float]]:
    """Of every seed: growth of the signal margin a step in stage I, and in stage II (to the end of training if none ends it)."""
    steps = [row["step"] for row in rows]
    found: dict[str, list[float]] = {"rate_first": [], "rate_second": []}
    for seed, (end, start) in enumerate(zip(stages["signal_growth_end"], stages["memorization_start"], strict=True)):
        if end is None:
            continue
        times = (0, end, start or steps[-1])
        margin = [rows[min(range(len(steps)), key=lambda i: abs(steps[i] - t))]["signal_margin"][seed] for t in times]
        found["rate_first"].append((margin[1] - margin[0]) / end)
        found["rate_second"].append((margin[2] - margin[1]) / (times[2] - end))
    return found


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """Stages found, in their order, the stall, the delay, all memorized, and the control."""
    theorem, control = findings["theorem"], findings["control"]
    n, stages = theorem["n_seeds"], theorem["stages"]
    boundaries = [stages[k] for k in paper["order"]]
    ordered = {
        f"seed {s}": all(v[s] is not None for v in boundaries) and boundaries[0][s] < boundaries[1][s] <= boundaries[2][s]
        for s in range(n)
    }  # fmt: skip
    claims = [holds(
        "figure2c/stages", "three stages in this order: signal grows, signal stalls, noise is memorised", ordered,
        paper="I, II, III", ours=f"{sum(ordered.values())} of {n} seeds",
        rule="the three boundaries are found in every seed and in order (half-maximum rule without tuning)",
    )]  # fmt: skip
    shares = [100 * b / a for a, b in zip(theorem["rate_first"], theorem["rate_second"], strict=True)]
    claims.append(below(
        "figure2c/stall", "after stage I the signal stalls: its growth a step in stage II, in percent of that in stage I "
        f"(read as: below {100 * paper['stall_share']:g}%)", Sample.of(shares), limit=100 * paper["stall_share"], paper="stalls",
        unit="%",
    ))  # fmt: skip
    delays = [b / a for a, b in zip(*boundaries[:2], strict=True) if a and b]
    claims.append(above(
        "figure2c/late", f"noise is memorised late: more than {paper['delay']:g} times as many steps as stage I took",
        Sample.of(delays), limit=paper["delay"], paper="late", unit=" times", digits=0,
    ))  # fmt: skip
    claims.append(above(
        "figure2c/all", "every training example is memorised: the least V_i at the end is Theta(1) (read as: above 1)",
        Sample.of(theorem["noise_least"]), limit=1.0, paper="V_i = Theta(1)", unit="",
    ))  # fmt: skip
    never = {f"seed {s}": v is None for s, v in enumerate(control["stages"]["memorization_start"])}
    claims.append(holds(
        "figure2c/control", "standard training never reaches the third stage (asked for by readers)", never,
        paper="not in the paper", ours=f"none in {sum(never.values())} of {n} seeds", rule="no start of memorisation in any seed",
    ))  # fmt: skip
    return claims


def tables(findings: Findings) -> list[Table]:
    """Boundaries in steps, predicted and measured."""
    words = {"signal_growth_end": "end of stage I", "memorization_start": "memorisation from",
             "memorization_end": "memorisation to"}  # fmt: skip
    rows = []
    for preset in ("theorem", "control"):
        part = findings[preset]
        for key, name in words.items():
            known = [v for v in part["stages"][key] if v is not None]
            predicted = (part["theory"].get(key) or {}).get("predicted")
            said = "" if predicted is None else f"{predicted:.4g}"
            rows.append([preset, name, said, cell(known, 0) or "not found", f"{len(known)} of {part['n_seeds']}"])
        rows.append([preset, "mean V_i at the end", "", cell(part["noise_end"], 3), ""])
    columns = ["setting", "what", "predicted", "measured, mean (sd)", "seeds that found it"]
    return [
        {
            "name": "stages",
            "caption": "Stage boundaries in steps of gradient descent.",
            "columns": columns,
            "rows": rows,
        }
    ]


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """The figures of `cgro dynamics`."""
    copied(home, "dynamics-theorem", "stages", folder, "stages")
    copied(home, "dynamics-theorem", "filters", folder, "filters")
    copied(home, "dynamics-control", "stages", folder, "control")
