"""The statistics of a rise: the valley against brute force, and no rise where there is none."""

import numpy as np
from tests.diagnosis.writers import learning_curve

from cgro.diagnosis import rise_of
from cgro.diagnosis.rise import valley


def brute_valley(y: np.ndarray) -> float:
    """Smallest squared error of a fall-then-rise curve, by pooling every block by hand."""

    def falling(v: np.ndarray) -> float:
        blocks = [[x] for x in v]
        k = 0
        while k < len(blocks) - 1:
            if np.mean(blocks[k]) < np.mean(blocks[k + 1]):
                blocks[k : k + 2] = [blocks[k] + blocks[k + 1]]
                k = max(0, k - 1)
            else:
                k += 1
        return sum(float(((np.array(b) - np.mean(b)) ** 2).sum()) for b in blocks)

    return min(falling(y[:k]) + falling(y[k:][::-1]) for k in range(1, len(y) + 1))


def test_valley_is_the_least_squares_fall_and_rise() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = rng.standard_normal(9)
        assert np.isclose(((y - valley(y)) ** 2).sum(), brute_valley(y))


def test_flat_noise_is_no_rise_though_last_minus_minimum_is_positive() -> None:
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(40):
        y, _ = learning_curve(100, 50, 0.0, sd=0.005, rho=0.3, rng=rng)
        rise = rise_of(np.arange(100.0), y, rng, n_boot=199)
        assert rise.naive > 0
        alarms += rise.p_value <= 0.01
    assert alarms <= 2
