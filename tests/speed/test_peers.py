"""The loop that everyone writes does the work of ours, and which attacks it stands for."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from cgro.definitions import APGD, FGSM, PGD, Attack, ThreatModel
from cgro.speed import common_attack, common_epoch, is_common, torchattacks_peer

THREAT = ThreatModel("inf", 0.1)
ATTACK = PGD(THREAT, n_steps=10)


def test_the_common_attack_finds_the_worst_point_of_a_linear_network() -> None:
    model = nn.Linear(3, 2)
    x, y = torch.rand(8, 3) * 0.6 + 0.2, torch.arange(8) % 2
    direction = (model.weight[1] - model.weight[0]).sign() * (1 - 2 * y)[:, None]
    assert torch.allclose(common_attack(model, x, y, ATTACK), x + 0.1 * direction, atol=1e-6)


def test_it_stays_in_ball_and_box() -> None:
    model = nn.Linear(3, 2)
    x, y = torch.tensor([[0.0, 1.0, 0.5]]), torch.tensor([0])
    x_adv = common_attack(model, x, y, replace(ATTACK, step_size=3.0))
    assert float((x_adv - x).abs().max()) <= 0.1 + 1e-6
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1


def test_the_common_epoch_takes_a_step_per_batch() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    steps: list[object] = []
    optimizer.register_step_post_hook(lambda *seen: steps.append(seen))
    batch = (torch.rand(4, 3), torch.arange(4) % 2)
    common_epoch(model, optimizer, [batch, batch, batch], ATTACK)
    assert len(steps) == 3


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (ATTACK, True),
        (FGSM(THREAT), False),
        (APGD(THREAT), False),
        (PGD(ThreatModel(2, 0.1), n_steps=3), False),
        (PGD(ThreatModel("inf", 0.1, None), n_steps=3), False),
        (replace(ATTACK, n_restarts=2), False),
        (replace(ATTACK, random_start=False), False),
        (replace(ATTACK, loss="dlr"), False),
        (replace(ATTACK, start_std=0.1), False),
    ],
)
def test_which_attacks_the_peers_stand_for(attack: Attack, expected: bool) -> None:
    assert is_common(attack) is expected


def test_torchattacks_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package, which is never installed beside the project."""
    import sys
    import types

    package = types.ModuleType("torchattacks")
    package.__spec__ = types.SimpleNamespace(name="torchattacks")  # type: ignore[assignment]
    package.PGD = lambda model, **settings: settings  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchattacks", package)
    settings = torchattacks_peer(nn.Identity(), ATTACK)
    assert settings == {"eps": 0.1, "alpha": pytest.approx(0.025), "steps": 10, "random_start": True}
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert torchattacks_peer(nn.Identity(), ATTACK) is None
