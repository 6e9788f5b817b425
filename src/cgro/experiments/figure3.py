"""Figure 3: flatness of the loss against the radius, training and test images: flat inside, sharp outside?"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec

from cgro.experiments import findings, networks
from cgro.experiments.claims import Claim, Statement, above
from cgro.experiments.findings import Part
from cgro.experiments.metrics import known
from cgro.experiments.tables import Table
from cgro.jobs.plan import HERE, Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.flatness import by_radius
from cgro.report.markdown import cell
from cgro.results import BoundRecord, FirstOrderRecord, FlatnessPart, FlatnessRecord, FlatnessSummary, Measured
from cgro.runs import Run

NAME = "figure3"
TITLE = "Figure 3: flatness against the radius"
NEEDS_TRAINING = True
CAPTIONS = {
    "cifar10": "CIFAR-10: gradient norm and rise of the loss in the ball against its radius, training and test images.",
    "mnist": "MNIST, LeNet-5 trained at 0.1: the same.",
}
Measure = Literal["gradient", "rise"]
MEASURES: dict[Measure, str] = {"gradient": "max gradient norm", "rise": "max rise of the loss"}
NO_CORNER = (
    "the slope grows as much a quarter of the radius away: training images are flatter than test images inside the "
    "radius and the difference closes outside, but no corner sets the radius itself apart"
)
SEARCH: dict[Scale, dict[str, object]] = {
    "smoke": {"n": 16, "n_steps": 3, "n_loss_steps": 2},
    "cpu": {"n": 256},
    "gpu": {"n": 1024},
    "paper": {"n": 1024},
}
SHOWN = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Multiples of the training radius in the table."""
SMALLEST = 1e-12
"""What a slope is at least where it divides."""


class Paper(Part, frozen=True, kw_only=True):
    """The picture that the paper draws.

    Attributes:
        inside: the loss within the training radius.
        outside: the loss beyond it.
        kink: factor by which the slope grows across the radius; ours, as the paper gives none: that of a parabola,
            5/3, rounded up; any curve passes that grows faster.
        corner: where it grows.
    """

    inside: str = "flat"
    outside: str = "sharp"
    kink: float = 1.67
    corner: Literal["at the radius", "away from the radius"] = "at the radius"


PAPER = Paper()


class Average(Part, frozen=True, kw_only=True):
    """Means over the images of one part.

    Attributes:
        loss: at the images.
        gradient: largest gradient norm in the ball, one per radius.
        rise: largest rise of the loss in the ball, one per radius.
    """

    loss: float
    gradient: list[float]
    rise: list[float]

    def of(self, measure: Measure) -> list[float]:
        """One of the two measures.

        Args:
            measure: its name.

        Returns:
            One number per radius.
        """
        if measure == "gradient":
            return self.gradient
        return self.rise


class Averages(Part, frozen=True, kw_only=True):
    """Means over training and over test images."""

    train: Average
    test: Average


class Bound(Part, frozen=True, kw_only=True):
    """Both sides of the bound (v1, Theorem 6.3) with what they are made of."""

    factor: float
    bound: float
    gap: float
    robust_loss: float
    n: int
    dim: int
    vacuous: bool


class FirstOrder(Part, frozen=True, kw_only=True):
    """Both sides of Proposition 6.4, and their ratio."""

    product: float
    rise: float
    ratio: float


class Curve(Part, frozen=True, kw_only=True):
    """Flatness of one network against the radius.

    Attributes:
        radii: of the balls.
        names: of the radii.
        training_radius: at which the network was trained.
        seed: of the training.
        data: the data set.
        search: how maxima were searched.
        parts: the means.
        bound: at the training radius.
        first_order: at the training radius.
    """

    radii: list[float]
    names: list[str]
    training_radius: float
    seed: int
    data: str
    search: str
    parts: Averages
    bound: Bound | None = None
    first_order: FirstOrder | None = None

    def at(self, part: Literal["train", "test"], measure: Measure, times: float) -> float:
        """A measure at a multiple of the training radius; at radius 0 nothing has risen.

        Args:
            part: which images.
            measure: which of the two.
            times: the multiple; the nearest radius that was measured counts.

        Returns:
            The mean over images.
        """
        values = (self.parts.train if part == "train" else self.parts.test).of(measure)
        first = values[0] if measure == "gradient" else 0.0
        radii = [0.0, *self.radii]
        aim = times * self.training_radius
        nearest = min(range(len(radii)), key=lambda k: abs(radii[k] - aim))
        return [first, *values][nearest]

    def kink(self, measure: Measure) -> float:
        """Slope on training images from 1 to 1.5 radii over that from 0.5 to 1.

        Args:
            measure: which of the two.

        Returns:
            The factor; 5/3 for a parabola.
        """
        inside = self.at("train", measure, 0.5)
        radius = self.at("train", measure, 1.0)
        outside = self.at("train", measure, 1.5)
        return (outside - radius) / max(radius - inside, SMALLEST)

    def corner(self, measure: Measure) -> float:
        """How much more the slope on training images grows at the radius than at 0.75 or 1.25 of it.

        Args:
            measure: which of the two.

        Returns:
            A difference of factors; not positive for a parabola.
        """
        values = [self.at("train", measure, times) for times in (0.5, 0.75, 1.0, 1.25, 1.5)]
        slopes = [b - a for a, b in pairwise(values)]
        before, at_the_radius, behind = (b / max(a, SMALLEST) for a, b in pairwise(slopes))
        return at_the_radius - max(before, behind)


class Findings(findings.Findings, frozen=True, kw_only=True):
    """Data set -> curves, one per seed."""

    data: dict[str, list[Curve]]


def measured(scale: Scale) -> dict[str, list[Job]]:
    """Radii from a quarter to three times the training radius, at the end of training.

    Args:
        scale: of the reproduction.

    Returns:
        Data set -> one measurement per seed.
    """
    return {
        "cifar10": _by_radius(scale, "cifar10", networks.widest(scale)),
        "mnist": _by_radius(scale, "mnist", networks.lenet5(scale)),
    }


def _by_radius(scale: Scale, name: str, trained: Sequence[Job]) -> list[Job]:
    seconds = 150.0 if scale == "cpu" else 5.0
    found = []
    for job in trained:
        seed = networks.configuration(job).seed
        settings = {"targets": [HERE + job.name], **SEARCH[scale]}
        found.append(Job(f"flatness-{name}/seed-{seed}", "flatness", settings, seconds))
    return found


def jobs(scale: Scale) -> list[Job]:
    """Networks and their flatness.

    Args:
        scale: of the reproduction.

    Returns:
        Trainings and measurements.
    """
    found = [*networks.widest(scale), *networks.lenet5(scale)]
    for part in measured(scale).values():
        found += part
    return found


def last_curves(workspace: Workspace, jobs: Sequence[Job]) -> list[Curve]:
    """The curves of runs of `cgro flatness` at their last checkpoints.

    Args:
        workspace: where the runs are found.
        jobs: the runs.

    Returns:
        One curve per run.
    """
    return [_curve(one_network(run)) for run in workspace.read_all(jobs)]


def one_network(run: Run) -> FlatnessRecord:
    """The flatness of a run of `cgro flatness` on one network.

    Args:
        run: finished.

    Returns:
        The flatness that its summary holds.
    """
    found = run.read(FlatnessSummary).flatness
    assert isinstance(found, FlatnessRecord), run.path
    return found


def _curve(found: FlatnessRecord) -> Curve:
    last = found.checkpoints[-1].parts
    bound = None
    if isinstance(found.bound, BoundRecord):
        bound = Bound(**msgspec.structs.asdict(found.bound))
    first_order = None
    if isinstance(found.first_order, FirstOrderRecord):
        first_order = FirstOrder(**msgspec.structs.asdict(found.first_order))
    return Curve(
        radii=list(found.radii),
        names=list(found.names),
        training_radius=found.training_radius,
        seed=found.seed,
        data=found.data,
        search=found.search,
        parts=Averages(train=_average(last["train"]), test=_average(last["test"])),
        bound=bound,
        first_order=first_order,
    )


def _average(part: FlatnessPart) -> Average:
    return Average(
        loss=part.loss,
        gradient=[known(metric) for metric in part.gradient],
        rise=[known(metric) for metric in part.rise],
    )


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read the curves of every seed.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    return Findings(scale=scale, data={name: last_curves(workspace, own) for name, own in measured(scale).items()})


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Inside: training images flatter than test images; outside: steeper than inside by a visible factor.

    Args:
        findings: of `run`, or stored.
        paper: the picture.

    Returns:
        Three claims per data set and measure.
    """
    claims = []
    for data, curves in findings.data.items():
        for measure in MEASURES:
            claims += [
                _flatter(data, curves, measure),
                _kinked(data, curves, measure, paper),
                _cornered(data, curves, measure, paper),
            ]
    return claims


def _flatter(data: str, curves: Sequence[Curve], measure: Measure) -> Claim:
    said = Statement(
        f"figure3/{data}_{measure}_train",
        f"{data}: at the training radius the loss is flatter around training than around test images "
        f"({MEASURES[measure]}, test over train)",
        paper="flatter",
    )
    ratio = [c.at("test", measure, 1.0) / max(c.at("train", measure, 1.0), SMALLEST) for c in curves]
    return above(said, Measured.of(ratio), limit=1.0, unit=" times")


def _kinked(data: str, curves: Sequence[Curve], measure: Measure, paper: Paper) -> Claim:
    said = Statement(
        f"figure3/{data}_{measure}_kink",
        f"{data}: {paper.inside} inside the training radius, {paper.outside} outside (read as: slope of the "
        f"{MEASURES[measure]} on training images from 1 to 1.5 radii over that from 0.5 to 1, above {paper.kink:g}; "
        "a parabola, which has no corner, has 1.67, and smooth curves that grow faster have more)",
        paper="flat inside, sharp outside",
    )
    kinks = Measured.of(curve.kink(measure) for curve in curves)
    return above(said, kinks, limit=paper.kink, unit=" times")


def _cornered(data: str, curves: Sequence[Curve], measure: Measure, paper: Paper) -> Claim:
    said = Statement(
        f"figure3/{data}_{measure}_corner",
        f"{data}: the change is at the training radius (read as: the slope of the {MEASURES[measure]} on training "
        "images grows by a larger factor there than a quarter of the radius before or behind it, by more than 0.1; the "
        "difference of the factors)",
        paper=paper.corner,
        why=NO_CORNER,
    )
    sign = 1.0 if paper.corner == "at the radius" else -1.0
    corners = Measured.of(sign * curve.corner(measure) for curve in curves)
    return above(said, corners, limit=0.1, unit="")


def tables(findings: Findings) -> list[Table]:
    """Both measures at multiples of the radius.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    columns = ["data", "measure", "part", *(f"{times:g} radii" for times in SHOWN)]
    table = Table("flatness", "Mean (sd) over seeds; lower bounds: maxima found by a search.", columns)
    parts: tuple[Literal["train", "test"], ...] = ("train", "test")
    for data, curves in findings.data.items():
        for measure, words in MEASURES.items():
            for part in parts:
                cells = []
                for times in SHOWN:
                    cells.append(cell([curve.at(part, measure, times) for curve in curves], 3))
                table.add(data, words, part, *cells)
    return [table]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The figure of `cgro flatness`, over seeds.

    Args:
        findings: of `run`, or stored.
        folder: where the figures go.
        workspace: where the runs are found; those that are not there are left out.
    """
    for data, own in measured(findings.scale).items():
        runs = [run for run in map(workspace.found, own) if run is not None]
        if runs:
            by_radius(folder / data, [one_network(run) for run in runs])
