"""What is read of runs: errors of the strong attack, the gap, and a training that selected its last epoch."""

import shutil
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.comparison.compare import Comparison
from cgro.comparison.outcomes import KEYS
from cgro.comparison.plan_file import Plan
from cgro.comparison.trials import Evaluated, trials_of
from cgro.jobs.execute import ThisProcess, carry_out_here
from cgro.report.compare import GAP
from cgro.results import TrainSummary
from cgro.results.keys import ON_VALIDATION, ROBUST_TEST, ROBUST_TRAIN

BASE: dict[str, object] = {
    "data": "digits",
    "n_train": 60,
    "n_test": 30,
    "validation": 0.5,
    "model": "mlp",
    "radius": "0.1",
    "attack": "pgd2",
    "eval_attack": "pgd2",
    "final_n": 20,
    "epochs": 1,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    plan = Plan(BASE, {"plain": {}}, 1)
    path = tmp_path_factory.mktemp("made")
    comparison = Comparison.of(plan, trials_of(plan), Evaluated("pgd3", 15), path, {"device": "cpu"})
    assert comparison.outcomes.open() == 5
    comparison.make(ThisProcess(), carry_out_here)
    return comparison


def test_the_selected_epoch_is_not_attacked_again_if_it_is_the_last(made: Comparison) -> None:
    (jobs,) = made.jobs["plain"]
    assert jobs.selected is not None
    assert made.workspace.read(jobs.training).read(TrainSummary).selected is not None
    assert made.workspace.here(jobs.selected) is None
    assert made.outcomes.open() == 0
    numbers = made.outcomes.numbers(made.trials[0], jobs)
    assert numbers[ROBUST_TEST + ON_VALIDATION] == numbers[ROBUST_TEST]


def test_numbers_are_those_of_the_strong_attack(made: Comparison) -> None:
    (jobs,) = made.jobs["plain"]
    numbers = made.outcomes.numbers(made.trials[0], jobs)
    last = made.workspace.read(jobs.last).read().metrics
    assert last[ROBUST_TEST].n == 15
    assert numbers[ROBUST_TEST] == last[ROBUST_TEST].value
    test, train = numbers[ROBUST_TEST], numbers[ROBUST_TRAIN]
    assert test is not None
    assert train is not None
    assert numbers[GAP] == test - train
    assert [key for key in KEYS if numbers[key] is None] == ["peak_memory"]  # nobody looked


def test_of_what_is_not_made_nothing_is_known(tmp_path: Path) -> None:
    plan = Plan(BASE, {"plain": {}, "ema": {"extension": ["ema"]}}, 2)
    comparison = Comparison.of(plan, trials_of(plan), Evaluated(), tmp_path, {})
    result = comparison.summary()
    assert result.n_open == 20
    assert result.data is None
    assert result.remedies["ema"].effect.label == "too_few_seeds"
    assert [outcome.kind for outcome in result.remedies["plain"].outcomes] == ["open", "open"]


@pytest.mark.parametrize("which", ["last", "flatness", "memory"])
def test_what_was_measured_of_a_training_that_is_gone_is_refused(which: str, made: Comparison, tmp_path: Path) -> None:
    """The training was made again, with other code perhaps, and the errors of the old network stood beside it."""
    (jobs,) = made.jobs["plain"]
    job = getattr(jobs, which)
    shutil.copytree(made.workspace.folder(job), tmp_path / "runs" / job.name)
    alone = Comparison.of(made.plan, made.trials, made.evaluated, tmp_path, {"device": "cpu"})
    with pytest.raises(BadRequest, match=f"{job.name}: expected the finished training that it measured.*, got none"):
        alone.outcomes.require_trainings()
    made.outcomes.require_trainings()
