"""What is read off a course: onsets, stalls, best steps; and the course that theory predicts under fresh noise."""

import pytest
from tests.jobs.runs import make, workspace

from cgro.dynamics.remedy_theory import fresh_error
from cgro.dynamics.spaces import direct
from cgro.experiments import remedies_runs as runs
from cgro.experiments.claims import UNTESTED
from cgro.experiments.remedies_courses import Course, Paper, fresh_claims, fresh_predicted, read_course, stalls_claim

PAPER = Paper()
COURSE = Course(
    n=30,
    remedy="none",
    steps=[0, 100, 200, 400],
    robust_test=[[0.5, 0.5], [0.3, 0.4], [0.2, 0.45], [0.5, 0.5]],
    clean_test=[[0.0, 0.0]] * 4,
    signal_margin=[[0.1, 0.1], [5.0, 6.0], [7.0, 8.0], [9.0, 9.0]],
    noise_learned=[[0.0, 0.0], [0.0, 0.04], [0.5, 0.02], [1.5, 0.9]],
)


def test_what_is_read_off_a_course() -> None:
    assert COURSE.onsets == [pytest.approx(300.0), None]
    assert COURSE.stalls == [5.0, 8.0]  # the last records at which nothing is memorized
    assert COURSE.best == [0.2, 0.4]
    assert COURSE.best_steps == [200, 100]
    assert COURSE.at(150) == pytest.approx([25.0, 42.5])


def test_the_predicted_course_starts_from_each_seed() -> None:
    found = fresh_predicted(2, [100, 60_000])
    setting = runs.theorem_setting(runs.N_FRESH)
    start = direct(setting, [1]).u[0, 0].tolist()
    assert [part[1] for part in found] == pytest.approx(
        [100 * error for error in fresh_error(setting, start, [100, 60_000])]
    )
    assert found[0][0] > 35
    assert found[1][0] < 20


def test_two_seeds_are_not_judged() -> None:
    assert [claim.verdict for claim in fresh_claims(COURSE, COURSE, PAPER)] == [UNTESTED, UNTESTED]
    assert stalls_claim([COURSE], PAPER).verdict == UNTESTED


def test_a_course_is_read_from_a_run(tmp_path) -> None:
    job = runs.course("smoke", 5, "ema=0.9")
    found = workspace(tmp_path, [job])
    make(found, job)
    course = read_course(job, 5, "ema=0.9", found)
    assert course.steps[0] == 0
    assert course.steps[-1] == 1000
    assert len(course.robust_test) == len(course.steps) == len(course.noise_learned)
    assert len(course.signal_margin[0]) == 2
