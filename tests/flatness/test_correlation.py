"""Rank correlation against scipy, and intervals that respect dependence."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from cgro._check import BadRequest
from cgro.flatness import rank_correlation, spearman


@pytest.mark.parametrize("n", [3, 10, 57])
@pytest.mark.parametrize("digits", [0, 8])
def test_spearman_is_that_of_scipy(n: int, digits: int) -> None:
    """Digits 0 gives many ties."""
    a, b = np.random.default_rng(n).standard_normal((2, n)).round(digits)
    assert spearman(a, a + b) == pytest.approx(spearmanr(a, a + b).statistic, abs=1e-12)
    assert spearman(a, -np.exp(a)) == -1.0


def test_the_interval_is_that_of_a_bootstrap_written_out() -> None:
    rng = np.random.default_rng(5)
    a = rng.standard_normal((3, 10)).cumsum(1)
    b = a + rng.standard_normal((3, 10))
    found = rank_correlation(a, b, np.random.default_rng(0), block=4, n_draws=50)
    draws, g = [], np.random.default_rng(0)
    for _ in range(50):
        starts = g.integers(7, size=(3, 3, 1))
        chosen = g.integers(3, size=3)
        points: list[tuple[float, float]] = []
        for row, seed in enumerate(chosen):
            columns = [s + k for s in starts[row, :, 0] for k in range(4)][:10]
            points += [(a[seed, c], b[seed, c]) for c in columns]
        draws.append(spearmanr(*zip(*points, strict=True)).statistic)
    assert found.interval == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=1e-11)
    assert found.per_seed == pytest.approx([spearmanr(u, v).statistic for u, v in zip(a, b, strict=True)], abs=1e-12)
    assert (found.n_seeds, found.n_checkpoints, found.block) == (3, 10, 4)
    assert found.to_dict()["interval"] == list(found.interval)


def test_blocks_make_the_interval_of_slow_curves_wider() -> None:
    """Two independent random walks: points look correlated; an interval over points would exclude 0 too often."""
    g = np.random.default_rng(0)
    covered = {1: 0, 8: 0}
    for _ in range(40):
        a, b = g.normal(size=(2, 4, 24)).cumsum(2)
        for block in covered:
            low, high = rank_correlation(a, b, np.random.default_rng(1), block=block, n_draws=200).interval
            covered[block] += low <= 0 <= high
    assert covered[8] >= covered[1]
    assert covered[8] >= 25
    a, b = g.normal(size=(2, 4, 24))
    narrow, wide = (rank_correlation(a[None, 0], a[None, 0] + s * b[None, 0], g) for s in (0.1, 5.0))
    assert narrow.value > wide.value
    assert narrow.interval[0] > 0.5


@pytest.mark.parametrize(
    "pair",
    [
        (np.zeros((1, 2)),) * 2,
        (np.arange(3.0)[:, None],) * 2,  # three seeds of one checkpoint, of which the interval was (1, 1)
        (np.zeros((4, 2)),) * 2,
        (np.zeros((0, 5)),) * 2,
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.full((1, 4), np.nan),) * 2,
        (np.array([[1.0, 2.0, math.inf]]),) * 2,
        (["a", "b", "c"],) * 2,
    ],
)
def test_bad_checkpoints(pair: tuple) -> None:
    with pytest.raises(BadRequest, match="checkpoints"):
        rank_correlation(*pair, np.random.default_rng(0))


def test_constant_sides_have_no_correlation() -> None:
    found = rank_correlation(np.ones((1, 5)), np.arange(5.0)[None], np.random.default_rng(0))
    assert math.isnan(found.value)
    assert found.interval is None
    assert found.to_dict()["interval"] is None


def test_no_draws_are_refused() -> None:
    with pytest.raises(BadRequest, match="n_draws: expected an integer >= 1, got 0"):
        rank_correlation(np.arange(4.0), np.arange(4.0), np.random.default_rng(0), n_draws=0)


@pytest.mark.parametrize(
    "pair", [([1, 2], [1, 2, 3]), ([1, 2, math.nan], [1, 2, 3]), ([[1, 2]], [[1, 2]]), ("ab", "cd")]
)
def test_bad_values(pair: tuple) -> None:
    with pytest.raises(BadRequest, match="values: expected"):
        spearman(*pair)


def test_lists_are_taken_and_inf_is_largest() -> None:
    assert spearman([1, 2, 3], [1, 8, 27]) == 1.0
    assert spearman([1, 2, math.inf], [1, 8, 27]) == 1.0
    assert math.isnan(spearman([], []))
