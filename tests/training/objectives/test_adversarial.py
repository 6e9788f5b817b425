"""The mixed objective: one step by hand, and which terms are computed."""

import pytest
import torch
from tests.training.cases import ATTACK, small, train
from torch import nn

from cgro.data import Dataset
from cgro.definitions import NoAttack
from cgro.definitions.draws import Draws
from cgro.training import Adversarial, Recipe, Step
from cgro.training.step import derive_seed


def test_one_step_of_gradient_descent_by_hand(digits: Dataset) -> None:
    """robust_weight 0.3, one full batch, plain SGD: weights must equal theta - lr * gradient of the mixed objective."""
    model, twin = small(), small()
    recipe = Recipe(epochs=1, batch_size=60, optimizer="sgd", lr=0.1, momentum=0.0)
    x, y = digits.train.x, digits.train.y
    order = torch.randperm(60, generator=torch.Generator().manual_seed(derive_seed(0, "order", 0)))
    draws = Draws.of(0, "attack in epoch 0", digits.train.index[order])
    x_adv = ATTACK(twin.eval(), x[order], y[order], generator=draws)
    loss = nn.functional.cross_entropy
    (0.7 * loss(twin(x[order]), y[order]) + 0.3 * loss(twin(x_adv), y[order])).backward()
    train(model, digits, recipe, weight=0.3)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q - 0.1 * q.grad, atol=1e-6, rtol=1e-5)


def test_terms_without_weight_are_not_computed() -> None:
    calls = []

    def model(v: torch.Tensor) -> torch.Tensor:
        calls.append(v)
        return v

    x, y = torch.rand(2, 3), torch.tensor([0, 1])
    for weight, n in ((0.0, 1), (1.0, 1), (0.5, 2)):
        calls.clear()
        step = Step(model, x, y, nn.Identity(), lambda purpose: Draws.of(0, purpose, torch.arange(2)))
        assert Adversarial(ATTACK, weight)(step).shape == (2,)
        assert len(calls) == n


def test_standard_training_is_the_same_code_path(digits: Dataset) -> None:
    a, b = small(), small()
    train(a, digits, Recipe(epochs=2), weight=0.0)
    train(b, digits, Recipe(epochs=2), attack=NoAttack())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_bad_requests() -> None:
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="robust_weight"):
            Adversarial(ATTACK, weight)
    with pytest.raises(ValueError, match="attack_by_name"):
        Adversarial("pgd10")
