"""F by its formula, by its layers, and at the values that decide Theorem 4.4."""

import pytest
import torch

from cgro.bounds import dense_layer, evaluate, side_by_side
from cgro.representation.combination import Combination


@pytest.mark.parametrize("combination", [Combination(2, True), Combination(3, False, 64.0)])
def test_layers_and_formula_are_one_function(combination: Combination) -> None:
    g = torch.Generator().manual_seed(0)
    n_outputs = 1 if combination.binary else combination.n_classes
    c = combination.n_classes
    weight = torch.randn(n_outputs, 4 + c, generator=g, dtype=torch.float64)
    weight[:, 4:] = 0
    clean = [dense_layer(weight, torch.randn(n_outputs, generator=g))]
    memory = [dense_layer(torch.cat([torch.zeros(c, 4), torch.eye(c)], 1))]
    x = torch.randn(200, 4 + c, generator=g, dtype=torch.float64)
    x[:, 4:] = (3 * torch.rand(200, c, generator=g, dtype=torch.float64) - 1.5).clamp_min(0)
    layers = [*side_by_side([combination.branch(clean), memory]), *combination.tail()]
    outputs = clean[0](x)
    expected = combination(outputs[:, 0] if combination.binary else outputs, x[:, 4:])
    found = evaluate(layers, x)
    torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=1e-12, atol=1e-12)


def test_memory_wins_where_an_indicator_is_one_and_is_silent_where_all_are_zero() -> None:
    f = torch.tensor([-50.0, -0.3, 0.0, 0.7, 50.0], dtype=torch.float64)
    none, negative, positive = torch.zeros(5, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    scores = Combination(2, True)
    assert torch.equal(scores(f, none), f.clamp(-1, 1))
    assert torch.equal(scores(f, negative.expand(5, 2)), -torch.ones(5, dtype=torch.float64))
    assert torch.equal(scores(f, positive.expand(5, 2)), torch.ones(5, dtype=torch.float64))
    logits = torch.tensor([[3.0, -2.0, 1.0]], dtype=torch.float64)
    one_against_rest = Combination(3, False, 4.0)
    assert torch.equal(one_against_rest(logits, torch.zeros(1, 3)), logits / 4)
    assert one_against_rest(logits, torch.tensor([[0.0, 1.0, 0.0]])).tolist() == [[-1.0, 1.0, -1.0]]
