"""Planted boundaries are found, shuffled ones are not; the presets show what they should."""

from dataclasses import replace

import numpy as np
import pytest

from cgro.dynamics import (
    PRESETS,
    Stage,
    compare,
    detect_stages,
    probability_correct,
    simulate,
    summarize_stages,
    unseen_errors,
)  # fmt: skip
from cgro.dynamics.stages import BOUNDARIES
from cgro.trajectory import Outcome, Trajectory

STEPS = np.unique(np.r_[0, np.geomspace(1, 1e5, 400).round()])


def planted(t1=30.0, t2=4_000.0, t3=20_000.0, gain=6.0, rise=1.0):
    """The signal relaxes with rate falling to a half at t1; noise grows linearly from t2 on; resistance comes at t3."""
    signal = rise * np.tanh(STEPS / t1 * np.arccosh(np.sqrt(2)))  # rate sech^2: half at t1
    noise = gain * np.clip((STEPS - t2) / (t3 - t2), 0, 1)
    wrong = np.where(t3 > STEPS, 0.5, 0.0)
    values = {
        "signal_margin": signal[:, None],
        "noise_learned": noise[:, None, None],
        "robust_error/train": wrong[:, None],
    }
    return Trajectory(STEPS, values, (Outcome("completed", "", int(STEPS[-1])),))


@pytest.mark.parametrize(("t1", "t2", "t3"), [(30, 4_000, 20_000), (10, 500, 900), (200, 30_000, 90_000)])
def test_planted_boundaries_are_found(t1, t2, t3):
    (stages,) = detect_stages(planted(t1, t2, t3))
    found = [getattr(stages, name).step for name in BOUNDARIES]
    np.testing.assert_allclose(found, [t1, t2, t3], rtol=0.06)  # records are 3% apart
    assert stages.at(1) is Stage.SIGNAL_GROWTH
    assert stages.at(2 * t1) is Stage.SIGNAL_STALL
    assert stages.at(1e5) is Stage.NOISE_MEMORIZATION


def test_shuffled_trajectories_have_no_stages():
    trajectory, rng = planted(), np.random.default_rng(0)
    for _ in range(50):
        order = rng.permutation(len(STEPS))
        shuffled = replace(trajectory, values={k: v[order] for k, v in trajectory.values.items()})
        (stages,) = detect_stages(shuffled)
        assert not any(getattr(stages, name).found for name in BOUNDARIES)
        assert "total variation" in stages.signal_growth_end.reason


def test_too_little_memorization_is_not_a_stage():
    (stages,) = detect_stages(planted(gain=0.4))
    assert stages.signal_growth_end.found
    assert not stages.memorization_start.found
    assert not stages.memorization_end.found
    assert "0.4" in stages.memorization_start.reason


def test_memorization_never_starts_before_stage_one_is_over():
    """Noise that sets in around the same record: both boundaries are interpolated, their order is not to be lost."""
    for t2 in np.linspace(27.0, 33.0, 61):
        (stages,) = detect_stages(planted(t1=30.0, t2=t2))
        assert stages.memorization_start.step >= stages.signal_growth_end.step


def test_a_falling_signal_never_grows():
    (stages,) = detect_stages(planted(rise=-1.0))
    assert stages.signal_growth_end.reason == "the signal never grows"


@pytest.mark.parametrize("rise", [0.0001, 0.05, 0.3])
def test_a_signal_that_stays_small_is_not_learned(rise):
    (stages,) = detect_stages(planted(rise=rise))
    assert not any(getattr(stages, name).found for name in BOUNDARIES)
    assert "below 0.5" in stages.signal_growth_end.reason


def test_a_signal_of_order_one_is_learned():
    (stages,) = detect_stages(planted(rise=0.8))
    assert stages.signal_growth_end.step == pytest.approx(30, rel=0.06)


def test_a_signal_that_dies_is_not_learned():
    t = planted()
    t.values["signal_margin"][:, 0] *= 1 / (1 + (STEPS / 1_000.0) ** 2)
    (stages,) = detect_stages(t)
    assert not stages.signal_growth_end.found
    assert "dies" in stages.signal_growth_end.reason


def test_a_signal_that_falls_by_half_is_learned():
    """As it does for delta > alpha, from its plateau to the maximum of the margin on all examples."""
    t = planted()
    t.values["signal_margin"][:, 0] *= 1 - 0.5 * STEPS / STEPS[-1]
    (stages,) = detect_stages(t)
    assert stages.signal_growth_end.step == pytest.approx(30, rel=0.06)


def test_filters_of_the_wrong_sign_that_die_first_are_not_the_growth():
    """Their end raises the signal at once, faster than growth does, which sets in later."""
    t = planted()
    grown = 4 / (1 + (200 / np.maximum(STEPS, 1e-9)) ** 4)
    t.values["signal_margin"][:, 0] = 0.1 * (1 - np.exp(-2 * STEPS)) + grown
    (stages,) = detect_stages(t)
    assert 150 < stages.signal_growth_end.step < 400


@pytest.mark.parametrize(
    ("changes", "n_steps"),
    [
        ({"n_train": 4, "n_filters": 4, "radius_ratio": 2.4}, 300),
        ({"n_train": 4, "n_filters": 4, "radius_ratio": 2.05}, 300),
        ({"n_train": 4, "n_filters": 96, "radius_ratio": 2.4}, 300),
        ({"n_train": 4, "n_filters": 96, "radius_ratio": 2.4, "activation_power": 2.0}, 300),
    ],
)
def test_a_signal_that_is_predicted_to_die_is_not_learned(changes, n_steps):
    run = simulate(replace(PRESETS["theorem"], **changes), seeds=range(4), n_steps=n_steps, n_test=20)
    for stages in detect_stages(run):
        assert not stages.signal_growth_end.found


def test_a_plateau_near_extinction_is_learned():
    setting = replace(PRESETS["theorem"], n_train=4, n_filters=4, radius_ratio=1.85)
    run = simulate(setting, seeds=range(3), n_steps=3000, n_test=20)
    steps = [stages.signal_growth_end.step for stages in detect_stages(run)]
    assert steps == pytest.approx([218.6, 66.5, 136.1], rel=0.02)


@pytest.mark.parametrize(
    ("seed", "changes"),
    [(3, {}), (0, {"n_train": 10, "n_filters": 8}), (0, {"n_train": 1, "n_filters": 2}), (1, {"radius_ratio": 1.5874})],
)
def test_a_run_that_has_only_begun_has_not_ended_stage_one(seed, changes):
    """The first records of a run, as the page in the browser reads them while it trains."""
    run = simulate(replace(PRESETS["theorem"], **changes), seeds=[seed], n_steps=400, n_test=20)
    (end,) = detect_stages(run)
    for n in range(8, len(run.steps)):
        first = Trajectory(run.steps[:n], {k: v[:n] for k, v in run.values.items()}, run.outcomes)
        (so_far,) = detect_stages(first)
        if so_far.signal_growth_end.found:
            assert so_far.signal_growth_end.step == pytest.approx(end.signal_growth_end.step, rel=0.2)


def test_training_that_never_resists_has_no_end():
    t = planted()
    t.values["robust_error/train"][:] = 0.1
    (stages,) = detect_stages(t)
    assert stages.memorization_start.found
    assert "train longer" in stages.memorization_end.reason


def test_resistance_before_memorization_is_not_its_doing():
    t = planted()
    t.values["robust_error/train"][:] = 0.0
    assert not detect_stages(t)[0].memorization_end.found


def test_a_diverged_run_says_so():
    t = planted()
    t.values["signal_margin"][-1] = np.nan
    assert "diverged" in detect_stages(t)[0].signal_growth_end.reason


def test_too_few_records_are_refused():
    t = planted()
    with pytest.raises(ValueError, match="at least 8 records"):
        detect_stages(Trajectory(t.steps[:5], {k: v[:5] for k, v in t.values.items()}, t.outcomes))


def test_summary_mean_is_null_unless_every_seed_found_it():
    both = (*detect_stages(planted()), *detect_stages(planted(gain=0.1)))
    result = summarize_stages(both)
    assert result["signal_growth_end"].n_found == 2
    assert result["signal_growth_end"].mean == pytest.approx(30, rel=0.03)
    assert result["memorization_start"].mean is None
    assert result["memorization_start"].n_found == 1
    assert result["memorization_start"].per_seed[1] is None
    assert "below 0.5" in result["memorization_start"].reason
    neither = summarize_stages((*detect_stages(planted(gain=0.2)), *detect_stages(planted(gain=0.1))))
    assert "0.2" in neither["memorization_start"].reason


@pytest.fixture(scope="module")
def runs():
    return {name: simulate(PRESETS[name], seeds=range(3), n_test=200, n_records=160) for name in PRESETS}


def test_theorem_shows_the_three_stages_and_half_robust_error(runs):
    run = runs["theorem"]
    found = summarize_stages(detect_stages(run))
    assert [found[name].n_found for name in BOUNDARIES] == [3, 3, 3]
    errors = unseen_errors(run)
    assert errors["clean"].max() < 0.001
    assert not run.final("robust_error/train").any()
    assert errors["robust"].mean() == pytest.approx(0.5, abs=0.01)


def test_table2_is_near_the_paper_and_its_plateau_and_end_are_predicted(runs):
    run = runs["table2"]
    errors = unseen_errors(run)
    assert errors["clean"].mean() == pytest.approx(0.015, abs=0.015)
    assert errors["robust"].mean() == pytest.approx(0.825, abs=0.03)  # three seeds; the stored check has a hundred
    rows = compare(PRESETS["table2"], run, [s.signal_growth_end.step for s in detect_stages(run)])
    assert rows["final_signal"].measured == pytest.approx(rows["final_signal"].predicted, rel=0.005)
    assert rows["plateau"].measured == pytest.approx(rows["plateau"].predicted, rel=0.02)


def test_probability_of_a_correct_answer_agrees_with_sampling_on_trained_networks(runs):
    run, setting = runs["table2"], PRESETS["table2"]
    errors, kwargs = unseen_errors(run), {"activation_power": 3, "noise_std": setting.data.noise_std}
    for s, covariance in enumerate(run.covariance):
        learned = run.final("signal_learned")[s]
        for kind, strength in (("clean", setting.strength), ("robust", setting.strength - setting.radius)):
            found = probability_correct(strength**3 * learned, covariance, n_directions=20_000, **kwargs)
            assert 1 - found == pytest.approx(errors[kind][s], abs=0.013)  # 3.5 standard errors of 20,000 each at most


def test_standard_training_memorizes_nothing(runs):
    run = runs["control"]
    found = summarize_stages(detect_stages(run))
    assert [found[name].n_found for name in BOUNDARIES] == [3, 0, 0]
    assert np.abs(run.final("noise_learned").mean(1)).max() < 1e-3
