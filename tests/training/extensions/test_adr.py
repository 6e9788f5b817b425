"""ADR against the authors' rectified labels written out, its schedules, its teacher, and each option."""

import math

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, gradients, same_weights, small, toy, toy_data, toy_step, train

from cgro.data import Dataset
from cgro.definitions import PGD, SoftTargets
from cgro.training import ADR, EMA, Adversarial, Cost, Recipe


def test_rectified_labels_by_hand() -> None:
    outputs = torch.tensor([[2.0, 0.0, -1.0], [0.0, 5.0, 0.0]], dtype=torch.float64)
    labels = torch.eye(3, dtype=torch.float64)[[0, 0]]
    adr = ADR(hot=3.0, cold=1.0, low=0.5, high=0.9)
    found = adr.rectified(outputs, labels, 0.25)
    temperature = 1 + (3 - 1) * (1 + math.cos(math.pi / 4)) / 2
    share = 0.9 + (0.5 - 0.9) * (1 + math.cos(math.pi / 4)) / 2
    for row in range(2):
        p = (outputs[row] / temperature).exp()
        p = p / p.sum()
        a = min(1.0, max(0.0, share - float(p.max() - p[0])))
        torch.testing.assert_close(found[row], a * p + (1 - a) * labels[row], rtol=1e-12, atol=0)
    assert float(found[0].argmax()) == 0
    torch.testing.assert_close(found.sum(1), torch.ones(2, dtype=torch.float64))


def test_a_step_takes_them_in_loss_and_attack() -> None:
    model, twin = toy(), toy()
    adr = ADR()
    adr.prepare(model, Recipe(), toy_data())
    adr.begin(model)
    step, other = toy_step(model, progress=0.5), toy_step(twin, progress=0.5)
    adr.around(step, compute_of(step, Adversarial(ATTACK)))
    targets = adr.rectified(twin.eval()(other.x).detach(), torch.eye(3)[other.y], 0.5)
    attack = PGD(ATTACK.threat, n_steps=ATTACK.n_steps, keep="last", loss=SoftTargets(targets))
    x_adv = attack(twin, other.x, other.y, generator=other.streams("attack"))
    torch.nn.functional.cross_entropy(twin.train()(x_adv), targets).backward()
    for ours, theirs in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_the_teacher_is_the_moving_average(digits: Dataset) -> None:
    model, ema, adr = small(), EMA(0.9), ADR(decay=0.9)
    train(model, digits, Recipe(epochs=2, batch_size=20), extensions=[adr, ema], evaluation=None)
    average = ema.evaluated_model(model).state_dict()
    assert all(torch.equal(value, average[key]) for key, value in adr.state().items())
    assert adr.evaluated_model(model) is model


def test_each_option_has_an_effect(digits: Dataset) -> None:
    recipe, models = Recipe(epochs=3, lr=0.01, batch_size=20), []
    for options in ({}, {"hot": 3.0}, {"cold": 0.5}, {"low": 0.5}, {"high": 0.8}, {"decay": 0.5}):
        model = small()
        train(model, digits, recipe, extensions=[ADR(**options)], evaluation=None)
        models.append(model)
    assert all(not same_weights(models[0], model) for model in models[1:])
    plain, labels = small(), small()
    train(plain, digits, recipe, evaluation=None, attack=PGD(ATTACK.threat, n_steps=2, keep="last"))
    train(labels, digits, recipe, evaluation=None, extensions=[ADR(low=0.0, high=0.0)])
    for p, q in zip(plain.parameters(), labels.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)  # with lambda = 0 they are the labels


def test_it_costs_a_clean_pass() -> None:
    assert ADR().cost(Cost(n_updates=1)) == Cost(n_forward=1, n_updates=1)


def test_bad_requests() -> None:
    for options in ({"hot": 0.0}, {"cold": -1.0}, {"low": 1.5}, {"high": -0.1}, {"decay": 2.0}):
        with pytest.raises(ValueError, match="adr: "):
            ADR(**options)
