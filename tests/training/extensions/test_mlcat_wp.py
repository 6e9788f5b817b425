"""MLCAT-WP against the authors' loop written out on a copy of the network."""

import copy

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, gradients, same_weights, small, toy, toy_data, toy_step, train
from torch import nn

from cgro.data import Dataset
from cgro.training import MLCATWP, Adversarial, Cost, Recipe


def test_the_loop_of_the_authors() -> None:
    """Proxies, differences of weights by SGD with rate 0.01, one norm over all layers, as their code has it."""
    model, twin = toy(), toy()
    step = toy_step(model)
    MLCATWP(gamma=0.2, l_min=1.2, n_steps=4).around(step, compute_of(step, Adversarial(ATTACK)))
    other = toy_step(twin)
    x_adv, total = other.craft(), [torch.zeros_like(twin[k].weight) for k in (1, 4)]
    loss = nn.CrossEntropyLoss(reduction="none")
    scaled = total
    for _ in range(4):
        proxy = copy.deepcopy(twin)
        with torch.no_grad():
            for k, v in zip((1, 4), scaled, strict=True):
                proxy[k].weight += 0.2 * v
        losses = loss(proxy(x_adv), other.y)
        (losses * (losses < 1.2)).mean().backward()
        total = [t + 0.01 * proxy[k].weight.grad for t, k in zip(total, (1, 4), strict=True)]
        norm = torch.cat([twin[k].weight.flatten() for k in (1, 4)]).norm().detach()
        scaled = [norm * t / torch.cat([u.flatten() for u in total]).norm() for t in total]
    with torch.no_grad():
        for k, v in zip((1, 4), scaled, strict=True):
            twin[k].weight += 0.2 * v
    loss(twin(x_adv), other.y).mean().backward()
    for ours, theirs in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_weights_are_given_back_and_batchnorm_sees_the_last_pass_alone() -> None:
    model = toy()
    before = copy.deepcopy(dict(model.named_parameters()))
    step = toy_step(model)
    MLCATWP(0.3, 1.2, 3).around(step, compute_of(step, Adversarial(ATTACK)))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert int(model[2].num_batches_tracked) == 1
    assert step.reweigh == []


def test_without_small_losses_nothing_moves(digits: Dataset) -> None:
    plain, none, some, more, other = (small() for _ in range(5))
    recipe = Recipe(epochs=2, lr=0.01)
    train(plain, digits, recipe, evaluation=None)
    for model, wp in ((none, MLCATWP(0.1, 0.0)), (some, MLCATWP(0.1, 3.0)), (more, MLCATWP(0.2, 3.0))):
        train(model, digits, recipe, evaluation=None, extensions=[wp])
    train(other, digits, recipe, evaluation=None, extensions=[MLCATWP(0.1, 3.0, n_steps=2)])
    assert same_weights(plain, none)
    assert not same_weights(plain, some)
    assert not same_weights(some, more)
    assert not same_weights(some, other)


def test_it_costs_a_pass_for_each_step() -> None:
    assert MLCATWP(n_steps=3).cost(Cost(n_updates=2)) == Cost(n_updates=8)


def test_bad_requests() -> None:
    for options in ({"gamma": -1.0}, {"l_min": -1.0}, {"n_steps": 0}):
        with pytest.raises(ValueError, match="mlcat-wp: "):
            MLCATWP(**options)
    with pytest.raises(ValueError, match="mlcat-wp: expected a network with trainable weights"):
        MLCATWP().prepare(nn.Identity(), Recipe(), toy_data())
