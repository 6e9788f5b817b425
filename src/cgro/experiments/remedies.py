"""Remedies against robust overfitting on the synthetic truth of Section 5: by which factor each moves the threshold.

Not in the paper. The predictions are those of `cgro.dynamics.remedy_theory`; they and the list of runs were committed
before the first of the runs.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from cgro.dynamics.remedies import parse_remedy
from cgro.dynamics.remedy_theory import best_stop, fresh_error, remedied_threshold, stall
from cgro.dynamics.spaces import direct
from cgro.experiments import findings
from cgro.experiments import remedies_runs as runs
from cgro.experiments.claims import MIN_SEEDS, Claim, Statement, above, holds, untested, value
from cgro.experiments.findings import Part
from cgro.experiments.plan import Job, Scale
from cgro.experiments.remedies_runs import Case, plain_of
from cgro.experiments.tables import Table
from cgro.experiments.transitions import Line, line_of
from cgro.experiments.workspace import Workspace
from cgro.report.markdown import cell as cell_of
from cgro.report.remedies import Curve, Shift, Stop, courses_figure, shifts_figure
from cgro.results import Measured, read_value

NAME = "remedies"
TITLE = "Remedies on the synthetic truth (beyond the paper)"
NEEDS_TRAINING = False
CAPTIONS = {
    "shifts": "Left: the phase diagram of `threshold` with each remedy's predicted line, and what was measured at rho = "
    "0.035 (mean and standard deviation over 5 seeds). Below its line a training set is memorized. Right: N up to which "
    "half of the examples are memorized, relative to plain training: predicted (open) and measured (filled).",
    "courses": "At the theorem's own radius (d = 100, 16 filters). Left: robust test error over training with N = 30, "
    "noise fixed or fresh at every step; lines: mean and range of 5 seeds, dashes: predicted. Right: the least robust "
    "test error of any step and that of the last, by N; dashes: predicted.",
}
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


PAPER = Paper()


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


class Findings(findings.Findings, frozen=True, kw_only=True):
    """All runs.

    Attributes:
        far: plain training at d = 25,600.
        near: plain training at d = 400.
        lines: one per case of `remedies_runs.cases`, in that order.
        beside: one per case of `remedies_runs.beside`.
        fixed: preset `theorem`, N = 30.
        fresh: the same with fresh noise.
        averaged: the same with EMA, one per decay.
        stalled: the same under remedies that stop the signal.
        stopped: the preset by N, for the best step.
    """

    far: Line
    near: Line
    lines: list[Line]
    beside: list[Line]
    fixed: Course
    fresh: Course
    averaged: list[Course]
    stalled: list[Course]
    stopped: list[Course]

    def plain(self, case: Case) -> Line:
        """Plain training at the dimension of a case.

        Args:
            case: any.

        Returns:
            Its line.
        """
        if plain_of(case) == runs.PLAIN_NEAR:
            return self.near
        return self.far


def jobs(scale: Scale) -> list[Job]:
    """A sweep over N per remedy, and runs of the preset `theorem` along their way.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations.
    """
    swept = [runs.PLAIN_FAR, runs.PLAIN_NEAR, *runs.cases(scale), *runs.beside(scale)]
    found = [runs.sweep(scale, case) for case in swept]
    found += [runs.course(scale, n) for n in runs.stopped_sizes(scale)]
    found += [runs.course(scale, runs.N_FRESH, remedy) for remedy in ("fresh=1", *_averages(), *runs.STALLED)]
    return found


def _averages() -> list[str]:
    return [f"ema={decay:g}" for decay in runs.EMAS]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read what was memorized by N, and the courses.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """

    def line(case: Case) -> Line:
        return line_of(runs.sweep(scale, case), workspace)

    def course(n: int, remedy: str = "none") -> Course:
        return _course(runs.course(scale, n, remedy), n, remedy, workspace)

    n = runs.N_FRESH
    return Findings(
        scale=scale,
        far=line(runs.PLAIN_FAR),
        near=line(runs.PLAIN_NEAR),
        lines=[line(case) for case in runs.cases(scale)],
        beside=[line(case) for case in runs.beside(scale)],
        fixed=course(n),
        fresh=course(n, "fresh=1"),
        averaged=[course(n, remedy) for remedy in _averages()],
        stalled=[course(n, remedy) for remedy in runs.STALLED],
        stopped=[course(size) for size in runs.stopped_sizes(scale)],
    )


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a run, in metrics.jsonl."""

    step: int
    signal_margin: list[float]
    noise_learned: list[float]
    clean_test: list[float] = msgspec.field(name="clean_error/test")
    robust_test: list[float] = msgspec.field(name="robust_error/test")


def _course(job: Job, n: int, remedy: str, workspace: Workspace) -> Course:
    done = workspace.read(job)
    rows = read_value(done.rows(), str(done.path / "metrics.jsonl"), list[Row])
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


def factors(line: Line, plain: Line) -> list[float]:
    """N_half under a remedy over that without, per seed that shows both.

    Args:
        line: of the remedy.
        plain: of plain training at the same dimension.

    Returns:
        One number per such seed.
    """
    found = []
    for half, without in zip(line.halves, plain.halves, strict=True):
        if half is not None and without is not None:
            found.append(half / without)
    return found


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """The factor of every remedy, those without a threshold, test errors, courses, stalls, stops and lags.

    Args:
        findings: of `run`, or stored.
        paper: what is predicted.

    Returns:
        The claims.
    """
    claims = []
    for case, line in zip(runs.cases(findings.scale), findings.lines, strict=True):
        plain = findings.plain(case)
        if math.isinf(case.predicted):
            claims.append(_never(case, line, plain, paper))
        else:
            claims.append(_shifted(case, factors(line, plain), paper))
    return [
        *claims,
        _robust_below(findings),
        *_fresh(findings.fresh, findings.fixed, paper),
        _stalls(findings.stalled, paper),
        _stops(findings.stopped, paper),
        _bought(findings.stopped),
        _lags(findings.averaged, findings.fixed, paper),
    ]


def _said(key: str, words: str, paper: str = "predicted") -> Statement:
    return Statement(f"{NAME}/{key}", words, paper=paper, why=OURS)


def _shifted(case: Case, found: Sequence[float], paper: Paper) -> Claim:
    words = f"{case.words}: N_half changes by the factor {case.predicted:.2f} (d = {case.patch_dim:,}); measured over it"
    ratios = (np.array(found) / case.predicted).tolist()
    return value(_said(case.name, words), paper.ratio, Measured.of(ratios), unit="", resolution=FACTOR_RESOLUTION)


def _never(case: Case, line: Line, plain: Line, paper: Paper) -> Claim:
    """Whether half and more of the examples are memorized in every seed from the threshold of plain training on."""
    said = _said(case.name, f"{case.words}: the signal never wins, and every N is memorized")
    half = Measured.of(plain.halves)
    if half.n < MIN_SEEDS:
        return untested(said, ours="too few seeds")
    shares = {}
    for cell in line.cells:
        if half.mean <= cell.n:
            shares[f"N = {cell.n}"] = min(cell.memorized) > 0.5
    reached = max(cell.n for cell in line.cells) / half.mean
    shares[f"N up to {paper.never:g} times that of plain training"] = reached >= paper.never
    ours = f"memorized at {sum(shares.values()) - 1} of {len(shares) - 1} N, the largest {reached:.1f} times N_half"
    return holds(said, shares, ours=ours, rule="more than half memorized in every seed, at every N above plain N_half")


def _robust_below(findings: Findings) -> Claim:
    """Test errors at d = 400 at an N that plain training memorizes and the remedy does not, or not for good."""
    plain = Measured.of(findings.near.halves)
    said = _said(
        "robust_below",
        "where a remedy lowers N_half (boxes, weight decay) or keeps signal alive (fresh noise in half of the steps), the "
        "robust test error at N between both thresholds is 0",
    )
    if plain.n < MIN_SEEDS:
        return untested(said, ours="too few seeds")
    named = _by_name(findings)
    checks = {}
    for name in ("boxes-1-0.5", "decay-4-near", "fresh-0.5"):
        line, case = named[name]
        for cell in line.cells:
            if 1.5 * case.predicted * plain.mean <= cell.n <= plain.mean:
                checks[f"{case.words}, N = {cell.n}"] = float(np.median(cell.robust_test)) < ROBUST
    return holds(
        said,
        checks,
        ours=f"{sum(checks.values())} of {len(checks)} cells",
        rule="median seed below 1%, at every N from 1.5 times the predicted threshold to that of plain training",
    )


def _by_name(findings: Findings) -> Mapping[str, tuple[Line, Case]]:
    cases = [*runs.cases(findings.scale), *runs.beside(findings.scale)]
    lines = [*findings.lines, *findings.beside]
    return {case.name: (line, case) for case, line in zip(cases, lines, strict=True)}


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


def _fresh(fresh: Course, fixed: Course, paper: Paper) -> list[Claim]:
    n_seeds = len(fresh.robust_test[0])
    reached = [step for step in READ_AT if step <= fresh.steps[-1]]
    differences: list[list[float]] = []
    if reached:
        for step, predicted in zip(reached, fresh_predicted(n_seeds, reached), strict=True):
            differences.append((np.array(fresh.at(step)) - np.array(predicted)).tolist())
    mean = np.mean(differences, axis=0).tolist() if differences else []
    steps = ", ".join(f"{step:,}" for step in READ_AT)
    return [
        value(
            _said("fresh", f"fresh noise at the theorem's radius: robust test error minus predicted, mean at {steps}"),
            paper.fresh,
            Measured.of(mean),
            unit=" points",
            resolution=POINTS,
        ),
        value(
            _said("fixed", "the same with the noise of the training set: robust test error at the end"),
            paper.fixed,
            Measured.of([100 * error for error in fixed.robust_test[-1]]),
            resolution=POINTS,
        ),
    ]


def _stalls(courses: Sequence[Course], paper: Paper) -> Claim:
    checks, shown = {}, []
    for course in courses:
        predicted = stall(runs.theorem_setting(course.n), parse_remedy(course.remedy))
        if predicted is None or len(course.stalls) < MIN_SEEDS:
            continue
        measured = float(np.mean(course.stalls))
        checks[course.remedy] = abs(measured / predicted - paper.stall) < FACTOR_RESOLUTION
        shown.append(f"{measured:.3g} ({predicted:.3g})")
    return holds(
        _said("stalls", "where a remedy takes the pull on the signal away, M = alpha^q U stops; measured (predicted)"),
        checks,
        ours=", ".join(shown) or "too few seeds",
        rule=f"mean over seeds at the last record with mean V <= {QUIET:g}, within {FACTOR_RESOLUTION:.0%}, for each",
    )


def _stops(courses: Sequence[Course], paper: Paper) -> Claim:
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
        _said("stop", f"least robust test error of any step, % measured (predicted), N = {sizes}"),
        checks,
        ours=", ".join(shown) or "too few seeds",
        rule=f"mean over seeds within {paper.stop:g} points, at every N",
    )


def _bought(courses: Sequence[Course]) -> Claim:
    """What an early stop buys, at the N that is nearest to 90."""
    course = min(courses, key=lambda course: abs(course.n - 90))
    gains = 100 * (np.array(course.robust_test[-1]) - np.array(course.best))
    return above(
        _said("bought", f"an early stop buys more the more data there are: last minus least error at N = {course.n}"),
        Measured.of(gains.tolist()),
        limit=20.0,
    )


def _lags(averaged: Sequence[Course], fixed: Course, paper: Paper) -> Claim:
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
        _said("lag", "EMA delays the onset of memorization by about 1 / (1 - decay) steps, and nothing else: in these"),
        checks,
        ours=", ".join(shown) or "too few seeds",
        rule="mean over seeds of the delay times (1 - decay) between 0.5 and 1.5, for each decay",
    )


def tables(findings: Findings) -> list[Table]:
    """Factors, test errors beside them, and early stops.

    Args:
        findings: of `run`, or stored.

    Returns:
        Three tables.
    """
    shifts = Table(
        "factors",
        "N up to which half of the examples are memorized, over that of plain training; mean (sd) over seeds.",
        ["remedy", "d", "predicted", "measured", "seeds"],
    )
    for case, line in zip(runs.cases(findings.scale), findings.lines, strict=True):
        found = Measured.of(factors(line, findings.plain(case)))
        predicted = "every N" if math.isinf(case.predicted) else f"{case.predicted:.2f}"
        measured = cell_of(found.values) if found.n else "none found"
        shifts.add(case.words, case.patch_dim, predicted, measured, f"{found.n} of {len(line.halves)}")
    return [shifts, _errors_table(findings), _stops_table(findings)]


def _errors_table(findings: Findings) -> Table:
    """At d = 400 and the N nearest to two thirds of what plain training memorizes."""
    caption = "d = 400, below the threshold of plain training: at the end of training, mean (sd) over seeds, in %."
    columns = ["remedy", "N", "memorized", "robust test error", "clean test error", "alpha^q U", "mean V_i"]
    table = Table("errors", caption, columns)
    assert findings.near.half is not None, "a line with a threshold"
    at = 0.6 * findings.near.half
    named = {"plain": findings.near}
    for line, case in _by_name(findings).values():
        if case.patch_dim == runs.NEAR:
            named[case.words] = line
    for words, line in named.items():
        cell = min(line.cells, key=lambda cell: abs(cell.n - at))
        shares = [[100 * share for share in part] for part in (cell.memorized, cell.robust_test, cell.clean_test)]
        learned = (cell_of(cell.signal_margin, 1), cell_of(cell.noise_learned, 2))
        table.add(words, cell.n, *(cell_of(part, 1) for part in shares), *learned)
    return table


def _stops_table(findings: Findings) -> Table:
    columns = ["N", "best step", "predicted step", "least robust test error", "predicted", "at the end"]
    table = Table("stops", "Preset theorem, 16 filters: where training is best stopped; errors in %.", columns)
    for course in findings.stopped:
        predicted = best_stop(runs.theorem_setting(course.n))
        step = "never" if math.isinf(predicted.step) else f"{predicted.step:,.0f}"
        best, last = ([100 * error for error in part] for part in (course.best, course.robust_test[-1]))
        table.add(
            course.n,
            f"{np.mean(course.best_steps):,.0f}",
            step,
            cell_of(best, 1),
            f"{100 * predicted.error:.1f}",
            cell_of(last, 1),
        )
    return table


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The shifts in the phase diagram, and the courses.

    Args:
        findings: of `run`, or stored.
        folder: where the figures go.
        workspace: not needed.
    """
    shifts_figure(folder / "shifts", _shifts(findings), runs.RHO)
    steps = np.unique(np.geomspace(100, max(findings.fresh.steps[-1], 200), 40).round().astype(int)).tolist()
    predicted = np.mean(fresh_predicted(len(findings.fresh.robust_test[0]), steps), axis=1).tolist()
    curves = [Curve(name, c.steps, c.robust_test) for name, c in (("fixed", findings.fixed), ("fresh", findings.fresh))]
    stops = []
    for course in findings.stopped:
        error = best_stop(runs.theorem_setting(course.n)).error
        stops.append(Stop(course.n, course.best, course.robust_test[-1], error))
    courses_figure(folder / "courses", curves, (steps, predicted), stops)


def _shifts(findings: Findings) -> list[Shift]:
    """Plain training first; measured N as factors of the predicted plain one, so that both dimensions fit one diagram."""
    found = [_shift(runs.PLAIN_FAR, Measured.of(findings.far.ratios).values, "")]
    for case, line in zip(runs.cases(findings.scale), findings.lines, strict=True):
        measured = factors(line, findings.plain(case))
        largest = max(cell.n for cell in line.cells)
        always = f"{largest / (findings.plain(case).half or math.nan):.1f}" if math.isinf(case.predicted) else ""
        found.append(_shift(case, measured, always))
    return found


def _shift(case: Case, measured: Sequence[float], always: str) -> Shift:
    rhos = np.geomspace(0.02, 0.07, 21).tolist()
    halves = []
    for rho in rhos:
        halves.append(remedied_threshold(case.at(rho), case.value))
    return Shift(case.name, case.words, case.predicted, measured, rhos, halves, always)
