"""What a graph would hold: the search as a function gives the bits of a call, and only CUDA has graphs."""

from collections.abc import Callable

import pytest
import torch
from tests.training.cases import toy_data
from tests.training.tape import Tape
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import PGD, ThreatModel
from cgro.definitions.graphs import capturing_by
from cgro.speed import captured, captured_epoch, captured_search, pure_search
from cgro.training import Adversarial, Recipe, make_fabric
from cgro.training.compiling import compiling_by

ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=3)


def case() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.rand(6, 4), torch.arange(6) % 3


def test_the_function_gives_the_bits_of_a_call_every_time() -> None:
    model, x, y = case()
    search = pure_search(ATTACK, model, x, y)
    expected = ATTACK.find(model, x, y, dropping="never").x
    assert torch.equal(search(), expected)
    assert torch.equal(search(), expected)


def test_inputs_are_still_checked_before() -> None:
    model, x, y = case()
    with pytest.raises(BadRequest, match="inputs"):
        pure_search(ATTACK, model, x + 1, y)


def test_only_cuda_has_graphs() -> None:
    model, x, y = case()
    with pytest.raises(BadRequest, match="only CUDA has graphs"):
        captured_search(ATTACK, model, x, y)
    with pytest.raises(BadRequest, match="expected CUDA, got cpu"):
        captured(lambda: x, torch.device("cpu"))


@pytest.mark.parametrize("size", [3, 12])
def test_an_epoch_is_handed_over_once_its_steps_are_replayed(size: int) -> None:
    """Also where an epoch is one step; at a learning rate of 0 nothing moves, and else every call does."""
    data, recipe = toy_data(12), Recipe(batch_size=size, optimizer="sgd", lr=0.1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    tape = Tape()
    with capturing_by(tape):
        epoch = captured_epoch(model, data, Adversarial(ATTACK), recipe, make_fabric("cpu"))
    assert tape.n_captures == 1
    before = model[1].weight.detach().clone()
    epoch()
    assert tape.n_captures == 1
    assert not torch.equal(before, model[1].weight)


def test_an_epoch_with_the_network_compiled() -> None:
    """By a compiler that only counts; one that fails is told."""
    data, recipe = toy_data(12), Recipe(batch_size=3, optimizer="sgd", lr=0.1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    n_passes = [0]

    def counting(network: nn.Module) -> Callable[[Tensor], object]:
        def call(x: Tensor) -> object:
            n_passes[0] += 1
            return network._call_impl(x)

        return call

    def failing(network: nn.Module) -> Callable[[Tensor], object]:
        raise RuntimeError("no compiler")

    with capturing_by(Tape()), compiling_by(counting):
        epoch = captured_epoch(model, data, Adversarial(ATTACK), recipe, make_fabric("cpu"), compiled=True)
        assert n_passes[0] > 0
    before = model[1].weight.detach().clone()
    epoch()
    assert not torch.equal(before, model[1].weight)
    with capturing_by(Tape()), compiling_by(failing), pytest.raises(BadRequest, match="not compiled: no compiler"):
        captured_epoch(model, data, Adversarial(ATTACK), recipe, make_fabric("cpu"), compiled=True)


def test_an_epoch_that_cannot_be_captured_says_why() -> None:
    data, model = toy_data(12), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    foreign = lambda step: step.loss(step.model(step.x))  # noqa: E731
    with pytest.raises(BadRequest, match="only CUDA has graphs"):
        captured_epoch(model, data, Adversarial(ATTACK), Recipe(batch_size=3), make_fabric("cpu"))
    with capturing_by(Tape()), pytest.raises(BadRequest, match="does not declare"):
        captured_epoch(model, data, foreign, Recipe(batch_size=3), make_fabric("cpu"))
