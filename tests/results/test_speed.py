"""Quartiles and ratios: by hand, against numpy, and within repetitions."""

import numpy as np
import pytest

from cgro.results import Spread


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
def test_quartiles_are_those_of_numpy(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    spread = Spread.over(values.tolist())
    assert [spread.low, spread.median, spread.high] == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75]).tolist())


def test_a_ratio_is_taken_within_repetitions() -> None:
    """A machine that is slowed tenfold in one repetition changes no ratio; medians apart would give 3 / 1."""
    ratio = Spread.of_ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.5])
    assert (ratio.low, ratio.median, ratio.high) == (2.0, 2.0, 2.0)


def test_of_unequal_numbers_there_is_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Spread.of_ratio([1.0, 2.0], [1.0])
