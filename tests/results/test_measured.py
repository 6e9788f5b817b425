"""Numbers over seeds against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cgro.results import Measured, commonest


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_mean_spread_and_interval(values: list[float]) -> None:
    measured = Measured.of(values)
    assert measured.mean == pytest.approx(np.mean(values), abs=1e-6)
    assert measured.sd == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert measured.interval == pytest.approx((np.mean(values) - half, np.mean(values) + half), rel=1e-9, abs=1e-6)


def test_seeds_without_a_number_are_left_out_and_few_have_no_spread() -> None:
    assert Measured.of([None, 2.0, None]).values == (2.0,)
    one, none = Measured.of([2.0]), Measured.of([])
    assert (one.mean, one.n) == (2.0, 1)
    assert all(map(math.isnan, (one.sd, one.t, *one.interval, none.mean, none.sd)))
    assert [m.text("%", 1) for m in (none, one)] == ["not measured", "2.0% (one seed)"]


@pytest.mark.parametrize(
    ("labels", "label", "sentence"),
    [
        (["a", "b", "a"], "a", "2 of 3 seeds: a"),
        (["b", "a"], "b", "a tie over 2 seeds: b, a, 1 each"),
        (["a"], "a", "1 of 1 seeds: a"),
    ],
)
def test_the_commonest_label_and_ties(labels: list[str], label: str, sentence: str) -> None:
    assert commonest(labels) == (label, sentence)
