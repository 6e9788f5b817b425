"""The closed form of a step against autograd on the objective as it stands in the paper."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.dynamics.cases import CASES, SMALL, bank

from cgro.definitions.losses import logistic
from cgro.dynamics.rule import Rule, sigmoid
from cgro.dynamics.spaces import direct, draw, rule_of


def worst_loss_by_search(setting, network, sample):
    """max over |x - alpha| <= delta of each example's loss, on a grid that holds the end points and 0."""
    low, high = setting.strength - setting.radius, setting.strength + setting.radius
    grid = np.r_[np.linspace(low, high, 401), 0.0] if low < 0 else np.linspace(low, high, 401)
    grid = [low] if setting.adversary == "transfer" else grid
    directions = setting.data.signal_directions[sample.signal_index]
    rows = torch.arange(len(sample.y))
    with torch.no_grad():
        losses = []
        for x in grid:
            moved = sample.x.clone()
            moved[rows, sample.signal_position] = float(x) * sample.y[:, None] * directions
            losses.append(logistic(network(moved), sample.y))
        chosen = torch.stack(losses).argmax(0)
    moved = sample.x.clone()
    strengths = torch.tensor(np.asarray(grid))[chosen]
    moved[rows, sample.signal_position] = (strengths * sample.y)[:, None] * directions
    return logistic(network(moved), sample.y)


def autograd_step(setting, seed):
    """One step of gradient descent by autograd on the objective as it stands in the paper."""
    sample, network = draw(setting, seed)
    clean = logistic(network(sample.x), sample.y)
    robust = worst_loss_by_search(setting, network, sample)
    w = setting.robust_weight
    loss = ((1 - w) * clean + w * robust).mean()
    loss.backward()
    return (network.filters - setting.lr * network.filters.grad).detach().numpy(), loss.item()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(4))
def test_one_step_equals_autograd(name, seed, compiled):
    setting = replace(CASES[name], lr=0.5)
    stepped, loss = autograd_step(setting, seed)
    batch = direct(setting, [seed])
    margins = batch.rule.margins(batch.u, batch.activations(), batch.y, batch.group)
    assert batch.rule.loss(*margins)[0] == pytest.approx(loss, rel=1e-13)
    batch.advance(1, compiled=compiled)
    moved = np.abs(stepped - draw(setting, seed)[1].filters.detach().numpy()).max()
    assert np.abs(bank(batch)[0] - stepped).max() < 1e-12 * moved


def test_the_comparison_sees_a_wrong_worst_case():
    """Planted fault: the wrong end of the interval changes the step far above the tolerance."""
    setting = replace(CASES["odd, delta > alpha"], lr=0.5)
    stepped, _ = autograd_step(setting, 0)
    batch = direct(replace(setting, radius_ratio=setting.radius_ratio - 1e-6), [0])
    batch.advance(1, compiled=False)
    assert np.abs(bank(batch)[0] - stepped).max() > 1e-9


def test_margins_by_enumeration():
    """One filter, one example, numbers by hand: u = 0.5, alpha = 2, delta = 3, z = -1, q = 2, y = -1."""
    rule = Rule(power=2, strength=2, radius=3, robust_weight=0.5, lr=1, odd=True, signs=np.ones(1), transfer=False)
    u, z, y, group = np.array([[[0.5]]]), np.array([[[-1.0]]]), np.array([[-1.0]]), np.array([[0]])
    clean, robust = rule.margins(u, z, y, group)
    assert clean[0, 0] == 4 * 0.25 + 1
    assert robust[0, 0] == -1 * 0.25 + 1


@pytest.mark.parametrize("name", CASES)
def test_the_worst_strength_is_that_of_a_grid(name):
    """The margin of the signal patch written out by filters, least over strengths that hold both ends and 0."""
    setting = CASES[name]
    rule = rule_of(setting)
    u = 0.3 * np.random.default_rng(1).standard_normal((20, setting.n_filters))
    low, high = setting.strength - setting.radius, setting.strength + setting.radius
    grid = np.linspace(low, high, 2001)
    if setting.adversary == "transfer":
        grid = np.array([low])
    elif low < 0 < high:
        grid = np.append(grid, 0.0)

    def score(z):
        if setting.activation == "odd":
            return (np.sign(z) * np.abs(z) ** setting.activation_power).sum(-1)
        return (rule.signs * np.maximum(z, 0) ** setting.activation_power).sum(-1)

    for column, y in enumerate((1.0, -1.0)):
        least = (y * score(grid[:, None, None] * y * u)).min(0)
        signal = rule.class_signal(u)
        found = rule.signal_margin(rule.worst_strength(signal), signal)[:, column]
        np.testing.assert_allclose(found, least, rtol=1e-9, atol=1e-12)


def test_sigmoid_keeps_its_relative_precision_in_the_tail():
    t = np.array([-700.0, -30.0, 0.0, 2.0, 700.0])
    expected = [np.exp(-700.0), np.exp(-30.0) / (1 + np.exp(-30.0)), 0.5, 1 / (1 + np.exp(-2.0)), 1.0]
    np.testing.assert_allclose(sigmoid(t), expected, rtol=1e-13)


def test_the_loss_of_large_margins_is_not_rounded_away():
    rule = rule_of(replace(SMALL, robust_weight=0.25))
    loss = rule.loss(np.array([40.0, 40.0]), np.array([-3.0, 60.0]))
    expected = 0.75 * np.exp(-40.0) + 0.25 * (np.log1p(np.exp(3.0)) + np.exp(-60.0)) / 2
    assert loss == pytest.approx(expected, rel=1e-12)
