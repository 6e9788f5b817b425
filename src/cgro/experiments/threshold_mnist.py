"""Does the robust gap on images close with their number, and later at a larger radius, as in the patch model?

Beyond the paper. On patch data memorization ends at an N that grows with the radius, within a factor of 3
(`cgro.experiments.threshold`). Here LeNets are trained on subsets of MNIST at several radii.

Predicted before any of these networks was trained, from Table 1's networks on 1,000 images (gap at radius 0.3: 17
points at x2) and LeNet x4 on 600 images at radius 0.1 (gap 14 points, Adam): the gap falls below 10 points at about 700
images for radius 0.1, 1,500 for 0.2 and 4,000 for 0.3, each 1.5 to 4 times the one before; it falls smoothly, by a
slope of -0.3 to -0.7 in log N, so that from three to one quarter of its largest value it takes a factor of 8 and more,
not 3; and it closes since test images are gained, not since training images are lost.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import numpy as np

from cgro.experiments import findings, networks
from cgro.experiments.artifact import shown_data
from cgro.experiments.claims import Claim, Statement, above, below
from cgro.experiments.findings import Part
from cgro.experiments.metrics import accuracies, n_examples
from cgro.experiments.seeds import rises
from cgro.experiments.tables import Table
from cgro.experiments.transitions import last_crossing
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.markdown import cell as cell_of
from cgro.report.sizes import sizes_figure
from cgro.results import Measured, TrainSummary
from cgro.results.keys import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN

NAME = "threshold-mnist"
TITLE = "Does the gap on MNIST close with the number of images? (beyond the paper)"
NEEDS_TRAINING = True
CLOSED = 10.0
"""Points of robust gap below which it counts as closed: the gap from which on `cgro_verdict` says cgro."""
CAPTIONS = {
    "sizes": "LeNet x4 on N images of MNIST, SGD with the radius warmed up, by radius of the attack (l_inf). Left: "
    f"robust gap, training minus test, mean and range of seeds; dotted: {CLOSED:g} points. Right: robust accuracy on "
    "training (dashed) and test images (solid)."
}
UNFITTED = (
    "at the largest radius the network no longer fits as N grows, and what it loses on training images closes the gap "
    "too"
)
WIDE = "on images the gap falls smoothly: there is no size at which memory ends, as there is on patch data"
PREDICTED = "predicted before the runs"
Q = TypeVar("Q")


class Paper(Part, frozen=True, kw_only=True):
    """What the threshold on patch data says of images.

    Attributes:
        span: factor in N within which the gap falls from three quarters to one quarter of its largest value.
        gained: least share of the closing that is due to test images.
        order: 1 if a larger radius needs more images, -1 if fewer.
    """

    span: float = 3.0
    gained: float = 0.5
    order: int = 1


PAPER = Paper()


class Cell(Part, frozen=True, kw_only=True):
    """Networks trained on n images: accuracies in percent, one number per seed."""

    n: int
    clean_train: list[float]
    clean_test: list[float]
    robust_train: list[float]
    robust_test: list[float]

    @property
    def gaps(self) -> list[float]:
        """Robust gaps in points."""
        return rises(self.robust_test, self.robust_train)


class Line(Part, frozen=True, kw_only=True):
    """Networks that differ in the number of images alone.

    Attributes:
        radius: of the attack.
        cells: in the order of n.
    """

    radius: float
    cells: list[Cell]

    @property
    def n_seeds(self) -> int:
        """Networks per cell."""
        return len(self.cells[0].gaps)

    @property
    def sizes(self) -> list[int]:
        """Numbers of images."""
        return [cell.n for cell in self.cells]

    def gaps(self, seed: int) -> list[float]:
        """The robust gaps of one seed, by size.

        Args:
            seed: its place.

        Returns:
            Points.
        """
        return [cell.gaps[seed] for cell in self.cells]

    def closing(self, seed: int) -> float | None:
        """The number of images at which the gap falls below `CLOSED` for good.

        Args:
            seed: its place.

        Returns:
            N, between two sizes by a straight line in log N; None where the sizes do not show it.
        """
        return last_crossing(list(zip(self.sizes, self.gaps(seed), strict=True)), CLOSED)

    def bounded_closing(self, seed: int) -> float:
        """`closing`, or the size that bounds it: the least where the gap is closed throughout, else the largest.

        Args:
            seed: its place.

        Returns:
            N.
        """
        found = self.closing(seed)
        if found is not None:
            return found
        if self.gaps(seed)[-1] < CLOSED:
            return float(self.sizes[0])
        return float(self.sizes[-1])

    def span(self, seed: int) -> float:
        """By what factor N grows while the gap falls from three quarters to one quarter of its largest value.

        Args:
            seed: its place.

        Returns:
            The factor; where a quarter is not reached, a lower bound of it.
        """
        gaps = self.gaps(seed)
        curve = list(zip(self.sizes, gaps, strict=True))
        first = last_crossing(curve, 0.75 * max(gaps))
        last = last_crossing(curve, 0.25 * max(gaps))
        return (last or self.sizes[-1]) / (first or self.sizes[0])

    def slope(self, seed: int) -> float | None:
        """Slope of log gap on log N, over the sizes with a gap of 1 point or more.

        Args:
            seed: its place.

        Returns:
            The slope; None with fewer than three such sizes.
        """
        points = [(n, gap) for n, gap in zip(self.sizes, self.gaps(seed), strict=True) if gap >= 1.0]
        if len(points) < 3:
            return None
        sizes, gaps = np.log(points).T
        return float(np.polyfit(sizes, gaps, 1)[0])

    def gained(self, seed: int) -> float | None:
        """Share of the closing, from the least to the largest size, that is a rise on test images.

        Args:
            seed: its place.

        Returns:
            1 where training images lose nothing; the rest is a fall on training images. None where the gap does not
            close by a point.
        """
        gaps = self.gaps(seed)
        closing = gaps[0] - gaps[-1]
        if closing < 1.0:
            return None
        return (self.cells[-1].robust_test[seed] - self.cells[0].robust_test[seed]) / closing


class Findings(findings.Findings, frozen=True, kw_only=True):
    """One line per radius.

    Attributes:
        lines: in the order of the radius.
        n_test: test images.
        n_parameters: of a network.
    """

    lines: list[Line]
    n_test: int
    n_parameters: int

    def over_seeds(self, quantity: Callable[[Line, int], Q]) -> list[list[Q]]:
        """A quantity of every line and seed.

        Args:
            quantity: of a line and the place of a seed.

        Returns:
            Per seed one number per line.
        """
        return [[quantity(line, seed) for line in self.lines] for seed in range(self.lines[0].n_seeds)]


def _trained(scale: Scale) -> dict[float, list[list[Job]]]:
    """Radius -> per size, one training per seed."""
    found = {}
    for radius in networks.SIZE_RADII[scale]:
        found[float(radius)] = [networks.sized(scale, radius, n) for n in networks.SIZES[scale]]
    return found


def jobs(scale: Scale) -> list[Job]:
    """All networks, seed by seed, so that what is stopped early has whole seeds.

    Args:
        scale: of the reproduction.

    Returns:
        Trainings.
    """
    found: list[Job] = []
    for place in range(len(networks.SEEDS[scale])):
        for by_size in _trained(scale).values():
            found += [seeds[place] for seeds in by_size]
    return found


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read accuracies per radius, size and seed.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    lines = []
    for radius, by_size in _trained(scale).items():
        lines.append(Line(radius=radius, cells=[_cell(workspace, seeds) for seeds in by_size]))
    first = workspace.read(jobs(scale)[0]).read(TrainSummary)
    assert isinstance(first.model.n_parameters, int), "trainings count parameters"
    return Findings(
        scale=scale, lines=lines, n_test=n_examples(first, ROBUST_TEST), n_parameters=first.model.n_parameters
    )


def _cell(workspace: Workspace, seeds: Sequence[Job]) -> Cell:
    results = [run.read(TrainSummary) for run in workspace.read_all(seeds)]
    return Cell(
        n=networks.configuration(seeds[0]).n_train or 0,
        clean_train=accuracies(results, CLEAN_TRAIN),
        clean_test=accuracies(results, CLEAN_TEST),
        robust_train=accuracies(results, ROBUST_TRAIN),
        robust_test=accuracies(results, ROBUST_TEST),
    )


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Does the gap close, later at a larger radius, at a threshold, and by what is gained on test images?

    Args:
        findings: of `run`, or stored.
        paper: what is predicted, and what the patch model would say.

    Returns:
        Four claims.
    """
    falls = [min(row) for row in findings.over_seeds(lambda line, seed: line.gaps(seed)[0] - line.gaps(seed)[-1])]
    later = [paper.order * step for step in _steps(findings)]
    spans = [float(np.exp(np.mean(np.log(row)))) for row in findings.over_seeds(Line.span)]
    gained = [_mean(row) for row in findings.over_seeds(Line.gained)]
    sizes = findings.lines[0].sizes
    return [
        above(
            _said("falls", f"the robust gap falls from N = {sizes[0]} to N = {sizes[-1]} (least fall of any radius)"),
            Measured.of(falls),
        ),
        above(
            _said(
                "radius",
                f"a larger radius needs more images: the N at which the gap falls below {CLOSED:g} points grows "
                "(least doublings from one radius to the next)",
                why=UNFITTED,
            ),
            Measured.of(later),
            unit=" doublings",
        ),
        below(
            _said(
                "sharp",
                "as on patch data the gap closes at a threshold: from three to one quarter of its largest value "
                f"within a factor of {paper.span:g} in N (geometric mean over radii; predicted before the runs: not "
                "so, a factor of 8 and more)",
                paper=f"below {paper.span:g} on patch data",
                why=WIDE,
            ),
            Measured.of(spans),
            limit=paper.span,
            unit="",
        ),
        above(
            _said("gained", "the gap closes since test images are gained, not since training images are lost: share"),
            Measured.of(gained),
            limit=paper.gained,
            unit="",
        ),
    ]


def _said(key: str, words: str, *, paper: str = PREDICTED, why: str = "") -> Statement:
    return Statement(f"{NAME}/{key}", f"MNIST: {words}", paper=paper, why=why)


def _steps(findings: Findings) -> list[float]:
    """Per seed, the least number of doublings of the closing size from one radius to the next.

    Where a line does not show the size, its bound takes its place, which makes differences smaller.
    """
    found = []
    for closings in findings.over_seeds(Line.bounded_closing):
        found.append(min(np.diff(np.log2(closings)).tolist()))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def tables(findings: Findings) -> list[Table]:
    """Accuracies by radius and size; where the gap closes.

    Args:
        findings: of `run`, or stored.

    Returns:
        Two tables.
    """
    n_parameters = f"{findings.n_parameters:,} parameters"
    by_size = Table(
        "sizes",
        f"LeNet x4 ({n_parameters}), SGD with the radius warmed up; mean (sd) over seeds, {findings.n_test} test "
        "images, PGD-20.",
        ["radius", "N", "clean test %", "robust train %", "robust test %", "clean gap", "robust gap"],
    )
    closing = Table(
        "closing",
        f"N at which the robust gap falls below {CLOSED:g} points, factor in N from three to one quarter of the "
        "largest gap, slope of log gap on log N, and share of the closing that is gained on test images.",
        ["radius", f"N at {CLOSED:g} points", "seeds that show it", "factor", "slope", "gained on test images"],
    )
    for line in findings.lines:
        for cell in line.cells:
            clean_gap = rises(cell.clean_test, cell.clean_train)
            shown = (cell.clean_test, cell.robust_train, cell.robust_test, clean_gap, cell.gaps)
            by_size.add(f"{line.radius:g}", cell.n, *(cell_of(values, 1) for values in shown))
        closing.add(f"{line.radius:g}", *_closing_cells(line))
    return [by_size, closing]


def _closing_cells(line: Line) -> list[str]:
    seeds = range(line.n_seeds)
    closings = Measured.of([line.closing(seed) for seed in seeds])
    shown = cell_of(closings.values, 0) if closings.n else ""
    slopes = Measured.of([line.slope(seed) for seed in seeds])
    return [
        shown,
        f"{closings.n} of {line.n_seeds}",
        cell_of([line.span(seed) for seed in seeds], 1),
        cell_of(slopes.values) if slopes.n else "",
        cell_of([line.gained(seed) for seed in seeds]),
    ]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """Gap and accuracies over the number of images.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: not needed.
    """
    lines = {line.radius: line.cells for line in findings.lines}
    sizes_figure(folder / "sizes", lines, closed=CLOSED, title=f"{shown_data('MNIST', findings.scale)}, LeNet x4")
