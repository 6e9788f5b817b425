"""When training ends early, and how each seed ended."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import EASY

from cgro._check import BadRequest
from cgro.dynamics import LossBelow, simulate
from cgro.dynamics.recording import observe
from cgro.dynamics.spaces import gram
from cgro.dynamics.stopping import all_diverged, memorized, never, outcomes_of
from cgro.dynamics.unseen import draw_unseen


def test_stops_when_memorized_and_below_a_loss():
    setting = replace(EASY, radius_ratio=0.99)
    run = simulate(setting, seeds=[0, 1], n_steps=100_000, n_test=5, stop_when="memorized")
    assert run.outcomes[0].kind == "stopped"
    assert run.steps[-1] < 100_000
    assert not run.final("robust_error/train").any()
    assert run.final("noise_learned").mean(1).min() > 0.5
    run = simulate(setting, n_steps=100_000, n_test=5, stop_when=LossBelow(0.3))
    assert run.outcomes[0].kind == "stopped"
    assert run.final("loss")[0] < 0.3 <= run["loss"][-2, 0]


def test_a_diverging_step_is_an_outcome_that_names_the_largest_stable_one():
    run = simulate(replace(EASY, lr=30.0), seeds=[0, 1], n_steps=1000, n_test=5)
    outcome = run.outcomes[0]
    assert outcome.kind == "diverged"
    assert not outcome.ok
    assert "largest stable lr is about" in outcome.reason
    stable = float(outcome.reason.rsplit(" ", 1)[1])
    good = simulate(replace(EASY, lr=0.9 * stable), n_steps=2000, n_test=5)
    assert good.outcomes[0].ok
    assert not simulate(replace(EASY, lr=1.3 * stable), n_steps=2000, n_test=5).outcomes[0].ok


@pytest.fixture(scope="module")
def record():
    return observe(gram(EASY, [0, 1]), [draw_unseen(EASY, s, 5, stream=1) for s in range(2)])


def learning(record, noise):
    """Records whose noise learned by every example of both seeds is as given, all training examples robust."""
    robust = replace(record, robust_error_train=np.zeros(2))
    return [replace(robust, noise_learned=np.full((2, 6), v)) for v in noise]


def test_memorized_wants_noise_that_was_learned_and_has_slowed_down(record):
    assert memorized(learning(record, [0.0, 0.1, 2.0, 2.1]))
    assert not memorized(learning(record, [0.0, 2.0, 2.1]))  # too few records
    assert not memorized(learning(record, [0.0, 0.1, 0.2, 2.0]))  # still fast
    assert not memorized(learning(record, [0.0, 0.1, 2.0, 3.2]))  # slower, but not by half
    assert not memorized(learning(record, [0.0, 0.1, 0.4, 0.45]))  # little was learned
    records = learning(record, [0.0, 0.1, 2.0, 2.1])
    records[-1] = replace(records[-1], robust_error_train=np.array([0.0, 0.2]))
    assert not memorized(records)
    assert never(records) == ""


def test_training_goes_on_while_one_seed_is_fine(record):
    one = record.clean_margin.copy()
    one[0] = np.nan
    steps = np.array([0, 1])
    assert not all_diverged([record, replace(record, clean_margin=one)], steps)
    assert all_diverged([record, replace(record, clean_margin=one + np.nan)], steps)
    assert all_diverged([record, replace(record, clean_margin=record.clean_margin + 100)], steps)
    assert not all_diverged([record], steps[:1])


def test_each_seed_has_its_outcome():
    margins = np.zeros((3, 2, 6))
    margins[2, 1] = np.nan
    steps = np.array([0, 1, 5])
    done, failed = outcomes_of(replace(EASY, lr=30.0), [0, 1], steps, margins, stopped="enough")
    assert (done.kind, done.reason, done.step) == ("stopped", "enough", 5)
    assert (failed.kind, failed.step) == ("diverged", 5)
    assert outcomes_of(EASY, [0], steps, margins[:, :1])[0].kind == "completed"


def test_a_loss_that_is_no_number_is_refused():
    for limit in (-0.1, float("nan")):
        with pytest.raises(BadRequest, match="limit"):
            LossBelow(limit)
