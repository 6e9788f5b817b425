"""The noise that was put in is found again, also on a hump that one valley cannot follow."""

import numpy as np
import pytest
from tests.diagnosis.writers import w_shape

from cgro.diagnosis.noise import Noise, noise_of
from cgro.diagnosis.valley import valleys

HALVES, WHOLE = np.array([0, 100, 150, 200]), np.array([0, 200])


def estimate(rho: float, bounds: np.ndarray) -> Noise:
    """Median over ten curves: a fall, a rise of 5 points, and a drop that takes it back; noise of half a point."""
    found = []
    for seed in range(10):
        y = w_shape(0.05, 1.0, seed=seed, rho=rho)
        generator = np.random.default_rng(seed)
        found.append(noise_of(y, valleys(y, bounds), bounds, np.zeros(200, int), generator))
    spread = np.median([np.median(one.spread) for one in found])
    return Noise(np.array([spread]), float(np.median([one.rho for one in found])))


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_spread_and_correlation_are_found_again(rho: float) -> None:
    found = estimate(rho, HALVES)
    assert abs(found.rho - rho) < 0.15
    assert abs(found.spread[0] / 0.005 - 1) < 0.25  # at 0.5 it is 21% low: valleys follow slow noise


def test_one_valley_takes_the_hump_for_noise() -> None:
    found = estimate(0.0, WHOLE)  # planted: what the stretches are for
    assert found.rho > 0.25
    assert found.spread[0] > 1.15 * 0.005
