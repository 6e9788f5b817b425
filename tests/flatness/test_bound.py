"""The bound and Proposition 6.4 where they are known: a linear score, sizes of images."""

import pytest
from tests.cases import LinearScore, points

from cgro._check import BadRequest
from cgro.flatness import first_order, flatness, gap_bound


def test_first_order_holds_for_a_linear_score_with_a_convex_loss() -> None:
    """The logistic loss of a linear score is convex in x: rise >= radius * norm, without the box."""
    model, (x, y) = LinearScore().eval(), points(30)
    found = flatness(model, x, y, [1e-3, 0.1], box=None)
    assert first_order(found, 0).ratio == pytest.approx(1, abs=5e-3)
    assert first_order(found, 1).ratio > 1.01


def test_the_bound_is_vacuous_for_images_and_says_so() -> None:
    model, (x, y) = LinearScore().eval(), points(40)
    train, test = flatness(model, x[:20], y[:20], [0.1]), flatness(model, x[20:], y[20:], [0.1])
    image = gap_bound(train, test, 0, n=60_000, dim=784)
    assert image.factor == pytest.approx(60_000 ** (-1 / 786))
    assert image.factor > 0.98
    assert image.vacuous
    assert "VACUOUS" in image.sentence
    many = gap_bound(train, test, 0, n=10**15, dim=1)
    assert not many.vacuous
    looser = gap_bound(train, test, 0, n=100, dim=4, constant=1.0, failure=0.01)
    assert looser.bound == pytest.approx(gap_bound(train, test, 0, n=100, dim=4).bound + 10 * looser.factor)


def test_the_gap_is_that_of_the_robust_losses_and_the_factor_halves_where_it_says() -> None:
    model, (x, y) = LinearScore().eval(), points(40)
    train, test = flatness(model, x[:20], y[:20], [0.05, 0.1]), flatness(model, x[20:], y[20:], [0.05, 0.1])
    found = gap_bound(train, test, 1, n=50, dim=6)
    robust = [(f.loss + f.rise[:, 1]).mean().item() for f in (train, test)]
    assert found.gap == pytest.approx(robust[1] - robust[0])
    assert found.bound == pytest.approx(50 ** (-1 / 8) * test.gradient[:, 1].mean().item())
    halved = gap_bound(train, test, 1, n=round(10**found.halving), dim=6)
    assert halved.factor == pytest.approx(found.factor / 2)


def test_bad_sizes() -> None:
    model, (x, y) = LinearScore().eval(), points(4)
    f = flatness(model, x, y, [0.1])
    for sizes in ({"n": 0, "dim": 2}, {"n": 5, "dim": 0}):
        with pytest.raises(BadRequest):
            gap_bound(f, f, 0, **sizes)
    for constants in ({"constant": -1.0}, {"failure": 0.0}, {"failure": 2.0}):
        with pytest.raises(BadRequest):
            gap_bound(f, f, 0, n=5, dim=2, **constants)


def test_a_radius_that_was_not_searched_is_refused() -> None:
    model, (x, y) = LinearScore().eval(), points(4)
    f, other = (flatness(model, x, y, radii) for radii in ([0.05, 0.1], [0.05, 0.2]))
    for k in (2, 5, -1, 0.5):
        with pytest.raises(BadRequest, match=r"k: expected an integer in \[0, 1\]"):
            gap_bound(f, f, k, n=5, dim=2)  # type: ignore[arg-type]
        with pytest.raises(BadRequest, match=r"k: expected an integer in \[0, 1\]"):
            first_order(f, k)  # type: ignore[arg-type]
    assert gap_bound(other, f, 0, n=5, dim=2).gap == pytest.approx(0, abs=1e-6)
    with pytest.raises(BadRequest, match="radii: expected 0.05, 0.1, those of the test part, got 0.05, 0.2"):
        gap_bound(other, f, 1, n=5, dim=2)
