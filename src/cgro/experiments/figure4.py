"""Figure 4: local and global flatness over training, and the robust generalization gap against global flatness."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cgro.experiments import networks
from cgro.experiments.artifact import Findings, Table
from cgro.experiments.claims import NOT_REPRODUCED, PARTLY, REPRODUCED, UNTESTED, Claim, Sample, above, unjudged
from cgro.experiments.jobs import HERE, Home, Job, Scale
from cgro.flatness import rank_correlation
from cgro.report.flatness import gaps, over_training
from cgro.report.reproduction import cell
from cgro.results import FlatnessRecord, read_value

NAME = "figure4"
TITLE = "Figure 4: flatness over training"
PAPER: dict[str, Any] = {"correlation": "positive", "global": "rising"}
CAPTIONS = {
    "training": "Left: local and global flatness over the epochs. Right: robust gap of the loss against global flatness."
}
SEARCH: dict[Scale, dict[str, Any]] = {
    "smoke": {"n": 12, "n_steps": 2, "n_loss_steps": 2}, "cpu": {"n": 128, "n_steps": 10}, "gpu": {"n": 512}, "paper": {"n": 512},
}  # fmt: skip


def measured(scale: Scale) -> list[Job]:
    """Every kept checkpoint of the widest CIFAR-10 networks, at the training radius, by seed."""
    return [Job(f"flatness-epochs/seed-{job.settings['seed']}", "flatness",
                {"targets": [HERE + job.name], "per_epoch": True, "radii": job.settings["radius"], **SEARCH[scale]},
                300.0 if scale == "cpu" else 8.0) for job in networks.widest(scale)]  # fmt: skip


def jobs(scale: Scale) -> list[Job]:
    """The same networks as Figures 1 and 3."""
    return [*networks.widest(scale), *measured(scale)]


def run(scale: Scale, home: Home) -> Findings:
    """Flatness by epoch and seed, and the rank correlation with its interval."""
    curves = [run.summary["flatness"] for run in home.finished(measured(scale)).values()]
    rows = [[r for r in c["checkpoints"] if r["epoch"] is not None] for c in curves]
    points = gaps(read_value(curves, "flatness", list[FlatnessRecord]))
    found: Findings = {
        "scale": scale, "epochs": [r["epoch"] for r in rows[0]], "after": networks.after_drop(scale),
        "correlation": points and rank_correlation(*points, np.random.default_rng(0)).to_dict(),
    }  # fmt: skip
    for name, part in (("local", "train"), ("global", "test")):
        found[name] = [[r["parts"][part]["gradient"][0]["value"] for r in own] for own in rows]
        found[f"robust_loss_{part}"] = [
            [r["parts"][part]["loss"] + r["parts"][part]["rise"][0]["value"] for r in own] for own in rows
        ]
    return found


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """Global flatness rises, more than local flatness does, and the gap follows it."""
    epochs = findings["epochs"]
    first = epochs.index(findings["after"]) if findings["after"] in epochs else 0
    span, sign = f"from epoch {epochs[first]} to {epochs[-1]}", 1.0 if paper["global"] == "rising" else -1.0

    def change(name: str) -> list[float]:
        return [own[-1] - own[first] for own in findings[name]]

    apart = [g - v for g, v in zip(change("global"), change("local"), strict=True)]
    claims = [
        above("figure4/global", f"the gradient norm around test images (global) is {paper['global']} after the learning-rate drop, {span}",
              Sample.of([sign * v for v in change("global")]), paper=paper["global"], unit=""),
        above("figure4/local", f"and by more than around training images (local), {span}: training flattens locally, not globally",
              Sample.of(apart), paper="locally, not globally", unit=""),
        _correlation(findings, paper),
    ]  # fmt: skip
    return unjudged(claims, networks.STAND_IN) if findings["scale"] == "smoke" else claims


def _correlation(findings: Findings, paper: Mapping[str, Any]) -> Claim:
    """Rank correlation over checkpoints; the interval draws seeds and blocks of epochs."""
    c, sign = findings["correlation"], 1.0 if paper["correlation"] == "positive" else -1.0
    name, statement = "figure4/correlation", "robust gap and global flatness rise together over checkpoints"
    rule = "95% interval of Spearman's rank correlation, bootstrap over seeds and blocks of epochs, above 0; only its value: partly"
    if c is None or c["interval"] is None:
        return Claim(
            name, statement, rule, UNTESTED, paper["correlation"], "not measured", "too few checkpoints or seeds"
        )
    low, high = sorted(sign * v for v in c["interval"])
    verdict = REPRODUCED if low > 0 else PARTLY if sign * c["value"] > 0 else NOT_REPRODUCED
    ours = f"{c['value']:.2f} [{c['interval'][0]:.2f}, {c['interval'][1]:.2f}], {c['n_seeds']} seeds"
    return Claim(
        name,
        statement,
        rule,
        verdict,
        paper["correlation"],
        ours,
        f"interval [{low:.2f}, {high:.2f}] of the sign claimed",
        c,
    )


def tables(findings: Findings) -> list[Table]:
    """By epoch."""
    rows = []
    for i, epoch in enumerate(findings["epochs"]):
        gaps = [b[i] - a[i] for a, b in zip(findings["robust_loss_train"], findings["robust_loss_test"], strict=True)]
        rows.append([epoch, *(cell([own[i] for own in findings[k]], 3) for k in ("local", "global")), cell(gaps, 3)])
    columns = ["epoch", "local (train)", "global (test)", "robust gap of the loss"]
    return [{"name": "epochs", "caption": "Mean (sd) over seeds; lower bounds.", "columns": columns, "rows": rows}]


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """The figure of `cgro flatness --per-epoch`, over seeds."""
    runs = [run for run in map(home.found, measured(findings["scale"])) if run is not None]
    if runs:
        curves = [run.summary["flatness"] for run in runs]
        over_training(folder / "training", read_value(curves, "flatness", list[FlatnessRecord]))
