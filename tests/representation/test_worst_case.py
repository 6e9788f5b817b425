"""Remark 3.5, the memorizer on the family of Theorem 4.7: every error is what it must be, to the last point."""

import math

import pytest

from cgro.representation.worst_case import errors_on_family


@pytest.mark.parametrize("p", ["inf", "1", "2"])
def test_errors_on_the_family_are_exact(p):
    for dim in (5, 7):
        r = errors_on_family(0.2, dim, 60, p=p)
        assert r.exact
        assert r.clean_test == 0
        assert r.robust_train == 0
        assert r.robust_test == pytest.approx(1 - r.seen / r.m)
        assert abs(r.robust_test - r.expected) < 4 * math.sqrt(0.25 * 60) / r.m + 1e-9
