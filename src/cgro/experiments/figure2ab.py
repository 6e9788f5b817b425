"""Figure 2(a, b): the effect of capacity on MNIST and CIFAR-10. Table 1 as curves, from the same runs."""

from pathlib import Path

from cgro.experiments import table1
from cgro.experiments.artifact import shown_data
from cgro.experiments.claims import Claim
from cgro.experiments.table1 import Findings, Paper
from cgro.experiments.tables import Table
from cgro.experiments.widths import FAMILIES, evaluated_widths, readings, with_start
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.experiments import width_curves
from cgro.report.markdown import cell
from cgro.report.optimizers import optimizer_curves

NAME = "figure2ab"
TITLE = "Figure 2(a, b): the effect of capacity"
NEEDS_TRAINING = True
PAPER = table1.PAPER
CAPTIONS = {
    "mnist": "MNIST, LeNet by width, l_inf 0.3: the paper (open) and ours (filled, bars one standard deviation; "
    "at scales cpu and gpu with the radius warmed up).",
    "optimizers": "What width gains depends on the optimizer: LeNets on 1,000 MNIST images, l_inf 0.3, radius warmed "
    "up, by SGD and by Adam; mean and standard deviation of three seeds. Left: robust accuracy on training (dashed) "
    "and test images (solid) under PGD-20, and under the ensemble on 100 test images per seed (dotted). Right: robust "
    "gap.",
    "cifar10": "CIFAR-10 by width, l_inf 8/255: the paper's WRN-34 (open) and our networks (filled).",
}
OPTIMIZERS = {"SGD": "sgd-warm", "Adam": "warm"}
"""What the legend calls networks -> their start."""
BASE = 16
"""Channels of the first stage of WRN-d-1; a PreActResNet has as many there as its width says."""


def jobs(scale: Scale) -> list[Job]:
    """Those of Table 1.

    Args:
        scale: of the reproduction.

    Returns:
        Trainings and evaluations.
    """
    return table1.jobs(scale)


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read what Table 1 reads.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    return table1.run(scale, workspace)


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """What the curves are said to show: how robust training accuracy and the robust gap go with the width.

    Args:
        findings: of `run`, or stored.
        paper: not needed: orders have no values.

    Returns:
        Three claims per family.
    """
    claims = []
    for family in FAMILIES:
        claims += readings(NAME, family, evaluated_widths(findings.of(family)))
    return claims


def tables(findings: Findings) -> list[Table]:
    """The robust gap by width.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    columns = ["data", "width", "whose", "robust train %", "robust gap, points"]
    table = Table("gaps", "Mean (sd) over seeds.", columns)
    for family in FAMILIES:
        for width, printed in PAPER.of(family).items():
            gap = printed.robust_train - printed.robust_test
            table.add(family, f"x{width}", "paper", f"{printed.robust_train:.2f}", f"{gap:.2f}")
        for width, network in evaluated_widths(findings.of(family)).items():
            table.add(network.data, f"x{width}", "ours", cell(network.robust_train), cell(network.gaps))
    return [table]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The curves of both families.

    Args:
        findings: of `run`, or stored.
        folder: where the figures go.
        workspace: not needed.
    """
    scale = findings.scale
    mnist = evaluated_widths(findings.mnist)
    title = f"{shown_data('MNIST', scale)}, LeNet, l_inf 0.3"
    width_curves(folder / "mnist", mnist, PAPER.mnist, title, "width of LeNet")
    starts = {name: with_start(findings.mnist, start) for name, start in OPTIMIZERS.items()}
    if all(len(widths) > 1 for widths in starts.values()):
        optimizer_curves(folder / "optimizers", starts, f"{title}, radius warmed up")
    channels = evaluated_widths(findings.cifar10)
    if scale == "paper":
        channels = {BASE * width: network for width, network in channels.items()}
    paper = {BASE * width: row for width, row in PAPER.cifar10.items()}
    title = f"{shown_data('CIFAR-10', scale)}, l_inf 8/255"
    width_curves(folder / "cifar10", channels, paper, title, "channels of the first stage")
