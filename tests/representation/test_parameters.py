"""Theorem 4.4, O~(N D) parameters: the formulas against the non-zeros of the layers."""

import pytest
import torch
from tests.representation.cases import VARIANTS, case

from cgro.definitions import ThreatModel
from cgro.models import build
from cgro.representation import RobustMemorizer, separation
from cgro.representation.indicators import LAYERS
from cgro.representation.parameters import generic_count


def test_formula_equals_the_measured_non_zeros_in_a_hundred_cases_and_more():
    n_cases = 0
    for seed in range(9):
        for p, variant in VARIANTS:
            for n_classes in (1, 3):
                for box in ((0.0, 1.0), None):
                    m, *_ = case(
                        p, variant, n=4 + 3 * seed, dim=2 + (5 * seed) % 11, n_classes=n_classes, seed=seed, box=box
                    )
                    count = m.parameters_of()
                    assert count.total == count.formula, (p, variant, n_classes, box, seed)
                    n_cases += 1
    assert n_cases >= 100


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_formula_predicts_the_zeros_of_pixels(p, variant):
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (10, 40), generator=g) * (torch.rand(10, 40, generator=g) < 0.3)
    y = torch.arange(10) % 2 * 2 - 1
    radius = 0.3 * separation(x.to(torch.uint8), y, p).value
    m = RobustMemorizer(build("mlp", (40,), 1).eval(), x.to(torch.uint8), y, ThreatModel(p, radius), variant=variant)
    count = m.parameters_of()
    assert count.total == count.formula
    if variant in ("lean", "shared"):
        branch = sum(a.n_nonzero for a in LAYERS[variant](m.supports.balls()))
        assert branch == count.generic - int((x == 0).sum())


def test_shared_has_no_logarithm_on_nd():
    one, more = (generic_count("shared", n, 784, 9) for n in (1000, 100_000))
    assert more - one == 99_000 * (784 + 4)
