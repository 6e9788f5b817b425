"""Smoothed labels against the equation, of logits and of scores, and of which attacks."""

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, gradients, same_weights, small, toy, toy_data, toy_step, train

from cgro.data import Dataset
from cgro.training import MART, TRADES, Adversarial, LabelSmoothing, Recipe, fit


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 0.99])
def test_the_equation(smoothing: float) -> None:
    model, twin = toy(), toy()
    extension = LabelSmoothing(smoothing)
    extension.prepare(model, Recipe(), toy_data())
    step, other = toy_step(model), toy_step(twin)
    loss = extension.around(step, compute_of(step, Adversarial(ATTACK)))
    outputs = twin(other.craft())
    expected = torch.nn.functional.cross_entropy(outputs, other.y, label_smoothing=smoothing)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-6, atol=0)
    for ours, theirs in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)
    assert step.targets is None
    assert not step.attack_targets


def test_scores_have_two_classes() -> None:
    model = toy(n_outputs=1)
    scores = torch.nn.Sequential(model, torch.nn.Flatten(0))
    extension = LabelSmoothing(0.4)
    extension.prepare(scores, Recipe(), toy_data(n_outputs=1))
    step = toy_step(scores)
    step.y = 2 * (torch.arange(6) % 2) - 1
    loss = extension.around(step, compute_of(step, Adversarial(ATTACK, 0.0)))
    right = torch.nn.functional.softplus(-step.y * scores(step.x))
    wrong = torch.nn.functional.softplus(step.y * scores(step.x))
    torch.testing.assert_close(loss, (0.8 * right + 0.2 * wrong).mean().detach(), rtol=1e-6, atol=0)


def test_each_option_has_an_effect(digits: Dataset) -> None:
    recipe, models = Recipe(epochs=2, lr=0.01), [small() for _ in range(4)]
    for model, smoothing in zip(models, ([], [0.0], [0.2], [0.4]), strict=True):
        train(model, digits, recipe, evaluation=None, extensions=[LabelSmoothing(s) for s in smoothing])
    attacked, trades = small(), small()
    train(attacked, digits, recipe, evaluation=None, extensions=[LabelSmoothing(0.4, attack=True)])
    assert not same_weights(models[3], attacked)
    assert not same_weights(models[2], models[3])
    assert not same_weights(models[0], models[2])
    fit(trades, digits, TRADES(ATTACK), recipe, extensions=[LabelSmoothing(0.4)])


def test_bad_requests(digits: Dataset) -> None:
    for smoothing in (-0.1, 1.1):
        with pytest.raises(ValueError, match="label-smoothing: smoothing"):
            LabelSmoothing(smoothing)
    with pytest.raises(ValueError, match="label-smoothing: expected an objective that takes soft labels"):
        fit(small(), digits, MART(ATTACK), Recipe(epochs=1), extensions=[LabelSmoothing()])
