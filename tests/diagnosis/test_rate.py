"""Drops of a learning rate: of steps all, of smooth schedules none."""

import numpy as np
import pytest
from tests.diagnosis.writers import four, write_log

from cgro.diagnosis import Curves, read_log
from cgro.diagnosis.rate import sudden_drops
from cgro.diagnosis.shape import drops_of

T = np.arange(200)
SMOOTH = {
    "cosine": 0.05 * (1 + np.cos(np.pi * T / 200)),
    "cosine to zero": 0.05 * (1 + np.cos(np.pi * T / 199)),
    "cycle": np.interp(T, [0, 80, 200], [0.0, 0.2, 0.0]),
    "warm restarts": 0.05 * (1 + np.cos(np.pi * (T % 50) / 50)),
    "exponential": 0.5**T,
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("every", [1, 5, 10])
def test_tails_of_smooth_schedules_are_no_drops(name: str, every: int) -> None:
    assert drops_of(Curves(T[::every], {"lr": SMOOTH[name][::every]})) == ()
    assert drops_of(Curves(T[::every], {"lr": SMOOTH[name][::every].round(4)})) == ()  # as logs write it


@pytest.mark.parametrize("every", [1, 5, 10])
def test_steps_are_drops_also_behind_a_warm_up(every: int) -> None:
    rate = np.where(T < 100, 0.1, np.where(T < 150, 0.01, 0.001))
    rate[:5] = np.linspace(0.0, 0.08, 5)
    assert drops_of(Curves(T[::every], {"lr": rate[::every]})) == (100, 150)


def test_a_drop_of_the_first_epoch_needs_a_plateau_behind_it() -> None:
    assert sudden_drops(np.array([0.1, 0.01, 0.01])).tolist() == [False, True, False]
    assert not sudden_drops(np.array([0.1, 0.01, 0.001])).any()
    assert not sudden_drops(np.array([0.1, 0.01])).any()


def test_a_log_moves_drops_of_steps_and_nothing_of_a_cosine() -> None:
    text = write_log(four(200), rng=np.random.default_rng(0), drops=(100, 150))
    assert drops_of(read_log(text)) == (100, 150)
    smooth = [f"{rate:.4f}" for rate in SMOOTH["cosine"]]
    lines = ["Epoch \t LR \t Test Robust Acc", *(f"{t} \t {rate} \t 0.4" for t, rate in enumerate(smooth))]
    curves = read_log("\n".join(lines))
    assert curves["lr"].tolist() == list(map(float, smooth))
    assert drops_of(curves) == ()
