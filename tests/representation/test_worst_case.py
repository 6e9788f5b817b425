"""Remark 3.5, the memorizer on the family of Theorem 4.7: every error is what it must be, to the last point."""

import math

import pytest
import torch

from cgro._check import BadRequest
from cgro.representation.lower_bound import worst_case_family
from cgro.representation.worst_case import errors_on_family, expected_unseen


@pytest.mark.parametrize("p", ["inf", "1", "2"])
def test_errors_on_the_family_are_exact(p):
    for dim in (5, 7):
        r = errors_on_family(0.2, dim, 60, p=p)
        assert r.exact
        assert r.clean_test == 0
        assert r.robust_train == 0
        assert r.robust_test == pytest.approx(1 - r.seen / r.m)
        assert abs(r.robust_test - r.expected) < 4 * math.sqrt(0.25 * 60) / r.m + 1e-9


@pytest.mark.parametrize("p", ["inf", "1", "2"])
@pytest.mark.parametrize("radius", [0.2, 0.2499, 0.3, 0.49])
def test_draws_of_one_label_have_exact_errors_too(radius, p):
    """Half of all labelings of two points have one label; the sample has no separation then, the family has one."""
    n_of_one_label = 0
    for seed in range(12):
        labels = worst_case_family(radius, 2, seed=seed).labels
        n_of_one_label += len(labels.unique()) == 1
        for n in (1, 2, 300):
            r = errors_on_family(radius, 2, n, p=p, seed=seed)
            draws = torch.randint(0, r.m, (n,), generator=torch.Generator().manual_seed(seed + 1))
            assert r.exact
            assert (r.clean_test, r.robust_train) == (0, 0)
            assert r.robust_test == pytest.approx(1 - len(draws.unique()) / r.m)
    assert n_of_one_label >= 1


def test_the_mean_over_draws_is_the_expectation_whatever_the_labels():
    errors = [errors_on_family(0.3, 2, 2, seed=seed).robust_test for seed in range(200)]
    assert expected_unseen(0.3, 2, 2) == pytest.approx(0.25)
    assert sum(errors) / 200 == pytest.approx(0.25, abs=4 * 0.25 / math.sqrt(200))


def test_bad_families():
    for dim in (1, 0, 2.5):
        for function in (lambda dim: errors_on_family(0.2, dim), lambda dim: expected_unseen(0.2, dim, 3)):
            with pytest.raises(BadRequest, match="dim: expected an integer >= 2"):
                function(dim)
    with pytest.raises(BadRequest, match="n_points: expected an integer >= 1, got 0"):
        errors_on_family(0.2, 3, 0)
