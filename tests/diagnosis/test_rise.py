"""The statistics of a rise: no rise where there is none, and rises by phase."""

import numpy as np
from tests.diagnosis.writers import learning_curve, w_shape

from cgro.diagnosis import rise_of
from cgro.diagnosis.rise import rises_of


def test_flat_noise_is_no_rise_though_last_minus_minimum_is_positive() -> None:
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(40):
        y, _ = learning_curve(100, 50, 0.0, sd=0.005, rho=0.3, rng=rng)
        rise = rise_of(np.arange(100.0), y, rng, n_boot=199)
        assert rise.naive > 0
        alarms += rise.p_value <= 0.01
    assert alarms <= 2


T = np.arange(200)
RATE = np.where(T < 100, 0.1, np.where(T < 150, 0.01, 0.001))


def test_a_rise_that_the_second_drop_took_back_is_found_in_its_phase() -> None:
    for seed in range(5):
        y = w_shape(0.03, 1.0, seed=seed)
        whole, phases = rises_of(T * 1.0, y, np.random.default_rng(seed), lr=RATE, n_boot=199)
        assert whole.p_value > 0.01
        assert [one.rise.p_value <= 0.01 for one in phases] == [False, True, False]
        risen = phases[1]
        assert risen.rise.interval[0] <= 0.03 <= risen.rise.interval[1]
        assert (risen.drop, phases[0].drop, phases[2].drop) == (150, 100, None)
        assert risen.after is not None
        assert abs(risen.after - risen.rise.final + 0.026) < 0.008  # what is left after one epoch is 0.37 of it
        blind = rises_of(T * 1.0, y, np.random.default_rng(seed), n_boot=199)  # planted: the schedule is not known
        assert blind[0].p_value > 0.01
        assert blind[1] == ()
        assert blind[0].rho > whole.rho + 0.1  # one valley takes the hump for noise


def test_a_rise_of_which_half_is_left_is_no_longer_drowned_in_the_misfit() -> None:
    found = []
    for seed in range(5):
        y = w_shape(0.05, 0.5, seed=seed)
        for rate in (RATE, None):
            whole, _ = rises_of(T * 1.0, y, np.random.default_rng(seed), lr=rate, n_boot=199)
            found.append((rate is not None, whole.p_value <= 0.01))
    assert sum(seen for known, seen in found if known) == 5
    assert sum(seen for known, seen in found if not known) < 5


def test_phases_raise_no_more_false_alarms_than_one_question() -> None:
    alarms = 0
    for seed in range(40):
        y = w_shape(0.0, 0.0, seed=seed, rho=0.3)
        whole, phases = rises_of(T * 1.0, y, np.random.default_rng(seed), lr=RATE, n_boot=199)
        alarms += any(one.p_value <= 0.01 for one in (whole, *(phase.rise for phase in phases)))
    assert alarms <= 3  # the chance of more is 0.1% at 1%


def test_strongly_correlated_epochs_are_not_asked_by_phase() -> None:
    y = w_shape(0.03, 1.0, seed=1, rho=0.9)
    whole, phases = rises_of(T * 1.0, y, np.random.default_rng(0), lr=RATE, n_boot=99)
    assert phases == ()
    assert whole.rho > 0.5


def test_without_drops_the_answer_is_that_of_the_whole_bit_for_bit() -> None:
    y = w_shape(0.03, 0.0, seed=0)
    level = np.full(200, 0.1)
    a, none = rises_of(T * 1.0, y, np.random.default_rng(3), lr=level, n_boot=99)
    b = rise_of(T * 1.0, y, np.random.default_rng(3), n_boot=99)
    assert none == ()
    assert (a.size, a.p_value, a.interval, a.onset) == (b.size, b.p_value, b.interval, b.onset)


def test_what_is_seen_of_rises_depends_on_how_far_apart_evaluations_lie() -> None:
    """From four epochs on the lowest one lies between two of them: 2 in place of 1.3 times the least rise."""
    y, _ = learning_curve(60, 30, 0.05, sd=0.005, rho=0.0, rng=np.random.default_rng(1))
    visible = {}
    for apart in (1, 3, 4, 10):
        rise = rise_of(np.arange(60.0) * apart, y, np.random.default_rng(2), n_boot=99)
        assert rise.rho == 0
        visible[apart] = rise.visible
    assert visible[1] == visible[3]
    assert visible[4] == visible[10]
    assert np.isclose(visible[4] / visible[3], 2 / 1.3)


def test_what_follows_a_drop_is_the_mean_of_five_epochs() -> None:
    y = w_shape(0.03, 1.0, seed=0)
    _, phases = rises_of(T * 1.0, y, np.random.default_rng(0), lr=RATE, n_boot=19)
    assert [phase.after for phase in phases] == [float(y[100:105].mean()), float(y[150:155].mean()), None]


def test_the_least_and_the_largest_p_value_are_those_of_a_rank() -> None:
    """Of B curves p is between 1 / (1 + B) and 1; at exactly 0.05 the interval of a clear rise stays above 0."""
    clear, _ = learning_curve(60, 30, 0.2, sd=0.002, rho=0.0, rng=np.random.default_rng(0))
    rise = rise_of(np.arange(60.0), clear, np.random.default_rng(1), n_boot=19)
    assert rise.p_value == 0.05
    assert rise.interval[0] > 0
    whole, phases = [], []
    for seed in range(40):
        of_whole, of_phases = rises_of(
            T * 1.0, w_shape(0.0, 0.0, seed=seed), np.random.default_rng(seed), lr=RATE, n_boot=9
        )
        whole.append(of_whole.p_value)
        phases += [phase.rise.p_value for phase in of_phases]
    assert max(whole) == max(phases) == 1.0
    assert min(whole) >= 0.1
    assert min(phases) >= 0.1
