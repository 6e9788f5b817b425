"""Theorem 4.7: robust generalization needs exp(D) parameters. The counting floor, a network that meets it, the toy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from cgro.experiments import findings
from cgro.experiments.artifact import copy_figure
from cgro.experiments.claims import Claim, Statement, derived, holds
from cgro.experiments.findings import Part
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.results import BuiltRow, FamilyRow, FloorRow, LowerBoundSummary

NAME = "theorem47"
TITLE = "Theorem 4.7: robust generalization needs exponentially many parameters"
NEEDS_TRAINING = False
CAPTIONS = {
    "floor": "Parameters against D: clean, memorizer, and the band between the counting floor and the network we "
    "build.",
    "toy": "The memorizer on the worst-case family: clean and robust training error 0, robust test error to 1 with D.",
}
RADII = ("0.1", "0.2")
OURS = (
    "worst case over labellings, uniform distribution on the grid points, Warren's bound with explicit constants: our "
    "derivation, not the paper's text, and no statement about MNIST or a trained network"
)
SHOWN_DIMS = (5, 10, 20, 50, 100, 784)
AGREES = 0.1
"""Relative distance of the floor's growth from its limit, and distance of the last robust error from its own, that
count as equal: a choice, for the largest D that fits."""
SPREAD = 4.0
"""Standard deviations within which an exact error of the toy must be of its expectation: a choice."""


class Paper(Part, frozen=True, kw_only=True):
    """What the theorem says.

    Attributes:
        growth: of the least number of parameters with D.
        robust_test_limit: robust test error of the memorizer on the worst-case family as D grows.
    """

    growth: Literal["exponential", "linear"] = "exponential"
    robust_test_limit: float = 1.0


PAPER = Paper()


def is_as_expected(errors: FamilyRow) -> bool:
    """Errors as they must be; the number of unseen points has at most the variance of independent ones.

    Args:
        errors: of the memorizer on the worst-case family, in one dimension.

    Returns:
        Whether clean and robust training error are 0 and the robust test error is near its expectation.
    """
    sd = (errors.expected * (1 - errors.expected) / errors.m) ** 0.5
    is_near = abs(errors.robust_test - errors.expected) <= SPREAD * sd + 1e-12
    return errors.clean_test == 0 and errors.robust_train == 0 and is_near


class Sizes(Part, frozen=True, kw_only=True):
    """One radius: log2 of non-zero parameters, one entry per dimension.

    Attributes:
        dims: D.
        floor: that every robust network needs; None where the bound says nothing.
        construction: of the network that we build.
        memorizer: of Theorem 4.4, for N points.
        grid_side: points on a side of the worst-case family's grid.
        error: robust error that the floor speaks of.
        layers: of the networks that the floor speaks of.
        built: networks that fit.
        toy: the memorizer on the family.
        crossing: D from which the floor exceeds the memorizer; None if none does.
        n_points: N.
        assumptions: of the floor.
    """

    dims: list[int]
    floor: list[float | None]
    construction: list[float]
    memorizer: list[float]
    grid_side: int
    error: float
    layers: int
    built: list[BuiltRow]
    toy: list[FamilyRow]
    crossing: int | None
    n_points: int
    assumptions: list[str]

    @property
    def bits(self) -> float:
        """Bits of log2 floor gained per dimension, by least squares over the upper half of the dimensions."""
        known = [(dim, floor) for dim, floor in zip(self.dims, self.floor, strict=True) if floor is not None]
        dims, floors = np.array(known[len(known) // 2 :], float).T
        return float(np.polyfit(dims, floors, 1)[0])


class Findings(findings.Findings, frozen=True, kw_only=True):
    """Radius -> sizes."""

    radii: dict[str, Sizes]


def lower_bound(scale: Scale, radius: str) -> Job:
    """Floor, construction and toy; the hierarchy reads the same runs.

    Args:
        scale: of the reproduction.
        radius: one of `RADII`.

    Returns:
        A computation.
    """
    dims = "2:100"
    if scale == "smoke":
        dims = "2:30"
    elif radius == "0.1":
        dims = "2:784"
    return Job(f"lower-bound-{radius}", "lower-bound", {"radius": radius, "dims": dims}, 15)


def jobs(scale: Scale) -> list[Job]:
    """Two radii.

    Args:
        scale: of the reproduction.

    Returns:
        Computations.
    """
    return [lower_bound(scale, radius) for radius in RADII]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read floors and constructions by D, certified networks, and the toy.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    radii = {}
    for radius in RADII:
        done = workspace.read(lower_bound(scale, radius))
        radii[radius] = _sizes(done.read(LowerBoundSummary), done.rows_as(FloorRow))
    return Findings(scale=scale, radii=radii)


def _sizes(result: LowerBoundSummary, rows: Sequence[FloorRow]) -> Sizes:
    return Sizes(
        dims=[row.dim for row in rows],
        floor=[None if row.log2_floor is None else round(row.log2_floor, 4) for row in rows],
        construction=[round(row.log2_construction, 4) for row in rows],
        memorizer=[round(row.log2_memorizer, 4) for row in rows],
        grid_side=result.grid_side,
        error=result.error,
        layers=result.n_layers,
        built=list(result.built),
        toy=list(result.toy),
        crossing=result.crossing,
        n_points=result.n_points,
        assumptions=list(result.assumptions),
    )


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Exponential floor, a certified construction above it, and CGRO appearing with D in the exact toy.

    Args:
        findings: of `run`, or stored.
        paper: what the theorem says.

    Returns:
        Three claims.
    """
    return [_floor(findings.radii, paper), _construction(findings.radii), _toy(findings.radii, paper)]


def _floor(radii: Mapping[str, Sizes], paper: Paper) -> Claim:
    grows = {}
    for radius, sizes in radii.items():
        limit = np.log2(sizes.grid_side)
        is_near = bool(abs(sizes.bits / limit - 1) < AGREES)
        name = f"radius {radius}: exponential, log2(k) = {limit:.3f} bits a dimension"
        grows[name] = paper.growth == "exponential" and is_near
    slopes = ", ".join(f"{sizes.bits:.3f} bits a dimension (radius {radius})" for radius, sizes in radii.items())
    claim = holds(
        Statement(
            "theorem47/floor",
            "every network with fewer than Omega(exp D) parameters has robust test error above a constant",
            paper="Omega(exp D)",
            why=OURS,
        ),
        grows,
        ours=f"log2 floor grows by {slopes}; robust error above 10% below it",
        rule="the counting floor's log2 grows linearly in D, by log2 of the grid's side within 10%",
    )
    return derived(claim, OURS)


def _construction(radii: Mapping[str, Sizes]) -> Claim:
    right = {}
    largest = []
    for radius, sizes in radii.items():
        right[f"radius {radius}: floor below construction"] = _is_below(sizes.floor, sizes.construction)
        for built in sizes.built:
            right[f"radius {radius}, D = {built.dim}"] = built.certified
        last = sizes.built[-1]
        largest.append(f"{last.random.parameters:,} parameters at D = {last.dim}")
    return holds(
        Statement(
            "theorem47/construction",
            "the floor is no artifact: a network that is robust on the family exists, above it",
            paper="not in the paper",
        ),
        right,
        ours="; ".join(largest),
        rule="y f >= 0.5 certified by intervals on all balls up to the largest D that fits, and floor <= construction",
    )


def _is_below(floor: Sequence[float | None], construction: Sequence[float]) -> bool:
    """Whether the floor nowhere exceeds the construction; where it says nothing, it does not."""
    excess = [found - least for least, found in zip(floor, construction, strict=True) if least is not None]
    return not excess or min(excess) >= 0


def _toy(radii: Mapping[str, Sizes], paper: Paper) -> Claim:
    right = {}
    largest = []
    for radius, sizes in radii.items():
        for toy in sizes.toy:
            right[f"radius {radius}, D = {toy.dim}"] = is_as_expected(toy)
        last = sizes.toy[-1]
        limit = paper.robust_test_limit
        right[f"radius {radius}: towards {limit:g}"] = abs(last.robust_test - limit) < AGREES
        largest.append(f"{last.robust_test:.3f} (expected {last.expected:.3f}) at D = {last.dim}")
    return holds(
        Statement(
            "theorem47/toy",
            "CGRO appears with D: clean and robust training error 0, robust test error towards 1",
            paper="Omega(1)",
        ),
        right,
        ours="; ".join(largest),
        rule="exact errors; each robust test error within four standard deviations of (1 - 1/m)^N, the last above 0.9",
    )


def tables(findings: Findings) -> list[Table]:
    """log2 of the sizes at some D, and what was built.

    Args:
        findings: of `run`, or stored.

    Returns:
        Two tables.
    """
    return [_floor_table(findings.radii), _built_table(findings.radii)]


def _floor_table(radii: Mapping[str, Sizes]) -> Table:
    caption = "log2 of non-zero parameters; memorizer of N = 1,000 points, floor at L = 3, error 0.1."
    columns = ["radius", "D", "clean", "memorizer", "robust: floor", "robust: construction"]
    table = Table("floor", caption, columns)
    for radius, sizes in radii.items():
        for dim in SHOWN_DIMS:
            if dim in sizes.dims:
                at = sizes.dims.index(dim)
                row = (f"{sizes.memorizer[at]:.1f}", log2_text(sizes.floor[at]), f"{sizes.construction[at]:.1f}")
                table.add(radius, dim, "1.0", *row)
    return table


def log2_text(size: float | None) -> str:
    """The logarithm of a size for a table.

    Args:
        size: log2 of parameters; None where a bound says nothing.

    Returns:
        A number, or a word.
    """
    if size is None:
        return "vacuous"
    return f"{size:.1f}"


def _built_table(radii: Mapping[str, Sizes]) -> Table:
    caption = "Certified robust networks: a random labelling, and the checkerboard, which is easy."
    table = Table("built", caption, ["radius", "D", "points m", "parameters", "checkerboard", "least y f"])
    for radius, sizes in radii.items():
        for built in sizes.built:
            random = built.random
            easy = built.checkerboard
            table.add(radius, built.dim, random.m, random.parameters, easy.parameters, random.least_margin)
    return table


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The figures of `cgro lower-bound`.

    Args:
        findings: of `run`, or stored.
        folder: where the figures go.
        workspace: where the runs are found.
    """
    done = workspace.folder(lower_bound(findings.scale, "0.2"))
    copy_figure(done, "hierarchy", folder / "floor")
    copy_figure(done, "toy", folder / "toy")
