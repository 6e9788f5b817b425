"""Theorem 4.4: a ReLU network with poly(D) + O~(N D) parameters is a CGRO classifier. Built, counted and certified."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cgro.experiments import findings, memorizers
from cgro.experiments.artifact import copy_figure
from cgro.experiments.claims import Claim, Statement, holds, untested
from cgro.experiments.findings import Part
from cgro.experiments.memorizers import RADII, REGIONS, Size, Task
from cgro.experiments.tables import Table
from cgro.folder import seed_folders
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.markdown import cell
from cgro.report.theorem44 import robust_brackets, size_law
from cgro.results import MemorizeSummary

NAME = "theorem44"
TITLE = "Theorem 4.4: robust memorization with O~(N D) parameters"
NEEDS_TRAINING = False
CAPTIONS = {
    "law": "Non-zero parameters of the memory against N D (generic data): in the cost of further points the power is "
    "1 in every norm.",
    "brackets": "Robust test error of the certified network, between attack and certificate, beside its clean test "
    "error.",
    "regions": "Plane through three training images: f_clean, f_S of Lemma 4.5, and the network.",
}
AGREES = 0.05
"""Distance from the paper's power of N D that counts as equal to it: a choice, for small N."""


class Paper(Part, frozen=True, kw_only=True):
    """What the theorem says.

    Attributes:
        robust_train: robust training error in percent.
        power_of_nd: of the number of parameters in N D.
        robust_test_above: robust test error that counts as Omega(1): ours.
    """

    robust_train: float = 0.0
    power_of_nd: float = 1.0
    robust_test_above: float = 0.10


PAPER = Paper()


class Findings(findings.Findings, frozen=True, kw_only=True):
    """Tasks by the name of their job, sizes, and norm -> power of N D."""

    tasks: dict[str, Task]
    sizes: list[Size]
    slopes: dict[str, float]


def jobs(scale: Scale) -> list[Job]:
    """Certificates, then sizes.

    Args:
        scale: of the reproduction.

    Returns:
        Constructions.
    """
    return [*memorizers.tasks(scale), *memorizers.law(scale)]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read certificates and brackets of every task and seed, and sizes with their laws.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    tasks = {}
    for job in memorizers.tasks(scale):
        tasks[job.name] = memorizers.read_task(workspace.read(job), job)
    sizes = []
    for job in memorizers.law(scale):
        sizes.append(memorizers.read_size(workspace.read(job).read(MemorizeSummary), job))
    slopes: dict[str, float] = {}
    for p in RADII:
        slopes[p] = memorizers.power([size for size in sizes if size.p == p])
    return Findings(scale=scale, tasks=tasks, sizes=sizes, slopes=slopes)


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Certificate, all of MNIST, clean error kept, size law, robust test error away from 0.

    Args:
        findings: of `run`, or stored.
        paper: what the theorem says.

    Returns:
        Five claims.
    """
    return [
        _certified(findings, paper),
        _whole(findings.tasks.values()),
        _clean(findings.tasks),
        _sizes(findings, paper),
        _robust_test(findings.tasks, paper),
    ]


def _certified(findings: Findings, paper: Paper) -> Claim:
    some = {name: task for name, task in findings.tasks.items() if not task.is_whole}
    n_runs = sum(len(task.holds) for task in some.values()) + len(findings.sizes)
    certified = {}
    for name, task in some.items():
        is_zero = max(task.certified_error) <= paper.robust_train
        certified[name] = is_zero and all(task.holds) and all(task.agree)
    for size in findings.sizes:
        certified[f"N D = {size.n_times_dim}, p = {size.p}"] = size.holds
    return holds(
        Statement(
            "theorem44/robust_train",
            "robust training error is 0: memory answers on every training ball",
            paper="0",
        ),
        certified,
        ours=f"certified in {sum(certified.values())} of {len(certified)} settings, {n_runs} networks",
        rule="certificate A in exact rational arithmetic on all balls, and interval propagation agrees where it is run",
    )


def _whole(tasks: Iterable[Task]) -> Claim:
    said = Statement(
        "theorem44/mnist",
        "the same on all of MNIST, N = 60,000 and ten classes",
        paper="0",
        why="smoke has 100 images",
    )
    whole = [task for task in tasks if task.is_whole]
    if not whole:
        return untested(said, ours="not run")
    sizes = ", ".join(f"{task.parameters:,} (p = {task.p})" for task in whole)
    return holds(
        replace(said, why=""),
        {f"p = {task.p}": all(task.holds) for task in whole},
        ours=f"all 60,000 balls certified; parameters {sizes}",
        rule="certificate A in exact rational arithmetic on all 60,000 balls",
    )


def _clean(tasks: Mapping[str, Task]) -> Claim:
    kept = {}
    for name, task in tasks.items():
        if task.clean_model_error:
            kept[name] = bool(np.allclose(task.clean_error, task.clean_model_error))
    return holds(
        Statement("theorem44/clean", "clean test error is that of f_clean", paper="that of f_clean"),
        kept,
        ours=f"{sum(kept.values())} of {len(kept)} tasks equal",
        rule="equal to the last test example in every seed",
    )


def _sizes(findings: Findings, paper: Paper) -> Claim:
    right = {}
    for size in findings.sizes:
        right[f"{size.data} {size.n} {size.p}"] = size.measured == size.formula
    for p, power in findings.slopes.items():
        right[f"p = {p}"] = abs(power - paper.power_of_nd) <= AGREES
    powers = ", ".join(f"{power:.3f} (p = {p})" for p, power in findings.slopes.items())
    return holds(
        Statement(
            "theorem44/size",
            "the memory has O~(N D) parameters",
            paper="O~(N D)",
            why="4N and, for p = 2, a depth that depends on the ramp still weigh at small N",
        ),
        right,
        ours=f"power of N D: {powers}",
        rule="non-zeros equal the closed formula, and the power of N D in the cost of further points, at D = 64 and "
        f"784, is 1 within {AGREES:g}",
    )


def _robust_test(tasks: Mapping[str, Task], paper: Paper) -> Claim:
    far = {}
    lows = []
    for name, task in tasks.items():
        lows += task.robust_low
        for seed, low in enumerate(task.robust_low_end):
            far[f"{name}, seed {seed}"] = low > 100 * paper.robust_test_above
    return holds(
        Statement(
            "theorem44/robust_test",
            "robust test error stays Omega(1) (read as: above 10%)",
            paper="Omega(1)",
            why="too few test images here for the interval",
        ),
        far,
        ours=f"lower bounds from {min(lows):.1f}% to {max(lows):.1f}%",
        rule="lower 95% end of the attack's lower bound above 10% in every task and seed",
    )


def tables(findings: Findings) -> list[Table]:
    """Tasks, and sizes.

    Args:
        findings: of `run`, or stored.

    Returns:
        Two tables.
    """
    return [_certificates_table(findings.tasks), _sizes_table(findings.sizes)]


def _certificates_table(tasks: Mapping[str, Task]) -> Table:
    caption = (
        "Mean (sd) over seeds. Naive PGD is misled by the clip of f_clean (gradient masking); the bracket is what "
        "holds."
    )
    columns = [
        "task",
        "p, radius",
        "N",
        "separation",
        "certificate",
        "clean error %",
        "robust test error %, bracket",
        "naive PGD %",
        "parameters",
        "seeds",
    ]
    table = Table("certificates", caption, columns)
    for task in tasks.values():
        state = "holds" if all(task.holds) else "DOES NOT HOLD"
        table.add(
            f"{task.data}, {task.classes}",
            f"{task.p}, {task.radius}",
            task.n_train,
            f"{task.separation:.4g}",
            f"{state}, y F >= {min(task.least_margin):g}",
            cell(task.clean_error),
            f"[{cell(task.robust_low, 1)}, {cell(task.robust_high, 1)}]",
            cell(task.naive_pgd, 1),
            f"{task.parameters:,}",
            len(task.holds),
        )
    return table


def _sizes_table(sizes: Sequence[Size]) -> Table:
    caption = "Parameters of the memory; measured and formula include the clean model and zeros of the data."
    columns = ["p", "data", "N", "D", "generic", "measured", "formula"]
    table = Table("sizes", caption, columns, long=True)
    for size in sizes:
        table.add(size.p, size.data, size.n, size.dim, size.generic, size.measured, size.formula)
    return table


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """Law, brackets, and the plane of the first run.

    Args:
        findings: of `run`, or stored.
        folder: where the figures go.
        workspace: where the runs are found.
    """
    size_law(folder / "law", findings.sizes, findings.slopes)
    named = {f"{task.data}\n{task.classes}\np = {task.p}": task for task in findings.tasks.values()}
    robust_brackets(folder / "brackets", named)
    whole = workspace.runs / REGIONS
    first = next(iter(seed_folders(whole)), whole)
    copy_figure(first, "decision_regions", folder / "regions")
