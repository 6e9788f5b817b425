"""Predictions for several signal directions: each is a race of its own with its share of the examples, K times slower."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import (
    PRESETS,
    RACE_ENDS,
    LossBelow,
    Setting,
    compare,
    detect_stages,
    final_signal,
    growth_end,
    onset_ratio,
    plateau,
    simulate,
    stability,
)
from cgro.dynamics.remedies import PLAIN
from cgro.dynamics.remedy_theory import best_stop, fresh_error, remedied_threshold, signal_path, stall
from cgro.dynamics.spaces import SPACES, cheapest, direct
from cgro.dynamics.threshold import push
from cgro.trajectory import Trajectory

THEOREM = PRESETS["theorem"]


def with_directions(setting: Setting, n: int) -> Setting:
    """As many examples per direction as the setting has in all."""
    data = replace(setting.data, n_signals=n)
    return replace(setting, data=data, n_train=n * setting.n_train)


@pytest.mark.parametrize("q", [2.0, 3.0])
def test_a_direction_is_one_signal_at_a_fraction_of_the_step(q: float) -> None:
    """The noise is quiet, so that nothing couples the directions; four of ten examples carry the first."""
    setting = Setting(
        PatchData(12, noise_std=1e-9, n_signals=2), n_train=10, n_filters=6, activation_power=q, radius_ratio=0.9
    )
    both = direct(setting, [0])
    both.group[0] = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    starts = both.u.copy()
    both.advance(300, compiled=False)
    for k, share in enumerate((0.4, 0.6)):
        alone = replace(setting, data=replace(setting.data, n_signals=1), lr=share * setting.lr)
        one = direct(alone, [0])
        one.u[0, 0] = starts[0, k]
        one.advance(300, compiled=False)
        assert setting.strength * one.u.max() > 1  # grown
        np.testing.assert_allclose(both.u[0, k], one.u[0, 0], rtol=1e-12)
    halved = replace(setting, data=replace(setting.data, n_signals=1), lr=setting.lr / 2)
    assert growth_end(setting, 0.05) == pytest.approx(growth_end(halved, 0.05))


def growth_over_prediction(setting: Setting, n_seeds: int) -> np.ndarray:
    """Where the growth of each direction has halved after its peak, step by step, over what is predicted of it."""
    batch = SPACES[cheapest(setting)](setting, range(n_seeds))
    predicted = np.array([[growth_end(setting, u) for u in of_seed] for of_seed in batch.u.max(2)])
    margins = []
    for _ in range(round(2.5 * predicted.max())):
        margins.append(setting.strength**setting.activation_power * batch.rule.class_signal(batch.u).mean(2))
        batch.advance(1, compiled=True)
    rates = np.gradient(np.stack(margins), axis=0)
    ratios = []
    for s, k in np.ndindex(predicted.shape):
        rate = rates[:, s, k]
        peak = int(rate.argmax())
        ratios.append((peak + int(np.argmax(rate[peak:] < rate[peak] / 2))) / predicted[s, k])
    return np.array(ratios)


@pytest.mark.parametrize("preset", ["theorem", "table2"])
def test_growth_ends_where_it_does_in_the_simulator(preset: str) -> None:
    setting = replace(PRESETS[preset], n_train=20)
    alone = growth_over_prediction(setting, 10).mean()
    assert 0.9 < alone < 1.35
    for n in (2, 4):
        assert growth_over_prediction(with_directions(setting, n), 4).mean() == pytest.approx(alone, rel=0.2)


@pytest.mark.parametrize(("factor", "low", "high"), [(0.75, 0.8, 1.0), (1.45, 0.0, 0.2)])
def test_the_simulator_memorizes_beyond_the_onset_of_four_directions(factor: float, low: float, high: float) -> None:
    """A prediction without K would lie below by 4^(1/3) = 1.6: what is read here as 1.45 would be 0.91."""
    setting = with_directions(replace(THEOREM, n_train=10, n_filters=16), 4)
    rho = 1 - onset_ratio(setting, range(2))
    run = simulate(
        replace(setting, radius_ratio=1 - factor * rho),
        seeds=range(2),
        n_steps=150_000,
        n_records=60,
        n_test=2,
        stop_when=LossBelow(0.02),
    )
    assert low <= (run.final("noise_learned") > RACE_ENDS).mean() <= high


def test_onset_at_power_two_in_closed_form() -> None:
    """q = 2: rho_c^2 = K |xi|^2 / (N alpha^2)."""
    data = PatchData(50, signal_strength=3.0, noise_std=0.1, n_signals=4)
    setting = Setting(data, n_train=40, n_filters=4, activation_power=2)
    assert 1 - onset_ratio(setting) == pytest.approx(math.sqrt(4 * 46 * 0.01 / (40 * 9)))


def test_balances_of_two_pulls_are_those_of_one_direction() -> None:
    one = replace(PRESETS["table2"], n_train=10, n_filters=16)
    two = with_directions(one, 2)
    assert plateau(two) == plateau(one)
    assert final_signal(two) == final_signal(one)
    run = simulate(two, n_steps=80_000, n_records=80, n_test=2)
    margins = two.strength**3 * run.batch.rule.class_signal(run.signal).mean(2)
    np.testing.assert_allclose(margins, final_signal(one), rtol=0.01)
    rows = compare(two, run, [stages.signal_growth_end.step for stages in detect_stages(run)])
    assert set(rows) == {"plateau", "final_signal"}, "the mean of two directions has no end of stage I of its own"
    assert rows["plateau"].measured == pytest.approx(rows["plateau"].predicted, rel=0.03)
    assert not compare(two, Trajectory(run.steps, run.values, run.outcomes), [None])  # whose directions are unknown
    few = simulate(replace(two, n_train=1), n_steps=5, n_records=3, n_test=2)
    assert not compare(few.setting, few, [None]), "a direction that no example carries is not learned"


@pytest.mark.parametrize(
    "predict",
    [
        push,
        remedied_threshold,
        best_stop,
        lambda setting: stall(setting, PLAIN),
        lambda setting: signal_path(setting, [0.1]),
        lambda setting: fresh_error(setting, [0.1], [10.0]),
    ],
)
def test_what_speaks_of_one_direction_is_refused_for_more(predict: Callable[[Setting], object]) -> None:
    with pytest.raises(BadRequest, match="n_signals|signal directions"):
        predict(replace(THEOREM, data=PatchData(100, n_signals=2)))


def test_a_stable_step_is_looked_for_over_the_whole_of_stage_one(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []

    def stable(_: Setting, __: int, time: float) -> bool:
        times.append(time)
        return True

    monkeypatch.setattr(stability, "_is_stable", stable)
    for n in (1, 4):
        stability.largest_stable_lr(with_directions(THEOREM, n), 0, 1, accuracy=2.1)
    assert times[1] == pytest.approx(4 * times[0])
