"""The clean model learns, is set by its seed, and its adversarial training is another."""

import torch
from torch import Tensor, nn

from cgro.data import load
from cgro.definitions import PGD, ThreatModel, robust_error
from cgro.models import build
from cgro.representation import train_clean_model


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(u, v) for u, v in zip(weights(a), weights(b), strict=True))


def test_training_is_set_by_the_seed_and_leaves_the_network_ready() -> None:
    data = load("digits", classes="3,8")
    x, y = data.train.x, data.train.y

    def trained(seed: int) -> nn.Module:
        return train_clean_model(build("mlp", data.shape, 1, width=64), x, y, seed=seed, epochs=12)

    first = trained(0)
    assert not first.training
    assert not any(p.requires_grad for p in first.parameters())
    assert float((first(x) * y > 0).double().mean()) > 0.9
    assert same(first, trained(0))
    assert not same(first, trained(1))


def test_training_against_an_attack_is_more_robust() -> None:
    data = load("digits", classes="3,8", n_train=150)
    x, y, threat = data.train.x, data.train.y, ThreatModel("inf", 0.15)
    errors = []
    for against in (None, threat):
        model = train_clean_model(build("mlp", data.shape, 1, width=64), x, y, threat=against, epochs=40)
        errors.append(robust_error(model, x, y, PGD(threat, n_steps=10)).value)
    assert errors[1] < errors[0] - 0.1
