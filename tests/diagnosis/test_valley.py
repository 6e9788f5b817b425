"""Falls and rises by least squares, against brute force."""

import numpy as np

from cgro.diagnosis.valley import valley, valleys


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


def test_each_stretch_has_the_valley_that_it_has_alone() -> None:
    y = np.random.default_rng(1).standard_normal(30)
    found = valleys(y, np.array([0, 7, 18, 30]))
    assert np.array_equal(found, np.concatenate([valley(y[:7]), valley(y[7:18]), valley(y[18:])]))
