"""Theorem 4.4, the soft indicators as layers: against the textbook construction and the structured form."""

import math

import pytest
import torch
from tests.representation.cases import VARIANTS, case, probes

from cgro.bounds import dense_layer, evaluate, sparse_layer
from cgro.representation.indicators import LAYERS, Balls
from cgro.representation.parameters import generic_count


def tree_layers(b: Balls) -> list:
    """The textbook construction: |x_j - x_ij| by two ReLUs, a tournament max(a, b) = ReLU(a - b) + ReLU(b)."""
    n, dim = b.centers.shape
    assert dim & (dim - 1) == 0, "powers of two"
    eye, flat = torch.eye(dim, dtype=torch.float64), b.centers.flatten()
    first = dense_layer(torch.cat([eye.repeat(n, 1), -eye.repeat(n, 1)]), torch.cat([-flat, flat]))
    both = torch.eye(n * dim, dtype=torch.float64)
    layers, carry = [first], torch.cat([both, both], 1)
    width = n * dim
    while width > n:
        pairs = torch.zeros(width, width, dtype=torch.float64)
        for k in range(width // 2):
            pairs[2 * k, 2 * k], pairs[2 * k, 2 * k + 1], pairs[2 * k + 1, 2 * k + 1] = 1, -1, 1
        layers.append(dense_layer(pairs @ carry))
        carry = torch.zeros(width // 2, width, dtype=torch.float64)
        for k in range(width // 2):
            carry[k, 2 * k] = carry[k, 2 * k + 1] = 1
        width //= 2
    layers.append(dense_layer(carry, torch.full((n,), -b.inner, dtype=torch.float64)))
    each = torch.arange(n)
    layers.append(sparse_layer(each, each, -1 / b.gap, torch.ones(n, dtype=torch.float64), n))
    return layers


def test_textbook_tree_has_the_same_core_and_more_parameters():
    m, x, _, g = case("inf", "box", n=6, dim=8)
    q = probes(m, x, g)
    tree, box = (evaluate(layers(m.supports.balls()), q).clamp_min(0) for layers in (tree_layers, LAYERS["box"]))
    d = torch.cdist(q, x, p=math.inf)
    expected = (1 - (d - m.supports.inner).clamp_min(0) / m.supports.gap).clamp_min(0)
    assert (tree - expected).abs().max() < 1e-9
    assert ((box > 0) <= (tree > 0)).all(), "the l_1 distance to the cube is at least the l_inf one"
    n_tree = sum(layer.n_nonzero for layer in tree_layers(m.supports.balls()))
    assert generic_count("box", 6, 8) < n_tree


@pytest.mark.parametrize("box", [(0.0, 1.0), None])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_layers_are_the_structured_form_to_the_last_digits(
    p: str, variant: str, box: tuple[float, float] | None
) -> None:
    """Without a box the inputs span more than 1, and every weight of the sawtooth must keep its float64 digits."""
    m, x, _, g = case(p, variant, seed=2, box=box)
    q = probes(m, x, g)
    layers = evaluate(LAYERS[variant](m.supports.balls()), q).clamp_min(0)
    torch.testing.assert_close(layers, m.indicators(q), rtol=0, atol=1e-11)
