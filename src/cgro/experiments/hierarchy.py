"""clean poly(D) <~ CGRO poly(D) + O~(N D) << robust Omega(exp D): the first view of the paper in one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cgro.experiments import findings
from cgro.experiments.artifact import copy_figure
from cgro.experiments.claims import Claim, Statement, derived, holds
from cgro.experiments.findings import Part
from cgro.experiments.tables import Table
from cgro.experiments.theorem47 import OURS, log2_text, lower_bound
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.representation.lower_bound import log2_floor
from cgro.results import FloorRow, LowerBoundSummary

NAME = "hierarchy"
TITLE = "The hierarchy of sizes (Remark 4.8)"
NEEDS_TRAINING = False
CAPTIONS = {"hierarchy": "Parameters against D at radius 0.1: clean, CGRO by memory of N = 1,000 points, robust."}
Kind = Literal["clean", "memorizer", "floor"]
Sizes = Sequence[float | None]
RADIUS = "0.1"
DEPTH = 5
"""Weight layers of the construction, and of the memorizer on a clean model of one layer, which the family has."""
SHOWN_DIMS = (5, 10, 12, 15, 20, 30, 50, 75, 100)


class Paper(Part, frozen=True, kw_only=True):
    """The order of Remark 4.8, the smallest first."""

    order: tuple[Kind, Kind, Kind] = ("clean", "memorizer", "floor")


PAPER = Paper()


class Findings(findings.Findings, frozen=True, kw_only=True):
    """log2 of non-zero parameters, one entry per dimension; None where a bound says nothing.

    Attributes:
        dims: D.
        clean: of a clean classifier.
        memorizer: of a CGRO classifier.
        floor: that every robust network needs.
        construction: of a robust network that we build.
        crossing: D from which the floor exceeds the memorizer; None if none does.
        n_points: N of the memorizer.
    """

    dims: list[int]
    clean: list[float | None]
    memorizer: list[float | None]
    floor: list[float | None]
    construction: list[float | None]
    crossing: int | None
    n_points: int

    def of(self, kind: Kind) -> Sizes:
        """One of the three that the remark compares.

        Args:
            kind: its name.

        Returns:
            One entry per dimension.
        """
        if kind == "clean":
            return self.clean
        if kind == "memorizer":
            return self.memorizer
        return self.floor

    @property
    def beyond(self) -> list[int]:
        """Places of the dimensions from the crossing on."""
        if self.crossing is None:
            return []
        return [place for place, dim in enumerate(self.dims) if dim >= self.crossing]


def _job(scale: Scale) -> Job:
    long = lower_bound(scale, RADIUS)
    settings = {**long.settings, "dims": "2:30" if scale == "smoke" else "2:100"}
    return Job(f"lower-bound-{RADIUS}-short", "lower-bound", settings, 10)


def jobs(scale: Scale) -> list[Job]:
    """The floor at radius 0.1, up to D = 100 so that the crossing is seen.

    Args:
        scale: of the reproduction.

    Returns:
        One computation.
    """
    return [_job(scale)]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read sizes by D, and where the floor passes the memorizer.

    Args:
        scale: of the reproduction.
        workspace: where the run is found.

    Returns:
        The findings.
    """
    done = workspace.read(_job(scale))
    result = done.read(LowerBoundSummary)
    rows = done.rows_as(FloorRow)
    return Findings(
        scale=scale,
        dims=[row.dim for row in rows],
        clean=[row.log2_clean for row in rows],
        memorizer=[row.log2_memorizer for row in rows],
        floor=[row.log2_floor for row in rows],
        construction=[row.log2_construction for row in rows],
        crossing=result.crossing,
        n_points=result.n_points,
    )


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """The order beyond the crossing, and the gap that widens.

    Args:
        findings: of `run`, or stored.
        paper: the order.

    Returns:
        Two claims.
    """
    low, middle, high = (findings.of(kind) for kind in paper.order)
    last = f"at D = {findings.dims[-1]}: 2^{low[-1] or 0:.0f} < 2^{middle[-1] or 0:.1f} < 2^{high[-1] or 0:.1f}"
    order = holds(
        Statement(
            "hierarchy/order",
            "clean <~ CGRO << robust, in parameters",
            paper="clean <~ CGRO << robust",
            why=OURS,
        ),
        _in_order(findings, low, middle, high),
        ours=f"from D = {findings.crossing} on; {last}; {_at_equal_depth(findings)}",
        rule="in this order at every D from the crossing on",
    )
    widens = holds(
        Statement(
            "hierarchy/widens",
            "the distance between CGRO and robust grows with D",
            paper="N D against exp D",
            why=OURS,
        ),
        _widens(findings, middle, high),
        ours=last,
        rule="log2 floor - log2 memorizer increases at every step of D beyond the crossing",
    )
    return [derived(order, OURS), derived(widens, OURS)]


def _at_equal_depth(findings: Findings) -> str:
    """Where the floor passes the memorizer when it speaks of networks as deep as memorizer and construction."""
    crossing = None
    for dim, memorizer in zip(findings.dims, findings.memorizer, strict=True):
        floor = log2_floor(float(RADIUS), dim, n_layers=DEPTH)
        if crossing is None and floor is not None and memorizer is not None and floor > memorizer:
            crossing = dim
    last = log2_floor(float(RADIUS), findings.dims[-1], n_layers=DEPTH) or 0.0
    return (
        f"the floor is of L = 3 weight layers, memorizer and construction have {DEPTH}: at L = {DEPTH} it is "
        f"2^{last:.1f} there and passes the memorizer at D = {crossing}"
    )


def _in_order(findings: Findings, low: Sizes, middle: Sizes, high: Sizes) -> dict[str, bool]:
    right = {}
    for place in findings.beyond:
        is_right = _is_less(low[place], middle[place]) and _is_less(middle[place], high[place])
        right[f"D = {findings.dims[place]}"] = is_right
    return right or {"no D at which the floor passes the memorizer": False}


def _is_less(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a < b


def _widens(findings: Findings, middle: Sizes, high: Sizes) -> dict[str, bool]:
    """Does the distance grow at every step beyond the crossing? A size that is not known counts as 1 parameter."""
    wider = {}
    before: float | None = None
    for place in findings.beyond:
        distance = (high[place] or 0) - (middle[place] or 0)
        if before is not None:
            wider[f"D = {findings.dims[place]}"] = distance > before
        before = distance
    return wider


def tables(findings: Findings) -> list[Table]:
    """Where the floor passes the memorizer.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    caption = f"log2 of non-zero parameters at radius 0.1; the floor passes the memorizer at D = {findings.crossing}."
    table = Table("hierarchy", caption, ["D", "clean", "memorizer", "floor", "construction"])
    columns = (findings.clean, findings.memorizer, findings.floor, findings.construction)
    for place, dim in enumerate(findings.dims):
        if dim in SHOWN_DIMS:
            table.add(dim, *(log2_text(sizes[place]) for sizes in columns))
    return [table]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The figure of `cgro lower-bound`.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: where the run is found.
    """
    copy_figure(workspace.folder(_job(findings.scale)), "hierarchy", folder / "hierarchy")
