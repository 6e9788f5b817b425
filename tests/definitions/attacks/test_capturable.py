"""Which attacks and networks may be captured; objectives and extensions in tests/training/test_capturable.py."""

import pytest
import torch
from torch import Tensor, nn

from cgro.definitions import PGD, FunctionAttack, ThreatModel, negative_margin
from cgro.definitions.attacks import ATTACKS, attack_by_name
from cgro.definitions.attacks.capturable import declares_capturable, has_hooks, name_of, obstacle_of

THREAT = ThreatModel("inf", 0.1)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "autoattack"])
def test_attacks_of_ours_may_be(name: str) -> None:
    assert obstacle_of(attack_by_name(name.replace("K", "3").replace("R", "2"), THREAT)) == ""


def own(outputs: Tensor, y: Tensor) -> Tensor:
    return outputs.sum(1)


def said(outputs: Tensor, y: Tensor) -> Tensor:
    return outputs.sum(1)


said.capturable = True  # type: ignore[attr-defined]


def test_code_of_others_may_be_if_it_says_so() -> None:
    assert "runs code that may read on the host" in obstacle_of(FunctionAttack(THREAT, lambda model, x, y: x))
    assert obstacle_of(PGD(THREAT, n_steps=2, loss=own)) == (
        "the loss own of the attack pgd2 does not declare `capturable = True`"
    )
    assert obstacle_of(PGD(THREAT, n_steps=2, loss=said)) == ""
    assert obstacle_of(PGD(THREAT, n_steps=2, loss=negative_margin)) == ""
    assert declares_capturable(said)
    assert name_of(own) == "own"
    assert name_of(THREAT) == "ThreatModel"


@pytest.mark.parametrize(
    "register", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_hooks_of_any_part_are_seen(register: str) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert not has_hooks(net)
    handle = getattr(net[1], register)(lambda *given: None)
    assert has_hooks(net)
    handle.remove()
    assert not has_hooks(net)
    assert net(torch.rand(1, 2)).shape == (1, 2)
