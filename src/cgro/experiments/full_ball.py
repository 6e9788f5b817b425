"""CGRO under the adversary that moves every patch, delta < alpha: three phases, predicted before they are measured.

Section 5 lets the attack move the signal along w* only. Here it may spend its l2 radius on every patch, noise included,
in training and in evaluation. Length of a noise patch |xi| and radius delta decide: see `cgro.dynamics.ball_theory`.

Predictions, written down and committed before the first of these runs (d = 100, N = 30, m = 16, lambda = 1/2, q = 3,
5 seeds, 4,000 steps; nothing is fitted). Known before were a prototype at 0.9 alpha with |xi| / delta of 0.33, 2, 3, 5
and trial runs of the attack at 0.9 alpha with 1.5, 2, 3; nothing at other radii, or at other N, m and d, was:

1. The signal alone is robust up to delta = alpha / sqrt 2 = 0.707 alpha for every q. At 0.6 alpha all full-ball errors
   are 0; at 0.8, 0.9 and 0.98 alpha the full-ball test error is 100% whatever |xi| is.
2. There |xi| / delta below 1.36, 1.70, 1.85 (for delta / alpha = 0.8, 0.9, 0.98; L = 1 + 29/16 examples a filter): the
   training set does not fit, its full-ball error stays above 50%, and alpha^q U stalls at 2.57, 1.46, 0.84.
3. Between that and |xi| / delta = N^(1/3) alpha / delta (5.18, 3.88, 3.45, 3.17 for 0.6 to 0.98): clean errors 0 / 0,
   full-ball error 0% on training and 100% on test examples: CGRO.
4. Above it: clean test error near 50%, full-ball training error 0: clean overfitting.
5. At 0.9 alpha the first boundary moves like sqrt(L): N = 8 fits at 1.6 (1.21), N = 60 does not (2.19), N = 60 fits at
   3.0, m = 32 fits at 1.6 (1.40). The second moves like N^(1/3): N = 8 is clean overfitting at 3.0 (2.22). d = 400 is
   as d = 100 at equal |xi| / delta.
6. Standard training (lambda = 0) at 2.2 and 3.0: full-ball error 100% on training and test examples.

Added after the plateaus of item 2 had been missed at |xi| = 0.8 delta, where some memory pays: the same equation at
0.3 delta, where none does.

Cells within 10% of a predicted boundary are shown and not judged. Wrong are the predictions if a cell farther away has
another phase. Full-ball errors are lower bounds by search; on training sets that "fit" they say that this search, as
strong as any we tried, breaks nothing.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cgro.dynamics.ball_theory import (
    SIGNAL_THRESHOLD,
    clean_boundary,
    fit_boundary,
    full_ball_plateau,
    mean_load,
)
from cgro.experiments import findings
from cgro.experiments.claims import Claim, Statement, above, below, holds, value
from cgro.experiments.findings import Part
from cgro.experiments.full_ball_places import MAP, NEAR, Phase, Place, places
from cgro.experiments.metrics import per_seed
from cgro.experiments.seeds import percent
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.full_ball import Boundaries, Point, phase_map
from cgro.report.markdown import cell as cell_of
from cgro.results import DynamicsSummary, Measured, Metric
from cgro.results.keys import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN

NAME = "full-ball"
TITLE = "CGRO under the adversary that moves every patch, radius below the signal strength"
NEEDS_TRAINING = False
CAPTIONS = {
    "phases": "Phases of training against the l2 ball over all patches: measured cells, predicted boundaries (lines; "
    "none fitted). In each cell: full-ball error on training / test examples in percent.",
}
NOT_IN_PAPER = "not in the paper"
POWER = 3.0
LOW, HIGH, CHANCE = 10.0, 50.0, 25.0
"""Percent: an error that counts as none, as large, and a clean test error that counts as overfitting. Choices."""
SMOKE_STEPS, STEPS = 2000, 4000
SEEDS: dict[Scale, int] = {"smoke": 2, "cpu": 5, "gpu": 10, "paper": 20}
N_TEST = 2000
"""Unseen examples per seed for clean errors; `cgro dynamics` attacks 500 of them."""


class Paper(Part, frozen=True, kw_only=True):
    """What this view of the paper predicts; nothing in it is the paper's own.

    Attributes:
        threshold: delta / alpha up to which the signal alone is robust.
        robust_test: robust test accuracy of Table 2 in percent.
    """

    threshold: float = SIGNAL_THRESHOLD
    robust_test: float = 17.5


PAPER = Paper()


def trained(scale: Scale, place: Place) -> Job:
    """Train against the full ball and attack every patch.

    The step is 0.3 over the squared length of the longest patch: with the default, 0.3 / alpha^2, long noise diverges.

    Args:
        scale: of the reproduction.
        place: what is trained.

    Returns:
        A simulation of all seeds.
    """
    strength = place.patch_dim**0.249
    noise = place.noise_ratio * place.radius_ratio * strength
    settings: dict[str, object] = {
        "preset": "theorem",
        "adversary": "l2",
        "patch_dim": place.patch_dim,
        "noise_std": round(noise / (place.patch_dim - 1) ** 0.5, 6),
        "radius_ratio": place.radius_ratio,
        "robust_weight": place.robust_weight,
        "n_train": place.n_train,
        "n_filters": place.n_filters,
        "lr": round(0.3 / max(strength, noise) ** 2, 8),
        "n_steps": SMOKE_STEPS if scale == "smoke" else STEPS,
        "n_test": N_TEST,
        "seeds": SEEDS[scale],
    }
    numbers = (place.radius_ratio, place.noise_ratio, place.n_train, place.n_filters, place.patch_dim)
    name = "-".join(f"{number:g}" for number in (*numbers, place.robust_weight))
    return Job(f"full-ball-{name}", "dynamics", settings, 4.0 * SEEDS[scale] * place.n_train / 30)


def jobs(scale: Scale) -> list[Job]:
    """One simulation a cell.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations.
    """
    return [trained(scale, place) for place in places(scale)]


class Cell(Part, frozen=True, kw_only=True):
    """What training in one cell came to; errors in percent, one number per seed.

    Attributes:
        place: what was trained.
        clean_train: error.
        clean_test: error.
        ball_train: error under the full ball, by search.
        ball_test: the same on unseen examples.
        signal_test: error on unseen examples under the attack along w* alone, exact.
        signal_margin: alpha^q U.
        noise_learned: mean V_i.
    """

    place: Place
    clean_train: list[float]
    clean_test: list[float]
    ball_train: list[float]
    ball_test: list[float]
    signal_test: list[float]
    signal_margin: list[float]
    noise_learned: list[float]

    @property
    def phase(self) -> Phase:
        """The phase that the mean errors over seeds show."""
        clean = float(np.mean(self.clean_test))
        train = float(np.mean(self.ball_train))
        test = float(np.mean(self.ball_test))
        if clean > CHANCE and train < LOW:
            return "clean_overfitting"
        if clean > LOW:
            return "between"
        if train > HIGH:
            return "unfitted"
        if train > LOW:
            return "between"
        if test > HIGH:
            return "cgro"
        if test < LOW:
            return "robust"
        return "between"


class Findings(findings.Findings, frozen=True, kw_only=True):
    """The cells."""

    cells: list[Cell]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read errors and what was learned in each cell.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    cells = []
    for place in places(scale):
        cells.append(_cell(place, workspace.read(trained(scale, place)).read(DynamicsSummary)))
    return Findings(scale=scale, cells=cells)


def _cell(place: Place, result: DynamicsSummary) -> Cell:
    assert isinstance(result.signal_margin, Metric), "a run of one setting"
    assert isinstance(result.noise_learned, Metric)
    return Cell(
        place=place,
        clean_train=_percent(result, CLEAN_TRAIN),
        clean_test=_percent(result, CLEAN_TEST),
        ball_train=_percent(result, ROBUST_TRAIN),
        ball_test=_percent(result, ROBUST_TEST),
        signal_test=_percent(result, f"{ROBUST_TEST}@signal"),
        signal_margin=per_seed(result.signal_margin),
        noise_learned=per_seed(result.noise_learned),
    )


def _percent(result: DynamicsSummary, key: str) -> list[float]:
    return percent(per_seed(result.metrics[key]))


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """CGRO with its control, the three phases and their boundaries, the plateau, and Table 2's number.

    Args:
        findings: of `run`, or stored.
        paper: what is predicted.

    Returns:
        Ten claims.
    """
    cells = findings.cells
    memorizing = [cell for cell in _judged(cells) if cell.place.predicted() == "cgro"]
    return [
        _gap(memorizing),
        _clean(memorizing),
        _control(cells),
        _threshold(cells, paper),
        _phases("unfitted", cells, "shorter noise does not fit: memory cannot pay for what the attack takes of it"),
        _phases("cgro", cells, "between the boundaries the training set fits under the full ball, and nothing else"),
        _phases("clean_overfitting", cells, "longer noise is learned before the signal: clean generalization is lost"),
        _plateau("plateau", cells, 0.8),
        _plateau("plateau_short", cells, 0.3),
        _table2(memorizing, paper),
    ]


def _judged(cells: Iterable[Cell]) -> list[Cell]:
    """Cells with adversarial training that are not near a predicted boundary."""
    return [cell for cell in cells if cell.place.robust_weight > 0 and not cell.place.is_near]


def _pooled(lists: Iterable[Sequence[float]]) -> list[float]:
    """Mean over cells, by seed."""
    return np.mean(list(lists), axis=0).tolist()


def _gap(memorizing: Sequence[Cell]) -> Claim:
    said = Statement(
        "full-ball/cgro",
        "CGRO with an attack on every patch and delta < alpha: full-ball error on unseen examples minus that on "
        "training examples, mean over the cells predicted to show it (read as: above 80 points)",
        paper=NOT_IN_PAPER,
    )
    gaps = []
    for cell in memorizing:
        gaps.append((np.array(cell.ball_test) - np.array(cell.ball_train)).tolist())
    return above(said, Measured.of(_pooled(gaps)), limit=80.0)


def _clean(memorizing: Sequence[Cell]) -> Claim:
    said = Statement(
        "full-ball/clean",
        "the same networks generalize on clean data (read as: clean test error below 2%)",
        paper=NOT_IN_PAPER,
    )
    return below(said, Measured.of(_pooled(cell.clean_test for cell in memorizing)), limit=2.0, unit="%")


def _control(cells: Sequence[Cell]) -> Claim:
    controls = [cell for cell in cells if cell.place.robust_weight == 0]
    said = Statement(
        "full-ball/control",
        "it is adversarial training that fits the training set under attack: standard training leaves a full-ball "
        "training error (read as: above 80%)",
        paper=NOT_IN_PAPER,
    )
    return above(said, Measured.of(_pooled(cell.ball_train for cell in controls)), limit=80.0, unit="%")


def _threshold(cells: Sequence[Cell], paper: Paper) -> Claim:
    checks = {}
    for cell in _judged(cells):
        if cell.place.predicted() == "clean_overfitting":
            continue
        error = float(np.mean(cell.ball_test))
        robust = cell.place.radius_ratio <= paper.threshold
        checks[cell.place.words] = error < LOW if robust else error > 100 - LOW
    return holds(
        Statement(
            "full-ball/threshold",
            f"the signal alone is robust up to delta = alpha / sqrt 2 and for no larger radius ({paper.threshold:.3f})",
            paper=NOT_IN_PAPER,
        ),
        checks,
        ours=f"{sum(checks.values())} of {len(checks)} cells",
        rule=f"full-ball test error below {LOW:g}% at smaller and above {100 - LOW:g}% at larger radii, in every cell",
    )


def _phases(phase: Phase, cells: Sequence[Cell], text: str) -> Claim:
    checks = {}
    for cell in _judged(cells):
        if cell.place.predicted() == phase:
            checks[cell.place.words] = cell.phase == phase
    shown = {"unfitted": "unfitted", "cgro": "middle", "clean_overfitting": "overfitting"}
    return holds(
        Statement(f"full-ball/{shown.get(phase, phase)}", text, paper=NOT_IN_PAPER),
        checks,
        ours=f"{sum(checks.values())} of {len(checks)} cells",
        rule=f"every cell predicted to be {phase} is, more than {NEAR:.0%} from the boundaries (mean over seeds)",
    )


def _plateau(name: str, cells: Sequence[Cell], noise_ratio: float) -> Claim:
    said = Statement(
        f"full-ball/{name}",
        "where the training set does not fit, alpha^q U stalls where clean and attacked pull balance: measured "
        f"(predicted) with noise of {noise_ratio:g} delta, by radius (read as: within 10%)",
        paper=NOT_IN_PAPER,
        why="noise nearly as long as the radius is memorized in part, and what it pays lets the signal grow",
    )
    checks, shown = {}, []
    for cell in _judged(cells):
        place = cell.place
        if place.noise_ratio == noise_ratio and place.predicted() == "unfitted":
            predicted = full_ball_plateau(place.radius_ratio, place.robust_weight, POWER)
            measured = float(np.mean(cell.signal_margin))
            checks[place.words] = abs(measured / predicted - 1) < NEAR
            shown.append(f"{measured:.2f} ({predicted:.2f})")
    return holds(
        said,
        checks,
        ours=", ".join(shown) or "none",
        rule="mean over seeds within 10% of the solution, at every radius",
    )


def _table2(memorizing: Sequence[Cell], paper: Paper) -> Claim:
    said = Statement(
        "full-ball/table2",
        f"a robust test accuracy of {paper.robust_test:g}% arises at delta < alpha, mean over the cells that show CGRO",
        why="beyond alpha / sqrt 2 a strong attack breaks every unseen example, below it none: an accuracy in between "
        "belongs to the boundary, or to a weaker attack (docs/full_ball.md)",
    )
    errors = np.array(_pooled(cell.ball_test for cell in memorizing))
    return value(said, paper.robust_test, Measured.of((100 - errors).tolist()))


def tables(findings: Findings) -> list[Table]:
    """Every cell: predicted and measured phase, errors, what was learned.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    columns = [
        "cell",
        "predicted",
        "measured",
        "clean test error",
        "full-ball train",
        "full-ball test",
        "along w* only, test",
        "alpha^q U",
        "mean V_i",
    ]
    table = Table(
        "cells", "Errors in percent; mean (sd) over seeds. Near: within 10% of a predicted boundary.", columns
    )
    for cell in findings.cells:
        predicted = str(cell.place.predicted())
        if cell.place.is_near:
            predicted += " (near)"
        table.add(
            cell.place.words,
            predicted,
            str(cell.phase),
            cell_of(cell.clean_test, 1),
            cell_of(cell.ball_train, 1),
            cell_of(cell.ball_test, 1),
            cell_of(cell.signal_test, 1),
            cell_of(cell.signal_margin, 2),
            cell_of(cell.noise_learned, 2),
        )
    return [table]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The phase map.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: not used.
    """
    draw_map(findings, folder / "phases")


def draw_map(findings: Findings, path: Path) -> None:
    """Draw the cells of the map, at scale smoke all cells, with the predicted lines.

    Args:
        findings: of `run`, or stored.
        path: the file, without ending.
    """
    points = []
    for cell in findings.cells:
        place = cell.place
        if place in MAP or findings.scale == "smoke":
            errors = (float(np.mean(cell.ball_train)), float(np.mean(cell.ball_test)))
            points.append(Point(place.radius_ratio, place.noise_ratio, cell.phase, *errors))
    phase_map(path, points, boundaries(30, 16))


def boundaries(n_train: int, n_filters: int) -> Boundaries:
    """The predicted lines of the map.

    Args:
        n_train: N.
        n_filters: m.

    Returns:
        |xi| / delta of both boundaries over delta / alpha.
    """
    ratios = np.linspace(0.55, 1.0, 91).tolist()
    fit, clean = [], []
    for ratio in ratios:
        fit.append(fit_boundary(ratio, mean_load(n_train, n_filters)))
        clean.append(clean_boundary(ratio, n_train))
    return Boundaries(ratios, fit, clean, SIGNAL_THRESHOLD)
