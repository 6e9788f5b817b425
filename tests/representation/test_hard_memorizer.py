"""Lemma 4.5's hard indicators against the network, and where they leave no robust error."""

import pytest
import torch
from tests.representation.cases import VARIANTS, case, probes

from cgro.definitions import PGD, margin
from cgro.representation import HardMemorizer


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_outside_the_shells_it_answers_as_the_lemma_does(p, variant, n_classes):
    m, x, _, g = case(p, variant, n_classes=n_classes, seed=3)
    q = probes(m, x, g)
    d = torch.cdist(q, x, p=m.threat.p)
    shell = ((d > m.supports.inner) & (d < m.supports.reach)).any(1)
    hard, soft = HardMemorizer(m, m.supports.inner)(q), m(q)
    same = hard.sign() == soft.sign() if n_classes == 1 else hard.argmax(1) == soft.argmax(1)
    assert same[~shell].all()
    assert shell.any()
    assert (d < m.supports.inner).any()


def test_covered_support_makes_f_s_robust_instead():
    """Item 7: on points that S covers, f_S has no robust error left."""
    m, x, y, _ = case("2", "shared")
    hard = HardMemorizer(m)
    x_adv = PGD(m.threat, n_steps=5)(m.clean_model, x, y)
    inside = m.threat.distance(x_adv, x) <= m.threat.radius
    assert (margin(hard(x_adv), y)[inside] > 0).all()
