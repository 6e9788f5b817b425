"""Remedies on the synthetic truth."""

import math

import numpy as np
import pytest
from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged
from tests.jobs.runs import make, workspace

from cgro.dynamics.remedies import parse_remedy
from cgro.dynamics.remedy_theory import best_stop, stall
from cgro.experiments import remedies
from cgro.experiments import remedies_runs as runs
from cgro.experiments.claims import NOT_REPRODUCED, PARTLY, UNTESTED
from cgro.experiments.remedies import PAPER, Findings, factors
from cgro.experiments.remedies_courses import Course, fresh_predicted
from cgro.experiments.transitions import Cell, Line

HALF = 14.6
SIZES = [1, 2, 4, 5, 8, 12, 19, 28, 43, 66, 100]


def line(case: runs.Case) -> Line:
    """Memorized up to the predicted N, a little elsewhere in every seed; robust above it and under fresh noise."""
    cells = []
    for n in SIZES:
        targets = [HALF * case.predicted * 1.02 ** (seed - 1) for seed in range(3)]
        shares = [1.0] * 3
        if math.isfinite(case.predicted):
            shares = [min(max(0.5 - math.log(n / target), 0.0), 1.0) for target in targets]
        errors = [0.0 if case.value.fresh else 0.5 * (share > 0.45) for share in shares]
        cells.append(
            Cell(
                n=n,
                memorized=shares,
                clean_test=[0.0] * 3,
                robust_test=errors,
                signal_margin=[11.0] * 3,
                noise_learned=[7.0] * 3,
                noise=[0.2] * 3,
                noise_limit=[],
            )
        )
    return Line(power=3.0, patch_dim=case.patch_dim, rho=0.035, half=HALF, overlap=1.0, cells=cells)


def course(n: int, remedy: str = "none", *, lag: float = 0.0) -> Course:
    """Noise learned at once at 15,000 + lag steps in seed 0, a little later in others; errors as predicted."""
    steps = [0, 100, 5000, 9000, 10_000, 14_000, 30_000, 60_000, 100_000, 200_000]
    jumps = np.array([15_000.0, 15_500.0, 16_000.0]) + lag
    noise = (np.array(steps)[:, None] / jumps) ** 2  # reaches 1 there
    errors = np.full((len(steps), 3), 0.5)
    if remedy == "fresh=1":
        errors[2:] = np.array(fresh_predicted(3, steps[2:])) / 100
        noise[:] = 0.0
    elif remedy == "none":
        errors[3] = best_stop(runs.theorem_setting(n)).error + np.array([-0.01, 0.0, 0.01])
    margin = np.full((len(steps), 3), 12.0)
    stopped = stall(runs.theorem_setting(n), parse_remedy(remedy))
    if stopped is not None:
        margin = np.full((len(steps), 3), stopped) * np.array([0.99, 1.0, 1.01])
        noise[:] = 0.0
    return Course(
        n=n,
        remedy=remedy,
        steps=steps,
        robust_test=np.maximum(errors, 0.0).tolist(),
        clean_test=np.zeros((len(steps), 3)).tolist(),
        signal_margin=margin.tolist(),
        noise_learned=noise.tolist(),
    )


def averaged(decay: float) -> Course:
    """The onset of plain training, later by 1 / (1 - decay)."""
    return replace(course(30, f"ema={decay}"), noise_learned=late(1 / (1 - decay)))


def late(lag: float) -> list[list[float]]:
    """Mean V_i that is 1 at the onsets of `course` plus a lag, by straight lines between its records."""
    plain = course(30)
    found = []
    for step in plain.steps:
        found.append([step / (onset + lag) for onset in plain.onsets if onset is not None])
    return found


FIXED = course(30)
RIGHT = Findings(
    scale="cpu",
    far=line(runs.PLAIN_FAR),
    near=line(runs.PLAIN_NEAR),
    cases=[case.name for case in runs.CASES],
    lines=[line(case) for case in runs.CASES],
    beside_cases=[case.name for case in runs.BESIDE],
    beside=[line(case) for case in runs.BESIDE],
    fixed=FIXED,
    fresh=course(30, "fresh=1"),
    averaged=[averaged(decay) for decay in runs.EMAS],
    stalled=[course(30, remedy) for remedy in runs.STALLED],
    stopped=[course(n) for n in runs.STOPPED],
)
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, ratio=2.0), "remedies/boxes-1-0.5"),
        Wrong(replace(PAPER, ratio=2.0), "remedies/decay-4"),
        Wrong(replace(PAPER, ratio=2.0), "remedies/ema"),
        Wrong(replace(PAPER, never=10.0), "remedies/trades-1", PARTLY),
        Wrong(replace(PAPER, fresh=20.0), "remedies/fresh"),
        Wrong(replace(PAPER, fixed=20.0), "remedies/fixed"),
        Wrong(replace(PAPER, stall=2.0), "remedies/stalls"),
        Wrong(replace(PAPER, stop=0.0), "remedies/stop"),
        Wrong(replace(PAPER, lag=3.0), "remedies/lag"),
    ],
    swapped=replace(RIGHT, fixed=RIGHT.fresh, fresh=FIXED),
    notices="remedies/fresh",
    drawn=frozenset({"shifts", "courses"}),
)


def test_a_remedy_that_helps_nobody_is_noticed() -> None:
    never = [replace(part, robust_test=[0.5] * 3) for part in RIGHT.near.cells]
    stuck = replace(RIGHT.near, cells=never)
    found = judged(remedies, replace(RIGHT, lines=[stuck if p.patch_dim == runs.NEAR else p for p in RIGHT.lines],
                                     beside=[stuck] * len(RIGHT.beside)))  # fmt: skip
    assert found["remedies/robust_below"].verdict == NOT_REPRODUCED


def test_a_remedy_that_does_not_memorize_everything_is_noticed() -> None:
    at = next(k for k, case in enumerate(runs.CASES) if case.name == "trades-1")
    lines = [*RIGHT.lines[:at], RIGHT.far, *RIGHT.lines[at + 1 :]]
    claim = judged(remedies, replace(RIGHT, lines=lines))["remedies/trades-1"]
    assert claim.verdict == PARTLY
    assert "N = 43" in claim.reason


def test_factors_are_paired_by_seed() -> None:
    far = RIGHT.far
    doubled = replace(far, cells=[replace(cell, n=2 * cell.n) for cell in far.cells])
    assert factors(doubled, far) == pytest.approx([2.0] * 3)
    never = replace(far, cells=[replace(cell, memorized=[0.0, *cell.memorized[1:]]) for cell in far.cells])
    assert len(factors(never, far)) == 2


def test_an_early_stop_that_buys_nothing_is_noticed() -> None:
    flat = [replace(part, robust_test=[part.robust_test[0]] * len(part.steps)) for part in RIGHT.stopped]
    found = judged(remedies, replace(RIGHT, stopped=flat))
    assert found["remedies/bought"].verdict == NOT_REPRODUCED
    assert found["remedies/stop"].verdict != "reproduced"


def test_two_seeds_are_not_judged() -> None:
    def few(part: Line) -> Line:
        return replace(part, cells=[replace(cell, memorized=cell.memorized[:2]) for cell in part.cells])

    lines = [few(part) for part in RIGHT.lines]
    found = judged(remedies, replace(RIGHT, far=few(RIGHT.far), near=few(RIGHT.near), lines=lines))
    assert found["remedies/decay-4"].verdict == UNTESTED
    assert found["remedies/trades-1"].verdict == UNTESTED
    assert found["remedies/robust_below"].verdict == UNTESTED


def test_the_tables_have_a_row_per_remedy_and_n() -> None:
    shifts, errors, stops = remedies.tables(RIGHT)
    assert len(shifts.rows) == len(runs.CASES)
    assert [row[2] for row in shifts.rows].count("every N") == 4
    assert len(errors.rows) == 1 + 5 + len(runs.BESIDE)
    assert [row[0] for row in stops.rows] == list(runs.STOPPED)


def test_runs_are_read_at_tiny_scale(tmp_path) -> None:
    jobs = remedies.jobs("smoke")
    found = workspace(tmp_path, jobs)
    make(found, *jobs)
    read = remedies.run("smoke", found)
    assert [part.patch_dim for part in (read.far, read.near)] == [runs.FAR, runs.NEAR]
    assert len(read.lines) == len(runs.cases("smoke"))
    assert read.fresh.steps[-1] == 1000
    assert len(read.fresh.robust_test[0]) == 2
    assert {claim.verdict for claim in remedies.check(read)} <= {UNTESTED, NOT_REPRODUCED, PARTLY, "reproduced"}
    remedies.draw(read, tmp_path / "figures", found)
    assert (tmp_path / "figures" / "shifts.svg").exists()


def test_seeds_that_differ_too_much_tell_nothing() -> None:
    at = next(k for k, case in enumerate(runs.CASES) if case.name == "boxes-1-0.5")
    part = RIGHT.lines[at]
    wide = []
    for cell in part.cells:
        wide.append(replace(cell, memorized=[float(cell.n < limit) for limit in (2, 6, 13)]))
    lines = [*RIGHT.lines[:at], replace(part, cells=wide), *RIGHT.lines[at + 1 :]]
    assert judged(remedies, replace(RIGHT, lines=lines))["remedies/boxes-1-0.5"].verdict == "cannot be told"
