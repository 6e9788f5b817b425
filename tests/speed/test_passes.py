"""Bare passes: what each differentiates, what they leave alone, and floors and counts with known answers."""

import pytest
import torch
from torch import nn

from cgro.definitions import PGD, ThreatModel, robust_error
from cgro.speed import PASSES, Passes, counted_cost, floor_seconds
from cgro.speed.passes import IN_A_TURN
from cgro.training import Cost
from cgro.training.objectives import attack_cost

ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=3)


class Seen(nn.Module):
    """Notes of each pass whether input and weights are differentiated, and its mode."""

    notes: list[tuple[bool, bool, bool]]

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        differentiated = torch.is_grad_enabled()
        self.notes.append((x.requires_grad, differentiated and self.last.weight.requires_grad, self.training))
        return self.last(x)


def test_each_kind_of_pass_is_what_its_name_says() -> None:
    Seen.notes = []
    model = Seen().eval()
    before = model.last.weight.detach().clone()
    x, y = torch.rand(5, 4), torch.arange(5) % 3
    calls = Passes(model, x, y, ATTACK).calls()
    assert tuple(calls) == PASSES
    notes = []
    for call in calls.values():
        Seen.notes.clear()
        call()
        assert len(Seen.notes) == IN_A_TURN
        notes.append(Seen.notes[0])
    assert notes == [(False, False, False), (True, True, False), (False, True, True)]
    assert model.last.weight.grad is None
    assert torch.equal(model.last.weight, before)


def test_the_floor_is_the_sum_of_passes() -> None:
    assert floor_seconds(Cost(n_forward=3, n_gradients=5, n_updates=7), 1.0, 10.0, 100.0) == 753.0


def test_passes_that_are_counted_are_those_that_the_cost_says() -> None:
    """The attack of training in float32 on a network of constant labels: nothing breaks, so the formula is exact."""

    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x.sum(1) * 0 + 1, x.sum(1) * 0], dim=1)

    model = Constant().eval()
    x, y = torch.rand(6, 4), torch.zeros(6, dtype=torch.int64)
    cost = attack_cost(ATTACK)
    assert counted_cost(model, lambda: ATTACK(model, x, y)) == (6 * cost.n_forward, 6 * cost.n_gradients)
    forward, differentiated = counted_cost(model, lambda: robust_error(model, x, y, ATTACK))
    assert differentiated == 6 * cost.n_gradients
    assert forward > 6 * cost.n_forward  # the set is checked before, and the result after the attack


def test_counting_ends_with_the_work_also_where_it_fails() -> None:
    model = nn.Linear(4, 3)
    with pytest.raises(RuntimeError):
        counted_cost(model, lambda: model(torch.zeros(1, 5)))
    assert not model._forward_pre_hooks
