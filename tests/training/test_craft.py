"""Attacks of a training: the same points as called by hand, no reads, and what is refused at the end of the epoch."""

from dataclasses import dataclass, replace

import pytest
import torch
from tests.cases import busy_network, images
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import PGD, Attack, Draws, Evaluator, FunctionAttack, ThreatModel
from cgro.definitions.attacks.reads import LabelRange
from cgro.training.craft import CraftChecks

ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=3)
LABELS = LabelRange(0, 2, are_signs=False)


def draws(n: int) -> Draws:
    return Draws.of(0, "attack", torch.arange(n))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("whole", [False, True])
def test_points_are_those_of_a_call(precision: str, whole: bool) -> None:
    model, (x, y) = busy_network().eval(), images(12)
    attack = replace(ATTACK, precision=precision)
    checks = CraftChecks(LABELS)
    dropping = "never" if whole else "exact"
    expected = attack.find(model, x, y, generator=draws(12), dropping=dropping).x
    for _ in range(2):
        assert torch.equal(checks.craft(attack, model, x, y, draws(12), whole=whole), expected)
    checks.require()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_in_training_mode_the_network_meets_whole_batches_alone(n: int) -> None:
    """BatchNorm refuses single examples, and what it gives for some of a batch is not what it gives for all."""
    model, (x, y) = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)), images(n + 1)
    seen: set[int] = set()

    def network(v: Tensor) -> Tensor:
        seen.add(len(v))
        return model(v)

    for attack in (replace(ATTACK, precision="bfloat16"), replace(ATTACK, n_restarts=3, precision="bfloat16")):
        CraftChecks(LABELS).craft(attack, network, x, y, draws(n + 1), whole=True)
        attack(model.train(), x, y)
    assert seen == {n + 1}


def test_what_is_wrong_is_said_when_it_is_read() -> None:
    x, y = images(4)
    checks = CraftChecks(LABELS)
    outputs = lambda v: v.flatten(1)[:, :3]  # noqa: E731
    for model, inputs, words in (
        (lambda v: outputs(v) * torch.nan, x, "model output"),
        (lambda v: outputs(v) + (outputs(v) * 0).sqrt(), x, "gradient"),
        (outputs, x + 0.5, "inputs"),
        (outputs, x * torch.nan, "inputs"),
    ):
        checks.craft(ATTACK, model, inputs, y, draws(4))
        checks.craft(ATTACK, outputs, x, y, draws(4))
        with pytest.raises(BadRequest, match=words):
            checks.require()
        checks.require()
    with pytest.raises(BadRequest, match="labels"):
        CraftChecks(LabelRange(0, 5, are_signs=False)).craft(ATTACK, outputs, x, y + 3, draws(4))


class Hidden(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.data.mul_(2)
        return x[:, 0] - 0.6


def test_a_network_that_writes_on_its_input_is_given_copies() -> None:
    x, y = torch.tensor([[0.31], [0.4]]), torch.tensor([1, 1])
    checks = CraftChecks(LabelRange(1, 1, are_signs=True))
    attack = replace(ATTACK, threat=ThreatModel("inf", 0.05))
    for _ in range(2):
        torch.testing.assert_close(checks.craft(attack, Hidden(), x, y, draws(2)), x - 0.05)
    checks.require()


def test_code_of_others_is_called_as_always() -> None:
    @dataclass(frozen=True)
    class Own(Attack):
        def __call__(self, model, x: Tensor, y: Tensor, *, generator=None) -> Tensor:
            return x * 0.5

        def search(self, evaluator: Evaluator, draws: Draws) -> None:
            raise AssertionError

    x, y = images(4)
    model = busy_network().eval()
    checks = CraftChecks(LABELS)
    assert torch.equal(checks.craft(Own(ATTACK.threat), model, x, y, draws(4)), x * 0.5)
    darker = FunctionAttack(ATTACK.threat, lambda model, x, y: (x - 0.1).clamp_min(0))
    assert torch.equal(checks.craft(darker, model, x, y, draws(4)), darker(model, x, y))
