"""Whom do adversarially trained networks remember, and do the stages come in order? Lemma 4.5 and Theorem 5.9 on images.

No table of the paper: it proves that memory in the balls suffices, and leaves open whether trained networks do so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgro.experiments import networks
from cgro.experiments.artifact import Findings, Table
from cgro.experiments.claims import Claim, Sample, above, holds, unjudged
from cgro.experiments.jobs import HERE, Home, Job, Scale
from cgro.report.memory import over_seeds
from cgro.report.reproduction import cell

NAME = "memory"
TITLE = "Memory: whom do trained networks remember?"
PAPER: dict[str, Any] = {"score": "above 0", "who": "near the boundary", "ordered": True}
CAPTIONS = {
    "quarters": "Share of images that stand under attack, training and test, by quarters of the distance to the boundary of a "
    "standard network; what training images have more is memory. Mean over seeds, bars one standard deviation."
}
N: dict[Scale, int] = {"smoke": 40, "cpu": 600, "gpu": 2000, "paper": 2000}
N_RETRAINED: dict[Scale, int] = {"smoke": 2, "cpu": 16, "gpu": 40, "paper": 40}
"""Networks on subsets for the influence, first seed of the small MNIST networks."""


def _robust(scale: Scale) -> dict[str, list[Job]]:
    return {"cifar10": networks.widest(scale), "mnist": networks.few(scale)}


def measured(scale: Scale) -> dict[str, list[Job]]:
    """One probe a network."""
    found = {}
    for data, trained in _robust(scale).items():
        pairs = zip(trained, networks.standard(trained), strict=True)
        found[data] = [_probe(scale, data, robust, clean) for robust, clean in pairs]
    return found


def _probe(scale: Scale, data: str, robust: Job, clean: Job) -> Job:
    seed = robust.settings["seed"]
    retrained = N_RETRAINED[scale] if data == "mnist" and seed == networks.SEEDS[scale][0] else 0
    settings = {"target": HERE + robust.name, "clean": HERE + clean.name, "n": N[scale], "influence": retrained}
    return Job(f"memory-{data}/seed-{seed}", "memory", settings, (10 * retrained + 200) if scale == "cpu" else 5)


def jobs(scale: Scale) -> list[Job]:
    """Robust networks, standard ones on the same examples, probes."""
    trained = [job for own in _robust(scale).values() for job in (*own, *networks.standard(own))]
    return [*trained, *(job for own in measured(scale).values() for job in own)]


def run(scale: Scale, home: Home) -> Findings:
    """Score, ranking, flip radii, shares by quarter, influence and stages, by seed."""
    found: Findings = {"scale": scale, "data": {}}
    for data, own in measured(scale).items():
        results = [run.summary for run in home.finished(own).values()]
        keys = set.intersection(*(set(r["metrics"]) for r in results))
        found["data"][data] = {
            "metrics": {k.removeprefix("memory/"): [r["metrics"][k]["value"] for r in results] for k in sorted(keys)},
            "quarters": {k: [[row[k] for row in r["memory"]["quarters"]] for r in results] for k in ("train", "test", "memory")},
            "stages": [r["memory"]["stages"] for r in results],
        }  # fmt: skip
        first = results[0]
        if "influence" in first["memory"]:
            found["influence"] = {
                "quarters": first["memory"]["influence"], "n_networks": N_RETRAINED[scale], "data": data,
                **{k.removeprefix("memory/"): m["value"] for k, m in first["metrics"].items() if "influence" in k},
            }  # fmt: skip
    return found


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """Is there memory, is it where the theory puts it, and do the stages come in order?"""
    claims, sign = [], 1.0 if paper["who"] == "near the boundary" else -1.0
    for data, part in findings["data"].items():
        score = Sample.of([v if paper["score"] == "above 0" else -v for v in part["metrics"]["score"]])
        claims.append(above(f"memory/{data}_score", f"{data}: attacked margins are larger around training than around test images (the "
                            "memory score)", score, paper=paper["score"], unit=" logits"))  # fmt: skip
        apart = [sign * 100 * (row[0] - row[-1]) for row in part["quarters"]["memory"]]
        claims.append(above(
            f"memory/{data}_who", f"{data}: memory holds images near the boundary (read as: the share that stands, training minus test, in "
            "the quarter nearest to the boundary of a standard network exceeds that in the farthest)", Sample.of(apart),
            paper="only small margins need memory (v1)", why=_in_reach(part["metrics"]),
        ))  # fmt: skip
        right = {f"seed {i}": bool(s and s["ordered"]) == paper["ordered"] for i, s in enumerate(part["stages"])}
        shown = "; ".join(f"clean {s['clean_learned']}, generalizes {s['generalized']}, memory {s['memorized']}, parts {s['parted']}"
                          for s in part["stages"] if s)  # fmt: skip
        claims.append(holds(f"memory/{data}_stages", f"{data}: clean accuracy is learnt first, then robustness that generalizes, memory last",
                            right, paper="three stages in order (Theorem 5.9)", ours=f"epochs by seed: {shown}",
                            rule="90% of the fall of each curve, in this order in every seed; some: partly"))  # fmt: skip
    return unjudged(claims, networks.STAND_IN) if findings["scale"] == "smoke" else claims


def _in_reach(metrics: Mapping[str, list[float]]) -> str:
    share = 100 * Sample.of(metrics["mu"]).mean
    return f"{share:.0f}% of the training images lie within the radius of the standard boundary: v1 has these memorised, whatever their quarter"


def tables(findings: Findings) -> list[Table]:
    """By quarter; the other numbers of the probe; influence."""
    names = ("nearest", "2nd", "3rd", "farthest")
    rows, probe = [], []
    for data, part in findings["data"].items():
        for k, name in enumerate(names):
            cells = [cell([100 * row[k] for row in part["quarters"][c]]) for c in ("train", "test", "memory")]
            rows.append([data, name, *cells])
        probe += [
            [data, key, cell(values, 3)] for key, values in part["metrics"].items() if not key.startswith("quarter")
        ]
    found: list[Table] = [
        {"name": "quarters", "caption": "Images that stand under PGD-20, in %, by distance to the boundary of a standard network on the "
         "same examples. Mean (sd) over seeds.", "columns": ["data", "quarter", "training", "test", "memory, points"], "rows": rows},
        {"name": "probe", "caption": "Mean (sd) over seeds.", "columns": ["data", "what", "value"], "rows": probe},
    ]  # fmt: skip
    if influence := findings.get("influence"):
        cells = [[name, f"{100 * v:.1f}"] for name, v in zip(names, influence["quarters"], strict=True)]
        cells += [["all", f"{100 * influence['influence']:.1f}"]]
        words = (
            f"What an image does for itself: chance to stand when trained on minus when left out, in points, {influence['n_networks']} "
            f"networks on 70% each ({influence['data']}, one seed); rank correlation with the distance to the standard boundary "
            f"{influence['rank/influence_and_clean_flip']:.2f}."
        )  # fmt: skip
        found.append(
            {"name": "influence", "caption": words, "columns": ["quarter", "influence, points"], "rows": cells}
        )
    return found


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """Quarters, both data sets."""
    over_seeds(folder / "quarters", findings["data"])
