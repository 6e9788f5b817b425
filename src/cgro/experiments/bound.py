"""The robust generalization bound (v1, Theorem 6.3) and Proposition 6.4 beside what is measured."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from cgro.experiments import figure3, findings
from cgro.experiments.artifact import shown_data
from cgro.experiments.claims import Claim, Statement, above, derived, holds, limited
from cgro.experiments.findings import Part
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.bound import bound_points
from cgro.report.markdown import cell
from cgro.results import Measured

NAME = "bound"
TITLE = "The robust generalization bound"
NEEDS_TRAINING = True
CAPTIONS = {"bound": "The measured robust gap of the loss, the largest gap there could be, and what the bound allows."}
VACUOUS = (
    "it holds and is vacuous: for images N^(-1/(D+2)) is near 1, so the right side exceeds the whole robust test loss, "
    "which no gap can; the constants C and the hidden one, unknown, are taken in the bound's favor (0 and 1)"
)

TAYLOR = (
    "it follows from Taylor's theorem: the ratio tends to 1 with the radius, and no network that was tried could have "
    "missed the limit"
)


class Paper(Part, frozen=True, kw_only=True):
    """What the paper proves.

    Attributes:
        side: where the right side of the bound lies.
        ratio: least ratio of the two sides of Proposition 6.4 that counts as Omega(1): ours.
    """

    side: Literal["above the gap", "below the gap"] = "above the gap"
    ratio: float = 0.5


PAPER = Paper()


class Sides(Part, frozen=True, kw_only=True):
    """Both inequalities on one data set, one number per seed.

    Attributes:
        bound: right side of Theorem 6.3.
        gap: its left side, the measured robust gap of the loss.
        robust_loss: on test images; no gap exceeds it.
        factor: N^(-1/(D+2)).
        vacuous: whether the bound exceeds the robust test loss.
        product: radius times mean gradient norm, right side of Proposition 6.4.
        rise: robust minus clean loss, its left side.
        ratio: rise over product.
    """

    bound: list[float]
    gap: list[float]
    robust_loss: list[float]
    factor: list[float]
    vacuous: list[bool]
    product: list[float]
    rise: list[float]
    ratio: list[float]


class Findings(findings.Findings, frozen=True, kw_only=True):
    """Data set -> both sides."""

    data: dict[str, Sides]


COLUMNS: dict[str, Callable[[Sides], list[float]]] = {
    "gap of the loss": lambda sides: sides.gap,
    "bound": lambda sides: sides.bound,
    "robust test loss": lambda sides: sides.robust_loss,
    "N^(-1/(D+2))": lambda sides: sides.factor,
    "robust - clean loss": lambda sides: sides.rise,
    "radius E||grad||": lambda sides: sides.product,
    "their ratio": lambda sides: sides.ratio,
}
"""Of the table."""


def jobs(scale: Scale) -> list[Job]:
    """Those of Figure 3.

    Args:
        scale: of the reproduction.

    Returns:
        Trainings and measurements.
    """
    return figure3.jobs(scale)


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read both sides of the bound and of the proposition, every seed.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    data = {}
    for name, own in figure3.measured(scale).items():
        data[name] = _sides(figure3.last_curves(workspace, own))
    return Findings(scale=scale, data=data)


def _sides(curves: Sequence[figure3.Curve]) -> Sides:
    """Of the seeds that have a bound."""
    bounds = [curve.bound for curve in curves if curve.bound is not None]
    first_order = [curve.first_order for curve in curves if curve.first_order is not None]
    return Sides(
        bound=[one.bound for one in bounds],
        gap=[one.gap for one in bounds],
        robust_loss=[one.robust_loss for one in bounds],
        factor=[one.factor for one in bounds],
        vacuous=[one.vacuous for one in bounds],
        product=[one.product for one in first_order],
        rise=[one.rise for one in first_order],
        ratio=[one.ratio for one in first_order],
    )


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """The bound holds (and says how much), the proposition's constant is away from 0.

    Args:
        findings: of `run`, or stored.
        paper: what should hold.

    Returns:
        Two claims per data set.
    """
    claims = []
    for data, sides in findings.data.items():
        claims += [_holds(data, sides, paper), _first_order(data, sides, paper)]
    return claims


def _holds(data: str, sides: Sides, paper: Paper) -> Claim:
    said = Statement(
        f"bound/{data}",
        f"{data}: the robust gap of the loss is at most N^(-1/(D+2)) times global flatness",
        paper="gap <~ bound",
    )
    right = {}
    for seed, (bound, gap) in enumerate(zip(sides.bound, sides.gap, strict=True)):
        right[f"seed {seed}"] = (bound >= gap) == (paper.side == "above the gap")
    claim = holds(
        said,
        right,
        ours=f"gap {cell(sides.gap, 3)}, bound {cell(sides.bound, 3)}",
        rule="true in every seed; partly where the bound also exceeds the whole robust test loss",
    )
    if any(sides.vacuous):
        return limited(claim, VACUOUS)
    return claim


def _first_order(data: str, sides: Sides, paper: Paper) -> Claim:
    said = Statement(
        f"bound/{data}_first_order",
        f"{data}: robust minus clean loss is Omega(radius E ||grad||_1) (Proposition 6.4; read as: at least "
        f"{paper.ratio:g} of it)",
        paper="Omega(1) ratio",
    )
    return derived(above(said, Measured.of(sides.ratio), limit=paper.ratio, unit=" times"), TAYLOR)


def tables(findings: Findings) -> list[Table]:
    """Both inequalities.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    caption = "Mean (sd) over seeds; both sides are searched, so lower bounds."
    table = Table("bound", caption, ["data", *COLUMNS])
    for data, sides in findings.data.items():
        table.add(data, *(cell(column(sides), 3) for column in COLUMNS.values()))
    return [table]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """Both sides.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: not needed.
    """
    sides = {shown_data(name, findings.scale): sides for name, sides in findings.data.items()}
    bound_points(folder / "bound", sides)
