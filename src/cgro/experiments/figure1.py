"""Figure 1: robust overfitting. After the learning-rate drop robust training error falls and robust test error rises."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgro.experiments import networks
from cgro.experiments.artifact import Findings, Table
from cgro.experiments.claims import Claim, Sample, above, below, unjudged
from cgro.experiments.jobs import Home, Job, Scale
from cgro.report.experiments import curves_over_epochs
from cgro.report.reproduction import cell

NAME = "figure1"
TITLE = "Figure 1: learning curves of adversarial training"
PAPER: dict[str, Any] = {
    "robust_train": "falling",
    "robust_test": "rising",
    "clean_test": "not rising",
    "rice_rise": 7.41,
}
CAPTIONS = {
    "curves": "Errors over the epochs: mean over seeds, bars one standard deviation; the learning rate drops at the line."
}
CURVES = ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
FEWER = "Rice et al. (2020) see a rise of 7.4 points for PreActResNet-18 on all of CIFAR-10 over 100 epochs"


def jobs(scale: Scale) -> list[Job]:
    """The widest CIFAR-10 networks, and their test errors at the first kept checkpoint after the drop."""
    trained = networks.widest(scale)
    return [*trained, *(networks.at_epoch(scale, job, networks.after_drop(scale)) for job in trained)]


def run(scale: Scale, home: Home) -> Findings:
    """Curves, and errors after the drop and at the end on the same test images, in percent."""
    trained, after = networks.widest(scale), networks.after_drop(scale)
    runs = [home.make(job) for job in trained]
    marks = [home.make(networks.at_epoch(scale, job, after)) for job in trained]
    rows = [[r for r in run.rows() if "robust_error/test" in r] for run in runs]
    at = [next(r for r in own if r["epoch"] >= after) for own in rows]
    first = runs[0].summary
    found: Findings = {
        "scale": scale, "drops": [int(e) for e in str(trained[0].settings["lr_drops"]).split(",")], "after": after,
        "epochs": [r["epoch"] for r in rows[0]], "curves": {k: [[100 * r[k] for r in own] for own in rows] for k in CURVES},
        "data": first["data"]["name"], "note": first["data"].get("note", ""), "n_curve": trained[0].settings.get("eval_n", 1000),
        "robust_train_after": [100 * r["robust_error/train"] for r in at],
        "robust_train_end": [100 * own[-1]["robust_error/train"] for own in rows],
    }  # fmt: skip
    for kind in ("clean", "robust"):
        key = f"{kind}_error/test"
        ends = [run.summary["metrics"] for run in runs]
        name = next(k for k in ends[0] if k.startswith("robust_error/test@pgd")) if kind == "robust" else key
        found[f"{kind}_test_after"] = [100 * m.summary["metrics"][key]["value"] for m in marks]
        found[f"{kind}_test_end"] = [100 * e[name]["value"] for e in ends]
        found["n_test"] = ends[0][name]["n"]
    return found


def _rise(findings: Findings, key: str) -> Sample:
    return Sample.of([b - a for a, b in zip(findings[f"{key}_after"], findings[f"{key}_end"], strict=True)])


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """From the first checkpoint after the drop to the end, paired by seed and test image."""
    span = f"from epoch {findings['after']} to {findings['epochs'][-1]}"
    rules = {"falling": (below, 0.0), "rising": (above, 0.0), "not rising": (below, 1.0)}
    words = {
        "robust_train": "robust training error keeps falling", "robust_test": "robust test error turns up",
        "clean_test": "clean test error does not turn up (read as: rises by less than 1 point)",
    }  # fmt: skip
    claims = []
    for key, statement in words.items():
        rule, limit = rules[paper[key]]
        why = FEWER if key == "robust_test" else ""
        claims.append(rule(f"figure1/{key}", f"after the learning-rate drop, {span}, {statement}", _rise(findings, key),
                           limit=limit, paper=paper[key], why=why))  # fmt: skip
    return unjudged(claims, networks.STAND_IN) if findings["scale"] == "smoke" else claims


def tables(findings: Findings) -> list[Table]:
    """Errors after the drop and at the end."""
    names = {"clean_test": "clean test", "robust_train": "robust train", "robust_test": "robust test"}
    rows = [
        [name, cell(findings[f"{k}_after"]), cell(findings[f"{k}_end"]), cell(_rise(findings, k).values)]
        for k, name in names.items()
    ]
    caption = (
        f"{findings['data']}: error in %, mean (sd) over {len(findings['robust_test_end'])} seeds; test errors on "
        f"{findings['n_test']:,} images, training errors on {findings['n_curve']:,}."
    )  # fmt: skip
    columns = ["error", f"epoch {findings['after']}", f"epoch {findings['epochs'][-1]}", "change"]
    return [{"name": "turn", "caption": caption, "columns": columns, "rows": rows}]


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """The four curves."""
    curves_over_epochs(folder / "curves", findings)
