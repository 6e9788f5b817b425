"""The runs of the remedies: valid requests, and grids of N that hold what they are to show."""

import math

import pytest

from cgro.commands._sweep import parse_sweep
from cgro.commands.dynamics import setting_of
from cgro.dynamics import sample_threshold
from cgro.dynamics.remedies import PLAIN, parse_remedy
from cgro.experiments import remedies_runs as runs
from cgro.jobs.plan import SCALES, Scale

ALL = (runs.PLAIN_FAR, runs.PLAIN_NEAR, *runs.CASES)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_the_predicted_half_lies_inside_the_grid(case: runs.Case) -> None:
    job = runs.sweep("cpu", case)
    setting = setting_of(job.config())
    assert setting.data == case.setting.data
    assert setting.radius_ratio == pytest.approx(case.setting.radius_ratio)
    threshold = sample_threshold(setting)
    assert threshold is not None
    sizes = parse_sweep(str(job.settings["sweep"]))["n_train"]
    half = case.predicted * threshold.half
    if math.isinf(half):
        assert sizes[-1] > 3 * threshold.half
    else:
        assert 1.8 * sizes[0] < half < sizes[-1] / 2.7
    assert parse_remedy(str(job.settings["remedy"])) == case.value
    assert not case.value.moves_noise or case.patch_dim == runs.NEAR


@pytest.mark.parametrize("scale", SCALES)
def test_names_differ_and_smoke_is_a_part(scale: Scale) -> None:
    names = [case.name for case in (*runs.cases(scale), *runs.beside(scale))]
    assert len(set(names)) == len(names)
    assert {case.name for case in runs.cases(scale)} <= {case.name for case in runs.CASES}
    assert runs.N_FRESH in runs.stopped_sizes(scale)


def test_plain_training_is_compared_at_the_same_dimension() -> None:
    for case in (*runs.CASES, *runs.BESIDE):
        plain = runs.plain_of(case)
        assert plain.patch_dim == case.patch_dim
        assert plain.value == PLAIN
    assert runs.PLAIN_FAR.predicted == 1.0


def test_names_of_courses_say_what_was_run() -> None:
    jobs = [runs.course("cpu", n, remedy) for n in (5, 30) for remedy in ("none", "fresh=1", *runs.STALLED)]
    assert len({job.name for job in jobs}) == len(jobs)
    assert all("," not in job.name and "=" not in job.name for job in jobs)
    setting = setting_of(jobs[0].config())
    assert (setting.n_filters, setting.n_train) == (16, 5)
    assert setting == runs.theorem_setting(5)
