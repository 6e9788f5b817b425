"""Figure 2(a, b): the effect of capacity on MNIST and CIFAR-10. Table 1 as curves, from the same runs."""

from pathlib import Path

from cgro.experiments import table1
from cgro.experiments.claims import Claim
from cgro.experiments.plan import Job, Scale
from cgro.experiments.table1 import Findings, Paper
from cgro.experiments.tables import Table
from cgro.experiments.widths import FAMILIES, evaluated_widths, readings
from cgro.experiments.workspace import Workspace
from cgro.report.reproduction import cell

NAME = "figure2ab"
TITLE = "Figure 2(a, b): the effect of capacity"
NEEDS_TRAINING = True
PAPER = table1.PAPER
CAPTIONS = table1.CAPTIONS


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
    table1.draw(findings, folder, workspace)
