"""Every attack, and what it must leave alone, shared by the tests of attacks."""

from collections.abc import Callable

import torch
from tests import oracles
from tests.cases import THREATS, LinearScore
from torch import Tensor, nn

from cgro.definitions import (
    APGD,
    FGSM,
    PGD,
    Attack,
    Ensemble,
    NoAttack,
    Square,
    TargetedAPGD,
    ThreatModel,
    negative_margin,
)

IDS = [f"p={t.p:g} box={t.box}" for t in THREATS]


def attacks(threat: ThreatModel) -> list[Attack]:
    return [
        NoAttack(threat),
        FGSM(threat),
        PGD(threat, n_steps=3),
        PGD(threat, n_steps=2, n_restarts=3, loss=negative_margin),
        PGD(threat, n_steps=2, random_start=False, precision="bfloat16"),
        APGD(threat, n_steps=8),
        APGD(threat, n_steps=6, n_restarts=2, loss="dlr", precision="bfloat16"),
        TargetedAPGD(threat, n_steps=6),
        Square(threat, n_queries=12),
        Square(threat, n_queries=6, precision="bfloat16"),
        Ensemble(threat, (APGD(threat, n_steps=4), TargetedAPGD(threat, n_steps=4), Square(threat, n_queries=4))),
    ]


def state_of(model: nn.Module) -> dict[str, object]:
    """Everything of a module and of the process that an attack must leave bit-equal."""
    return {
        "parameters": {k: v.detach().clone() for k, v in model.named_parameters()},
        "buffers": {k: v.detach().clone() for k, v in model.named_buffers()},
        "gradients": {k: None if v.grad is None else v.grad.clone() for k, v in model.named_parameters()},
        "frozen": {k: v.requires_grad for k, v in model.named_parameters()},
        "modes": {k: m.training for k, m in model.named_modules()},
        "random": torch.get_rng_state(),
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    return a == b


def leaves_everything_alone(model: nn.Module, call: Callable[[], object]) -> bool:
    before = state_of(model)
    try:
        call()
    except RuntimeError as error:
        assert "half-way" in str(error)
    return same(before, state_of(model))


def prepared(model: nn.Module, train: bool) -> nn.Module:
    """One layer frozen, gradients present, one submodule in the other mode."""
    model.train(train)
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.full_like(parameters[-1], 0.5)
    list(model.modules())[-1].train(not train)
    return model


def linear_truth(model: LinearScore, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    gradients = (-y[:, None] * model.w).detach().double().numpy()
    worst = [
        oracles.linear_worst_case(g, row, threat.p, threat.radius, threat.box)
        for g, row in zip(gradients, x.double().numpy(), strict=True)
    ]
    return (y * model(x)).detach().double() - torch.tensor(worst, dtype=torch.float64)
