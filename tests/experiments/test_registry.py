"""The one list of artifacts: order, groups, and what all of them share."""

import pytest

from cgro._check import BadRequest
from cgro.commands import train
from cgro.definitions import attack_by_name
from cgro.experiments import registry
from cgro.experiments.registry import ARTIFACTS, chosen, names
from cgro.jobs.plan import SCALES, Scale, unique


def all_jobs(scale: Scale) -> list:
    found = []
    for artifact in ARTIFACTS:
        found += artifact.jobs(scale)
    return found


def test_names_are_those_of_the_modules_and_differ() -> None:
    assert len(set(names())) == len(ARTIFACTS)
    for artifact in ARTIFACTS:
        assert getattr(registry, artifact.NAME.replace("-", "_")) is artifact


def test_groups_split_the_artifacts() -> None:
    theory = set(names(chosen("theory")))
    trained = set(names(chosen("trained")))
    paper = {"table2", "figure2c", "theorem44", "theorem47", "hierarchy"}
    assert theory == paper | {"full-ball", "threshold", "alpha-law", "remedies"}
    assert theory | trained == set(names())
    assert not theory & trained
    assert names(chosen("figure2")) == ["figure2c", "figure2ab"]


def test_what_is_cheap_is_made_first_and_each_once() -> None:
    made = names(chosen("all,table1"))
    assert sorted(made) == sorted(names())
    needs = [artifact.NEEDS_TRAINING for artifact in chosen("all")]
    assert needs == sorted(needs)


@pytest.mark.parametrize("words", ["table9", "", "table1,", "Table1"])
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(BadRequest, match="expected one of table1, table2, figure1"):
        chosen(words)


@pytest.mark.parametrize("scale", SCALES)
def test_runs_are_shared_and_names_are_unique(scale: Scale) -> None:
    assert len(unique(all_jobs(scale))) < 0.8 * len(all_jobs(scale))


@pytest.mark.parametrize("scale", SCALES)
def test_every_job_is_a_valid_request(scale: Scale) -> None:
    for job in unique(all_jobs(scale)):
        config = job.config()
        if isinstance(config, train.Config):
            config.recipe()
            radius = 0 if config.attack == "none" else config.threat().radius
            assert config.crafting().threat.radius == radius
            attack_by_name(config.eval_attack, config.threat())


@pytest.mark.parametrize("scale", SCALES)
def test_what_a_job_reads_is_among_the_jobs_of_its_artifact(scale: Scale) -> None:
    for artifact in ARTIFACTS:
        jobs = artifact.jobs(scale)
        known = {job.name for job in jobs}
        for job in jobs:
            assert job.reads <= known, (artifact.NAME, job.name)


def test_cpu_scale_fits_its_budget() -> None:
    jobs = unique(all_jobs("cpu"))
    assert max(job.seconds for job in jobs if job.command == "train") <= 15 * 60
    assert sum(job.seconds for job in jobs) <= 8 * 3600
