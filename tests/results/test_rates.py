"""Error rates: Wilson's interval against scipy, Newcombe's difference against his table, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from cgro._check import BadRequest
from cgro.results import ErrorRate, difference_interval


@given(st.integers(1, 5000), st.data())
def test_the_interval_is_wilsons(n: int, data: st.DataObject) -> None:
    error = ErrorRate(data.draw(st.integers(0, n)), n)
    theirs = binomtest(error.wrong, n).proportion_ci(0.95, method="wilson")
    assert error.interval == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert error.interval[0] <= error.value <= error.interval[1]
    assert float(error) == error.value


@pytest.mark.parametrize(
    ("a", "b", "interval"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),  # Newcombe (1998), Table II, method 10, cases (a), (b), (d)
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
    ],
)
def test_the_interval_of_a_difference_is_newcombes(
    a: tuple[int, int], b: tuple[int, int], interval: tuple[float, float]
) -> None:
    assert difference_interval(ErrorRate(*a), ErrorRate(*b)) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize(("wrong", "n", "bound"), [(3, 2, "exact"), (-1, 2, "exact"), (0, 0, "exact"), (1, 2, "about")])
def test_what_is_no_error_rate_is_refused(wrong: int, n: int, bound: str) -> None:
    with pytest.raises(BadRequest):
        ErrorRate(wrong, n, bound)  # type: ignore[arg-type]


def test_its_entry_in_a_summary_names_the_attack() -> None:
    entry = ErrorRate(1, 4, "lower").to_dict("pgd20")
    assert (entry["wrong"], entry["n"], entry["value"], entry["attack"]) == (1, 4, 0.25, "'pgd20'")
    assert ErrorRate(1, 4).to_dict()["attack"] is None
