"""Boundaries under the full ball: against brute force, against the search, and against training."""

import math

import numpy as np
import pytest

from cgro.data.patches import PatchData
from cgro.dynamics import Setting, simulate
from cgro.dynamics.ball_attack import ball_of, worst_margins
from cgro.dynamics.ball_theory import (
    SIGNAL_THRESHOLD,
    clean_boundary,
    fit_boundary,
    fits,
    full_ball_plateau,
    mean_load,
    remaining,
)
from cgro.dynamics.rule import Rule


@pytest.mark.parametrize("power", [2.0, 3.0, 4.0])
@pytest.mark.parametrize("patches", [2, 3])
def test_what_remains_against_a_grid_over_all_patches(power: float, patches: int):
    """Min of phi(1 - s_1) - sum_j s_j^q over the sphere: with more patches one other is enough."""
    polar = np.linspace(0, np.pi / 2, 400)
    azimuth = np.linspace(0, np.pi / 2, 41) if patches == 3 else np.zeros(1)
    a, b = np.meshgrid(polar, azimuth)
    for x in (0.3, 0.7, 0.9, 1.3):
        left = 1 - x * np.cos(a)
        others = (x * np.sin(a) * np.cos(b)) ** power + (x * np.sin(a) * np.sin(b)) ** power
        grid = (np.sign(left) * np.abs(left) ** power - others).min()
        np.testing.assert_allclose(remaining(x, power), grid, atol=2e-4)


def test_the_signal_alone_is_robust_up_to_alpha_over_sqrt_2_whatever_q():
    for power in (2.0, 3.0, 5.0, 7.5):
        assert remaining(SIGNAL_THRESHOLD - 1e-3, power) > 0 > remaining(SIGNAL_THRESHOLD + 1e-3, power)


def test_the_plateau_balances_the_pulls_and_is_where_training_stalls():
    margin = full_ball_plateau(0.9, 0.4)
    turned = -float(remaining(0.9))
    clean = 0.6 / (1 + math.exp(margin))
    assert clean == pytest.approx(0.4 * turned / (1 + math.exp(-turned * margin)), rel=1e-9)
    assert full_ball_plateau(0.7, 0.5) == math.inf
    assert full_ball_plateau(0.9, 0.0) == math.inf
    assert full_ball_plateau(1.2, 0.5) == 0.0
    setting = Setting(PatchData(40, noise_std=0.02), n_train=6, n_filters=6, radius_ratio=0.85, adversary="l2")
    run = simulate(setting, seeds=[0], n_steps=500, n_records=5, n_test=20)
    assert run.final("signal_margin")[0] == pytest.approx(full_ball_plateau(0.85, 0.5), rel=0.03)


def brute_force_fits(radius_ratio: float, noise_ratio: float, load: float) -> bool:
    """Some kappa of a grid with a positive least margin over the angles."""
    angles = np.linspace(0, np.pi / 2, 301)
    of_signal = remaining(radius_ratio * np.cos(angles))
    of_memory = remaining(np.sin(angles) * load**0.5 / noise_ratio)
    kappas = np.geomspace(1e-4, 1e6, 1500)
    return bool(((of_signal + kappas[:, None] * of_memory).min(1) > 0).any())


def test_fits_against_a_grid_of_kappa():
    answers = set()
    for radius_ratio in (0.6, 0.75, 0.9, 0.98):
        for noise_ratio in (0.3, 0.8, 0.95, 1.3, 1.6, 2.6):
            for load in (1.0, 2.8):
                answer = fits(radius_ratio, noise_ratio, load)
                assert answer == brute_force_fits(radius_ratio, noise_ratio, load)
                answers.add(answer)
    assert answers == {True, False}
    with pytest.raises(ValueError, match="at least 1"):
        fits(0.9, 1.0, 0.5)


@pytest.mark.parametrize("radius_ratio", [0.8, 0.95])
def test_the_boundary_is_that_of_the_search_on_the_two_filters(radius_ratio: float):
    """a w* and b xi: just above the boundary some b resists the whole ball, just below none does."""
    boundary = fit_boundary(radius_ratio)
    threat = ball_of("l2", radius_ratio)
    rule = Rule(3.0, 1.0, radius_ratio, 0.5, 0.1, True, np.ones(2), False)
    for factor, expected in ((1.05, True), (0.95, False)):
        length = factor * boundary * radius_ratio
        x = np.array([[[1.0, 0.0], [0.0, length]]])
        resisted = False
        for kappa in np.geomspace(0.02, 50, 120):
            bank = np.diag([1.0, kappa ** (1 / 3) / length])
            margin = worst_margins(threat, rule, bank, x=x, y=np.ones(1), n_steps=40)
            resisted = resisted or bool(margin[0] > 0)
        assert resisted == expected


def test_load_scales_the_boundary_by_its_root_and_the_signal_alone_needs_no_memory():
    assert fit_boundary(0.9, 4.0) == pytest.approx(2 * fit_boundary(0.9))
    assert fit_boundary(0.7) == 0.0
    assert 0 < fit_boundary(0.72) < fit_boundary(0.8) < fit_boundary(0.98) < math.sqrt(2)
    assert mean_load(1, 5) == 1.0
    counts = np.random.default_rng(0).multinomial(30, np.full(16, 1 / 16), size=20_000)
    seen = (counts**2).sum(1) / 30  # the load of the filter of an example, averaged over the examples
    assert mean_load(30, 16) == pytest.approx(seen.mean(), rel=0.01)


@pytest.mark.parametrize(("n_train", "power"), [(8, 3.0), (50, 4.0)])
def test_the_race_of_signal_and_noise_is_that_of_the_equations(n_train: int, power: float):
    """z' = z^(q-1) c^2 k / N from z = 0.01 c: which of the two is at 1 first turns round at the boundary."""

    def time_to_one(length: float, share: float) -> float:
        z = 0.01 * length
        t = 0.0
        while z < 1:
            step = 1e-3 * z / (z ** (power - 1) * length**2 * share)
            z += step * z ** (power - 1) * length**2 * share
            t += step
        return t

    radius_ratio = 0.8
    boundary = clean_boundary(radius_ratio, n_train, power)
    for factor in (0.93, 1.07):
        length = factor * boundary * radius_ratio
        noise_first = time_to_one(length, 1 / n_train) < time_to_one(1.0, 1.0)
        assert noise_first == (factor > 1)
