"""Which weights are perturbed, that they are given back, and that passes can leave BatchNorm's averages alone."""

import pytest
import torch
from tests.training.cases import toy, toy_step
from torch import nn

from cgro.training.weight_changes import (
    given_back,
    gradients_of,
    joint_norm,
    layers_of,
    move,
    require_layers,
    without_statistics,
)


def test_the_weights_of_more_than_one_dimension() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    model[2].requires_grad_(False)
    assert list(layers_of(model)) == ["0.weight"]
    with pytest.raises(ValueError, match="it: expected a network with trainable weights"):
        require_layers(model[1], "it")


def test_they_are_moved_and_given_back_to_the_bit() -> None:
    layers = layers_of(toy())
    before = {name: weight.detach().clone() for name, weight in layers.items()}

    def fail() -> None:
        with given_back(layers) as kept:
            move(layers, kept, {name: torch.ones_like(weight) for name, weight in kept.items()})
            assert all(torch.equal(layers[name], before[name] + 1) for name in layers)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(torch.equal(layers[name], before[name]) for name in layers)


def test_gradients_that_are_missing_are_zero() -> None:
    layers = layers_of(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)))
    layers["0.weight"].sum().backward()
    found = gradients_of(layers)
    assert [float(g) for g in found.values()] == [1.0, 0.0]
    assert float(joint_norm({"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])})) == 5.0


def test_averages_of_batchnorm_are_left_alone_and_gradients_are_right() -> None:
    """Two passes before one backward pass, as TRADES makes them."""
    model, twin = toy(), toy()
    step, other = toy_step(model), toy_step(twin)
    before = [buffer.clone() for buffer in model.buffers()]
    with without_statistics(step):
        (step.model(step.x) - step.model(step.x / 2)).square().sum().backward()
    (other.model(other.x) - other.model(other.x / 2)).square().sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
    assert not torch.equal(twin[2].running_mean, model[2].running_mean)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)
    with without_statistics(step, off=False):
        step.model(step.x)
    assert not torch.equal(before[0], model[2].running_mean)
