"""What sweeps of `cgro dynamics` over the number of training examples found: who memorizes, and up to which N."""

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from cgro.commands.dynamics import setting_of
from cgro.dynamics import sample_threshold
from cgro.experiments.findings import Part
from cgro.jobs.plan import Job
from cgro.jobs.workspace import Workspace
from cgro.report.threshold import Transition
from cgro.results import Measured
from cgro.results.records import Real


class Cell(Part, frozen=True, kw_only=True):
    """Runs at one number of examples, one number per seed.

    Attributes:
        n: N.
        memorized: share of the examples with V_i above 1.
        clean_test: clean test error.
        robust_test: robust test error.
        signal_margin: alpha^q U at the end.
        noise_learned: mean V_i at the end.
        noise: largest noise activation at the end.
        noise_limit: bound on it, None where there is none; empty unless training is standard.
    """

    n: int
    memorized: list[float]
    clean_test: list[float]
    robust_test: list[float]
    signal_margin: list[float]
    noise_learned: list[float]
    noise: list[float]
    noise_limit: list[float | None]


class Line(Part, frozen=True, kw_only=True):
    """Runs that differ in N alone.

    Attributes:
        power: q.
        patch_dim: d.
        rho: 1 - delta / alpha.
        half: predicted N at which half of the examples are memorized; None for standard training.
        overlap: sqrt(half / (m d)) / v_0: how far the memorized examples of a filter move its other noise activations,
            over their start. The prediction is that of no overlap.
        cells: in the order of N.
    """

    power: float
    patch_dim: int
    rho: float
    half: float | None
    overlap: float | None
    cells: list[Cell]

    @property
    def halves(self) -> list[float | None]:
        """Measured N at which half of the examples are memorized, per seed; None where the grid does not show it."""
        found = []
        for seed in range(len(self.cells[0].memorized)):
            found.append(last_crossing([(cell.n, cell.memorized[seed]) for cell in self.cells]))
        return found

    @property
    def ratios(self) -> list[float]:
        """Measured over predicted, of the seeds that show it."""
        assert self.half is not None, "a line with a threshold"
        return (np.array(Measured.of(self.halves).values) / self.half).tolist()

    @property
    def transition(self) -> Transition:
        """What a figure shows of it."""
        sizes, memorized, robust_test = [], [], []
        for cell in self.cells:
            sizes.append(cell.n)
            memorized.append(cell.memorized)
            robust_test.append(cell.robust_test)
        return Transition(
            rho=self.rho,
            patch_dim=self.patch_dim,
            power=self.power,
            predicted=self.half or math.nan,
            overlap=self.overlap or math.nan,
            halves=Measured.of(self.halves).values,
            sizes=sizes,
            memorized=memorized,
            robust_test=robust_test,
        )


def last_crossing(shares: Sequence[tuple[int, float]], level: float = 0.5) -> float | None:
    """Where shares over sizes fall below a level for good, between two sizes by a straight line in log size.

    Args:
        shares: N, increasing, with the share that is memorized.
        level: to cross.

    Returns:
        N; None where the first share is below the level, or the last is not.

    Example:
        >>> last_crossing([(1, 1.0), (4, 0.75), (16, 0.25)])
        8.0
    """
    at = len(shares)
    while at > 0 and shares[at - 1][1] < level:
        at -= 1
    if at in (0, len(shares)):
        return None
    (size, above_it), (next_size, below_it) = shares[at - 1], shares[at]
    part = (above_it - level) / (above_it - below_it)
    return float(size * (next_size / size) ** part)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of metrics.jsonl of a sweep over N."""

    n_train: int
    memorized: list[float]
    signal_margin: list[float]
    noise_learned: list[float]
    noise_component: list[float]
    noise_limit: list[Real] | None
    clean_test: list[float] = msgspec.field(name="clean_error/test")
    robust_test: list[float] = msgspec.field(name="robust_error/test")


def lines_of(jobs: Iterable[Job], workspace: Workspace) -> list[Line]:
    """Read sweeps over N; see `line_of`.

    Args:
        jobs: of `cgro dynamics`.
        workspace: where their runs are found.

    Returns:
        A line per job.
    """
    return [line_of(job, workspace) for job in jobs]


def line_of(job: Job, workspace: Workspace) -> Line:
    """Read a sweep over N.

    Args:
        job: of `cgro dynamics`.
        workspace: where its run is found.

    Returns:
        Its cells.
    """
    rows = workspace.read(job).rows_as(Row)
    setting = setting_of(job.config())
    half, overlap = None, None
    threshold = sample_threshold(setting)
    if threshold is not None:
        half = threshold.half
        overlap = math.sqrt(half / (setting.n_filters * setting.data.patch_dim)) / threshold.noise
    return Line(
        power=setting.activation_power,
        patch_dim=setting.data.patch_dim,
        rho=round(setting.rho, 9),
        half=half,
        overlap=overlap,
        cells=[_cell(row) for row in rows],
    )


def _cell(row: Row) -> Cell:
    limits = [float(limit) if math.isfinite(limit) else None for limit in row.noise_limit or ()]
    return Cell(
        n=row.n_train,
        memorized=row.memorized,
        clean_test=row.clean_test,
        robust_test=row.robust_test,
        signal_margin=row.signal_margin,
        noise_learned=row.noise_learned,
        noise=row.noise_component,
        noise_limit=limits,
    )
