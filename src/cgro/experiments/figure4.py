"""Figure 4: local and global flatness over training, and the robust generalization gap against global flatness."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from cgro.experiments import evaluations, findings, networks
from cgro.experiments.claims import UNTESTED, Claim, Statement, above, below, by_interval
from cgro.experiments.figure3 import one_network
from cgro.experiments.findings import Part
from cgro.experiments.metrics import known
from cgro.experiments.seeds import rises
from cgro.experiments.tables import Table
from cgro.flatness import rank_correlation, spearman
from cgro.jobs.plan import HERE, Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.flatness import gaps, over_training
from cgro.report.markdown import cell
from cgro.results import FlatnessCheckpoint, Measured

NAME = "figure4"
TITLE = "Figure 4: flatness over training"
NEEDS_TRAINING = True
CAPTIONS = {
    "training": "Left: local and global flatness over the epochs. Right: robust gap of the loss against global "
    "flatness."
}
SEARCH: dict[Scale, dict[str, object]] = {
    "smoke": {"n": 12, "n_steps": 2, "n_loss_steps": 2},
    "cpu": {"n": 128, "n_steps": 10},
    "gpu": {"n": 512},
    "paper": {"n": 512},
}


class Paper(Part, frozen=True, kw_only=True):
    """Directions that the paper shows.

    Attributes:
        correlation: of robust gap and global flatness.
        global_flatness: the gradient norm around test images after the learning-rate drop.
        local_flatness: the gradient norm around training images, which training is said to flatten.
    """

    correlation: Literal["positive", "negative"] = "positive"
    global_flatness: Literal["rising", "falling"] = "rising"
    local_flatness: Literal["rising", "falling"] = "falling"


PAPER = Paper()


class Correlation(Part, frozen=True, kw_only=True):
    """Spearman's rank correlation with its bootstrap interval; see `cgro.flatness.rank_correlation`."""

    value: float
    interval: tuple[float, float] | None
    per_seed: list[float]
    n_seeds: int
    n_checkpoints: int
    block: int


class Findings(findings.Findings, frozen=True, kw_only=True):
    """Flatness at the training radius: one list per seed, with one number per epoch.

    Attributes:
        epochs: of the kept checkpoints.
        after: the first kept epoch after the learning-rate drop.
        correlation: of robust gap and global flatness over checkpoints; None for too few of them.
        local: largest gradient norm in the balls around training images.
        robust_loss_train: largest loss in these balls.
        global_flatness: largest gradient norm in the balls around test images.
        robust_loss_test: largest loss in these balls.
    """

    epochs: list[int]
    after: int
    correlation: Correlation | None
    local: list[list[float]]
    robust_loss_train: list[list[float]]
    global_flatness: list[list[float]] = msgspec.field(name="global")
    robust_loss_test: list[list[float]]


def measured(scale: Scale) -> list[Job]:
    """Every kept checkpoint of the widest CIFAR-10 networks, at the training radius.

    Args:
        scale: of the reproduction.

    Returns:
        One measurement per seed.
    """
    seconds = 300.0 if scale == "cpu" else 8.0
    found = []
    for job in networks.widest(scale):
        config = networks.configuration(job)
        settings = {"targets": [HERE + job.name], "per_epoch": True, "radii": config.radius, **SEARCH[scale]}
        found.append(Job(f"flatness-epochs/seed-{config.seed}", "flatness", settings, seconds))
    return found


def jobs(scale: Scale) -> list[Job]:
    """The same networks as Figures 1 and 3.

    Args:
        scale: of the reproduction.

    Returns:
        Trainings and measurements.
    """
    return [*networks.widest(scale), *measured(scale)]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read flatness by epoch and seed, and correlate.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    curves = [one_network(run) for run in workspace.read_all(measured(scale))]
    kept = [[row for row in curve.checkpoints if row.epoch is not None] for curve in curves]
    points = gaps(curves)
    correlation = None
    if points is not None:
        found = rank_correlation(*points, np.random.default_rng(0))
        if found is not None:
            correlation = msgspec.convert(found.to_dict(), Correlation)
    return Findings(
        scale=scale,
        epochs=[row.epoch for row in kept[0] if row.epoch is not None],
        after=evaluations.kept_after_drop(networks.configuration(workspace.settled(networks.widest(scale)[0]))),
        correlation=correlation,
        local=[_gradients(rows, "train") for rows in kept],
        robust_loss_train=[_robust_losses(rows, "train") for rows in kept],
        global_flatness=[_gradients(rows, "test") for rows in kept],
        robust_loss_test=[_robust_losses(rows, "test") for rows in kept],
    )


def _gradients(rows: Sequence[FlatnessCheckpoint], part: str) -> list[float]:
    return [known(row.parts[part].gradient[0]) for row in rows]


def _robust_losses(rows: Sequence[FlatnessCheckpoint], part: str) -> list[float]:
    return [row.parts[part].loss + known(row.parts[part].rise[0]) for row in rows]


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Global flatness rises, more than local flatness does, which falls, and the gap follows the global one.

    Args:
        findings: of `run`, or stored.
        paper: directions.

    Returns:
        Four claims.
    """
    first = 0
    if findings.after in findings.epochs:
        first = findings.epochs.index(findings.after)
    span = f"from epoch {findings.epochs[first]} to {findings.epochs[-1]}"
    sign = 1.0 if paper.global_flatness == "rising" else -1.0
    outside = _changes(findings.global_flatness, first)
    inside = _changes(findings.local, first)
    return [
        above(
            Statement(
                "figure4/global",
                f"the gradient norm around test images (global) is {paper.global_flatness} after the learning-rate "
                f"drop, {span}",
                paper=paper.global_flatness,
            ),
            Measured.of(sign * change for change in outside),
            unit="",
        ),
        above(
            Statement(
                "figure4/local",
                f"and rises by more than around training images (local), {span}",
                paper="locally, not globally",
            ),
            Measured.of(rises(inside, outside)),
            unit="",
        ),
        _flattened(findings, first, span, paper),
        _correlated(findings, paper),
    ]


def _flattened(findings: Findings, first: int, span: str, paper: Paper) -> Claim:
    """Does the norm around training images fall? Over all of training it is said beside it."""
    over_all = Measured.of(_changes(findings.local, 0)).text("", 1)
    said = Statement(
        "figure4/flattens",
        f"training flattens locally: the gradient norm around training images is {paper.local_flatness}, {span}",
        paper="locally, not globally",
        why=f"from epoch {findings.epochs[0]} to {findings.epochs[-1]} it changes by {over_all}: training images are "
        "flatter than test images, and less flat than they were",
    )
    change = Measured.of(_changes(findings.local, first))
    if paper.local_flatness == "rising":
        return above(said, change, unit="")
    return below(said, change, unit="")


def _changes(curves: Sequence[Sequence[float]], first: int) -> list[float]:
    """Last minus first of the epochs that count, per seed."""
    return [curve[-1] - curve[first] for curve in curves]


def within_epochs(findings: Findings) -> float | None:
    """Rank correlation of robust gap and global flatness, both without their mean over seeds at each epoch.

    Both rise with the epoch, which alone correlates them over checkpoints. What is left compares networks.

    Args:
        findings: of `run`, or stored.

    Returns:
        Spearman's; None for one seed, or seeds that are alike. No interval: the residuals of a seed depend on one
        another, and seeds are few.
    """
    gap = np.array(findings.robust_loss_test) - np.array(findings.robust_loss_train)
    flatness = np.array(findings.global_flatness)
    if len(gap) < 2:
        return None
    gap_left = (gap - gap.mean(0)).ravel()
    flatness_left = (flatness - flatness.mean(0)).ravel()
    if not gap_left.any() or not flatness_left.any():
        return None
    return spearman(gap_left, flatness_left)


def _correlated(findings: Findings, paper: Paper) -> Claim:
    """Rank correlation over checkpoints; the interval draws seeds and blocks of epochs."""
    found = findings.correlation
    said = Statement(
        "figure4/correlation",
        "robust gap and global flatness rise together over checkpoints: two trends in time, which order epochs and not "
        "networks",
        paper=paper.correlation,
    )
    rule = (
        "95% interval of Spearman's rank correlation, bootstrap over seeds and blocks of epochs, above 0; only its "
        "value: partly; the interval below 0: not reproduced"
    )
    if found is None or found.interval is None:
        return said.judged(UNTESTED, "too few checkpoints or seeds", rule=rule, ours="not measured")
    sign = 1.0 if paper.correlation == "positive" else -1.0
    low, high = sorted(sign * end for end in found.interval)
    verdict = by_interval(low, sign * found.value, high)
    ours = f"{found.value:.2f} [{found.interval[0]:.2f}, {found.interval[1]:.2f}], {found.n_seeds} seeds"
    reason = f"interval [{low:.2f}, {high:.2f}] of the sign claimed, over epochs"
    left = within_epochs(findings)
    numbers = {**msgspec.to_builtins(found), "within_epochs": left}
    if left is not None:
        reason += f"; without the mean of each epoch {left:.2f}, of {found.n_seeds} seeds, too few for an interval"
    return said.judged(verdict, reason, rule=rule, ours=ours, numbers=numbers)


def tables(findings: Findings) -> list[Table]:
    """By epoch.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    columns = ["epoch", "local (train)", "global (test)", "robust gap of the loss"]
    table = Table("epochs", "Mean (sd) over seeds; lower bounds.", columns)
    for k, epoch in enumerate(findings.epochs):
        gap = rises(_at(findings.robust_loss_train, k), _at(findings.robust_loss_test, k))
        table.add(epoch, cell(_at(findings.local, k), 3), cell(_at(findings.global_flatness, k), 3), cell(gap, 3))
    return [table]


def _at(curves: Sequence[Sequence[float]], k: int) -> list[float]:
    """One epoch of every seed."""
    return [curve[k] for curve in curves]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The figure of `cgro flatness --per-epoch`, over seeds.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: where the runs are found; those that are not there are left out.
    """
    runs = [run for run in map(workspace.found, measured(findings.scale)) if run is not None]
    if runs:
        over_training(folder / "training", [one_network(run) for run in runs])
