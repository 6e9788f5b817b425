"""Theorem 4.4, the soft indicators: where they must be 1 and where they must be 0."""

import pytest
import torch
from tests.representation.cases import VARIANTS, case, probes


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_indicator_is_one_on_the_ball_and_zero_beyond_the_ramp(p, variant):
    m, x, _, g = case(p, variant, seed=5)
    q = probes(m, x, g, n=0)
    d, ind = torch.cdist(q, x, p=m.threat.p), m.indicators(q)
    assert (ind[d <= m.supports.inner] == 1).all()
    assert (ind[d >= m.supports.reach.expand_as(d)] == 0).all()
