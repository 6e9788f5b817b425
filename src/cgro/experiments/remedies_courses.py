"""Courses of training under remedies, at the theorem's own radius: what was measured along the way, and its claims."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from cgro.dynamics.remedies import parse_remedy
from cgro.dynamics.remedy_theory import best_stop, fresh_error, stall
from cgro.dynamics.spaces import direct
from cgro.experiments import remedies_runs as runs
from cgro.experiments.claims import MIN_SEEDS, Claim, Statement, above, holds, value
from cgro.experiments.findings import Part
from cgro.experiments.seeds import percent
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job
from cgro.jobs.workspace import Workspace
from cgro.report.markdown import cell as cell_of
from cgro.results import Measured

OURS = "not in the paper: our derivation, committed before it was measured; nothing is fitted"
FACTOR_RESOLUTION = 0.15
"""Of measured over predicted: a grid of N with a factor of 1.5, and noise that overlaps. A choice."""
POINTS = 2.0
"""Robust test errors along the way are over 2,000 unseen examples per seed. A choice."""
QUIET = 0.05
"""Mean V up to which nothing is memorized, when a stall is read; that of `cgro.dynamics.theory`."""
NEVER = 3.0
"""N over that of plain training at which a remedy without a threshold must still memorize. A choice."""
READ_AT = (10_000, 30_000, 60_000, 100_000)
"""Steps at which fresh noise is compared."""
ROBUST = 0.01
"""Robust test error that counts as none, as in `threshold`."""


class Paper(Part, frozen=True, kw_only=True):
    """What the derivation predicts, as ratios to it and differences from it.

    Attributes:
        ratio: measured over predicted factor.
        fresh: measured minus predicted robust test error under fresh noise, in points.
        fixed: robust test error of plain training at the end, in percent.
        never: N over that of plain training up to which remedies without a threshold memorize, at least.
        stall: measured over predicted M at which the signal stops.
        stop: measured minus predicted least robust test error of a step, in points, at most.
        lag: delay of the onset by EMA times (1 - decay).
    """

    ratio: float = 1.0
    fresh: float = 0.0
    fixed: float = 50.0
    never: float = NEVER
    stall: float = 1.0
    stop: float = 5.0
    lag: float = 1.0


def said(key: str, words: str, paper: str = "predicted") -> Statement:
    """A claim of the artifact.

    Args:
        key: of its name.
        words: what it says.
        paper: the predicted side, as it stands in tables.

    Returns:
        The claim before it is judged.
    """
    return Statement(f"remedies/{key}", words, paper=paper, why=OURS)


class Course(Part, frozen=True, kw_only=True):
    """A run of the preset `theorem`, over its records.

    Attributes:
        n: N.
        remedy: as on the command line.
        steps: (T) of the records.
        robust_test: (T, seeds) robust test error.
        clean_test: (T, seeds) clean test error.
        signal_margin: (T, seeds) alpha^q U.
        noise_learned: (T, seeds) mean V_i.
    """

    n: int
    remedy: str
    steps: list[int]
    robust_test: list[list[float]]
    clean_test: list[list[float]]
    signal_margin: list[list[float]]
    noise_learned: list[list[float]]

    @property
    def best(self) -> list[float]:
        """Least robust test error of any record, per seed."""
        return np.min(self.robust_test, axis=0).tolist()

    @property
    def best_steps(self) -> list[float]:
        """Step of the first record with it, per seed."""
        return np.array(self.steps)[np.argmin(self.robust_test, axis=0)].tolist()

    @property
    def onsets(self) -> list[float | None]:
        """Step at which mean V_i reaches 1, between records by a straight line, per seed."""
        found: list[float | None] = []
        for noise in np.array(self.noise_learned).T:
            above_it = np.nonzero(noise > 1.0)[0]
            if len(above_it) == 0 or above_it[0] == 0:
                found.append(None)
                continue
            k = int(above_it[0])
            part = (1.0 - noise[k - 1]) / (noise[k] - noise[k - 1])
            found.append(float(self.steps[k - 1] + part * (self.steps[k] - self.steps[k - 1])))
        return found

    @property
    def stalls(self) -> list[float]:
        """Signal margin at the last record at which nothing is memorized yet, per seed."""
        noise = np.array(self.noise_learned)
        last = len(noise) - 1 - (noise <= QUIET)[::-1].argmax(0)
        return np.array(self.signal_margin)[last, np.arange(noise.shape[1])].tolist()

    def at(self, step: int) -> list[float]:
        """Robust test error at a step, in percent, per seed, between records by a straight line.

        Args:
            step: of training.

        Returns:
            One number per seed.
        """
        errors = np.array(self.robust_test).T
        return [100 * float(np.interp(step, self.steps, error)) for error in errors]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a run, in metrics.jsonl."""

    step: int
    signal_margin: list[float]
    noise_learned: list[float]
    clean_test: list[float] = msgspec.field(name="clean_error/test")
    robust_test: list[float] = msgspec.field(name="robust_error/test")


def read_course(job: Job, n: int, remedy: str, workspace: Workspace) -> Course:
    """Read a run along its way.

    Args:
        job: of `cgro dynamics`.
        n: its N.
        remedy: its remedy.
        workspace: where its run is found.

    Returns:
        The course.
    """
    rows = workspace.read(job).rows_as(Row)
    return Course(
        n=n,
        remedy=remedy,
        steps=[row.step for row in rows],
        robust_test=[row.robust_test for row in rows],
        clean_test=[row.clean_test for row in rows],
        signal_margin=[_rounded(row.signal_margin) for row in rows],
        noise_learned=[_rounded(row.noise_learned) for row in rows],
    )


def _rounded(values: Sequence[float]) -> list[float]:
    """To six digits: findings are committed."""
    return [float(f"{value:.6g}") for value in values]


def fresh_predicted(n_seeds: int, steps: Sequence[int]) -> list[list[float]]:
    """Robust test error under fresh noise at the theorem's radius, from the starts of the filters.

    Args:
        n_seeds: seeds 0 and up.
        steps: increasing.

    Returns:
        Per step, in percent, one number per seed.
    """
    setting = runs.theorem_setting(runs.N_FRESH)
    starts = direct(setting, range(n_seeds)).u[:, 0]
    of_seeds = [fresh_error(setting, start.tolist(), steps) for start in starts]
    return (100 * np.array(of_seeds).T).tolist()


def fresh_claims(fresh: Course, fixed: Course, paper: Paper) -> list[Claim]:
    """The course under fresh noise, and the end under that of the training set.

    Args:
        fresh: noise new at every step.
        fixed: the noise of the training set.
        paper: what is predicted.

    Returns:
        Two claims.
    """
    n_seeds = len(fresh.robust_test[0])
    reached = [step for step in READ_AT if step <= fresh.steps[-1]]
    differences: list[list[float]] = []
    if reached:
        for step, predicted in zip(reached, fresh_predicted(n_seeds, reached), strict=True):
            differences.append((np.array(fresh.at(step)) - np.array(predicted)).tolist())
    mean: list[float] = []
    if differences:
        mean = np.mean(differences, axis=0).tolist()
    steps = ", ".join(f"{step:,}" for step in READ_AT)
    return [
        value(
            said("fresh", f"fresh noise at the theorem's radius: robust test error minus predicted, mean at {steps}"),
            paper.fresh,
            Measured.of(mean),
            unit=" points",
            resolution=POINTS,
        ),
        value(
            said("fixed", "the same with the noise of the training set: robust test error at the end"),
            paper.fixed,
            Measured.of(percent(fixed.robust_test[-1])),
            resolution=POINTS,
        ),
    ]


def stalls_claim(courses: Sequence[Course], paper: Paper) -> Claim:
    """Where the signal stops under remedies that take its pull away.

    Args:
        courses: one per such remedy.
        paper: what is predicted.

    Returns:
        A claim.
    """
    checks, shown = {}, []
    for course in courses:
        predicted = stall(runs.theorem_setting(course.n), parse_remedy(course.remedy))
        if predicted is None or len(course.stalls) < MIN_SEEDS:
            continue
        measured = float(np.mean(course.stalls))
        checks[course.remedy] = abs(measured / predicted - paper.stall) < FACTOR_RESOLUTION
        shown.append(f"{measured:.3g} ({predicted:.3g})")
    return holds(
        said("stalls", "where a remedy takes the pull on the signal away, M = alpha^q U stops; measured (predicted)"),
        checks,
        ours=", ".join(shown) or "too few seeds",
        rule=f"mean over seeds at the last record with mean V <= {QUIET:g}, within {FACTOR_RESOLUTION:.0%}, for each",
    )


def stops_claim(courses: Sequence[Course], paper: Paper) -> Claim:
    """The error at the best step.

    Args:
        courses: of plain training, by N.
        paper: what is predicted.

    Returns:
        A claim.
    """
    checks, shown = {}, []
    for course in courses:
        if len(course.best) < MIN_SEEDS:
            continue
        predicted = 100 * best_stop(runs.theorem_setting(course.n)).error
        measured = 100 * float(np.mean(course.best))
        checks[f"N = {course.n}"] = abs(measured - predicted) < paper.stop
        shown.append(f"{measured:.0f} ({predicted:.0f})")
    sizes = ", ".join(str(course.n) for course in courses)
    return holds(
        said("stop", f"least robust test error of any step, % measured (predicted), N = {sizes}"),
        checks,
        ours=", ".join(shown) or "too few seeds",
        rule=f"mean over seeds within {paper.stop:g} points, at every N",
    )


def bought_claim(courses: Sequence[Course]) -> Claim:
    """What an early stop buys, at the N that is nearest to 90.

    Args:
        courses: of plain training, by N.

    Returns:
        A claim.
    """
    course = min(courses, key=lambda course: abs(course.n - 90))
    gains = 100 * (np.array(course.robust_test[-1]) - np.array(course.best))
    return above(
        said("bought", f"an early stop buys more the more data there are: last minus least error at N = {course.n}"),
        Measured.of(gains.tolist()),
        limit=20.0,
    )


def lags_claim(averaged: Sequence[Course], fixed: Course, paper: Paper) -> Claim:
    """How much later averages memorize.

    Args:
        averaged: one course per decay of `remedies_runs.EMAS`.
        fixed: without an average.
        paper: what is predicted.

    Returns:
        A claim.
    """
    checks, shown = {}, []
    for course, decay in zip(averaged, runs.EMAS, strict=True):
        lags = []
        for late, early in zip(course.onsets, fixed.onsets, strict=True):
            if late is not None and early is not None:
                lags.append((late - early) * (1 - decay))
        if len(lags) < MIN_SEEDS:
            continue
        mean = float(np.mean(lags))
        checks[f"decay {decay:g}"] = abs(mean - paper.lag) <= 0.5
        shown.append(f"{mean:.2f}")
    return holds(
        said("lag", "EMA delays the onset of memorization by about 1 / (1 - decay) steps, and nothing else: in these"),
        checks,
        ours=", ".join(shown) or "too few seeds",
        rule="mean over seeds of the delay times (1 - decay) between 0.5 and 1.5, for each decay",
    )


def stops_table(courses: Sequence[Course]) -> Table:
    """Best steps beside the predicted ones.

    Args:
        courses: of plain training, by N.

    Returns:
        A table.
    """
    columns = ["N", "best step", "predicted step", "least robust test error", "predicted", "at the end"]
    table = Table("stops", "Preset theorem, 16 filters: where training is best stopped; errors in %.", columns)
    for course in courses:
        predicted = best_stop(runs.theorem_setting(course.n))
        step = f"{predicted.step:,.0f}"
        if math.isinf(predicted.step):
            step = "never"
        table.add(
            course.n,
            f"{np.mean(course.best_steps):,.0f}",
            step,
            cell_of(percent(course.best), 1),
            f"{100 * predicted.error:.1f}",
            cell_of(percent(course.robust_test[-1]), 1),
        )
    return table
