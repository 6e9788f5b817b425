"""The clean model: the loop from which the stored results of `cgro memorize` were made, written out."""

import pytest
import torch
from tests.training.cases import same_weights
from torch import Tensor, nn

from cgro.data import load
from cgro.definitions import PGD, ThreatModel, clean_error, default_loss, robust_error
from cgro.models import build
from cgro.training import train_clean_model

THREAT = ThreatModel("inf", 0.05)


def as_before(model: nn.Module, x: Tensor, y: Tensor, seed: int, threat: ThreatModel | None, epochs: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            inputs, labels = x[rows], y[rows]
            if threat is not None:
                radius = threat.radius * min(1.0, (epoch + 1) / max(1, epochs // 3))
                inputs = PGD(threat.at(radius), n_steps=7)(model.eval(), inputs, labels, generator=generator)
            optimizer.zero_grad()
            default_loss(model.train()(inputs), labels).mean().backward()
            optimizer.step()
    return model


@pytest.mark.parametrize("classes", ["3,8", None])
@pytest.mark.parametrize("threat", [None, THREAT])
def test_the_bits_are_those_of_the_loop_before(classes: str | None, threat: ThreatModel | None) -> None:
    data = load("digits", classes=classes, n_train=100, n_test=10)
    x, y = data.train.x, data.train.y
    model, twin = (build("mlp", data.shape, data.n_outputs, seed=1) for _ in range(2))
    found = train_clean_model(model, x, y, seed=3, threat=threat, epochs=4)
    assert found is model
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(module.training for module in model.modules())
    assert same_weights(model, as_before(twin, x, y, 3, threat, 4))


def test_its_accuracy_is_that_which_is_claimed() -> None:
    """97% on 3 against 8 is said of mnist5k; digits are easier."""
    data = load("digits", classes="3,8")
    model = build("mlp", data.shape, data.n_outputs)
    train_clean_model(model, data.train.x, data.train.y)
    assert clean_error(model, data.test.x, data.test.y).value < 0.05


def test_training_is_set_by_the_seed_and_leaves_the_network_ready() -> None:
    data = load("digits", classes="3,8")
    x, y = data.train.x, data.train.y

    def trained(seed: int) -> nn.Module:
        return train_clean_model(build("mlp", data.shape, 1, width=64), x, y, seed=seed, epochs=12)

    first = trained(0)
    assert not first.training
    assert not any(p.requires_grad for p in first.parameters())
    assert float((first(x) * y > 0).double().mean()) > 0.9
    assert same_weights(first, trained(0))
    assert not same_weights(first, trained(1))


def test_training_against_an_attack_is_more_robust() -> None:
    data = load("digits", classes="3,8", n_train=150)
    x, y, threat = data.train.x, data.train.y, ThreatModel("inf", 0.15)
    errors = []
    for against in (None, threat):
        model = train_clean_model(build("mlp", data.shape, 1, width=64), x, y, threat=against, epochs=40)
        errors.append(robust_error(model, x, y, PGD(threat, n_steps=10)).value)
    assert errors[1] < errors[0] - 0.1
