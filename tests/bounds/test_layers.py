"""Explicit networks against dense matrices."""

import pytest
import torch
from torch import nn

from cgro._check import BadRequest
from cgro.bounds import Layer, compose, dense_layer, evaluate, side_by_side, sparse_layer, to_sequential

F64 = torch.float64


def random_layer(n_out: int, n_in: int, g: torch.Generator) -> Layer:
    """A third of its weights are zero."""
    weight = torch.randn(n_out, n_in, generator=g, dtype=F64)
    weight *= torch.rand(n_out, n_in, generator=g) > 1 / 3
    return dense_layer(weight, torch.randn(n_out, generator=g, dtype=F64))


def test_counts_of_a_layer() -> None:
    layer = dense_layer(torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]]), torch.tensor([0.0, 3.0]))
    assert (layer.n_in, layer.n_out, layer.n_nonzero, layer.n_dense) == (3, 2, 3, 8)
    assert layer(torch.ones(1, 3)).tolist() == [[3.0, 3.0]]


def test_sparse_entries_add_up_and_zeros_are_dropped() -> None:
    rows, cols = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 2])
    layer = sparse_layer(rows, cols, torch.tensor([1.0, 2.0, 0.0, 5.0]), torch.zeros(2), 3)
    assert layer.weight.to_dense().tolist() == [[0.0, 3.0, 0.0], [0.0, 0.0, 5.0]]
    assert layer.n_nonzero == 2


def test_evaluation_is_that_of_the_dense_network() -> None:
    g = torch.Generator().manual_seed(0)
    layers = [random_layer(7, 4, g), random_layer(5, 7, g), random_layer(2, 5, g)]
    x = torch.randn(9, 4, generator=g, dtype=F64)
    z = x
    for number, layer in enumerate(layers):
        z = (z.clamp_min(0) if number else z) @ layer.weight.to_dense().T + layer.bias
    torch.testing.assert_close(evaluate(layers, x), z, rtol=1e-12, atol=1e-12)
    module = to_sequential(layers)
    assert [type(m) for m in module] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    torch.testing.assert_close(module(x), z, rtol=1e-12, atol=1e-12)
    with pytest.raises(BadRequest, match="at most 10 dense entries"):
        to_sequential(layers, limit=10)


def test_composition_has_no_relu_between() -> None:
    g = torch.Generator().manual_seed(1)
    inner, outer = random_layer(6, 4, g), random_layer(3, 6, g)
    x = torch.randn(8, 4, generator=g, dtype=F64)
    torch.testing.assert_close(compose(inner, outer)(x), outer(inner(x)), rtol=1e-12, atol=1e-12)


def test_branches_of_different_depth_side_by_side() -> None:
    g = torch.Generator().manual_seed(2)
    positive = dense_layer(torch.rand(2, 3, generator=g, dtype=F64), torch.ones(2))
    deep = [random_layer(5, 3, g), random_layer(4, 5, g), random_layer(2, 4, g)]
    x = torch.rand(6, 3, generator=g, dtype=F64)
    joined = side_by_side([[positive], deep])
    assert len(joined) == 3
    expected = torch.cat([positive(x), evaluate(deep, x)], 1)
    torch.testing.assert_close(evaluate(joined, x), expected, rtol=1e-12, atol=1e-12)
