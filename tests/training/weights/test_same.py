"""Which networks take the weights of another and are the same function with them."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cgro.training.weights.same import difference


def network(activation: type[nn.Module] = nn.ReLU, width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, width), activation(), nn.Linear(width, 2))


class Rounds(nn.Module):
    """Computes something around a part of the name that torch's wrappers give it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.round())


class Own(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # what it is given
        return -super().forward(x)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Rounds(network()), "a Rounds as the whole"),
        (nn.Sequential(nn.Sigmoid(), network()), "a Sigmoid as 0"),
        (network(nn.Tanh), "a Tanh as 1"),
        (network(width=4), "0.weight of shape (4, 2)"),
        (Own(*network()), "a Own as the whole"),
        (network()[:2], "none that has a Linear as 2"),
        (nn.Sequential(*network(), nn.BatchNorm1d(2)), "a BatchNorm1d as 3"),
    ],
)
def test_another_function_is_told(other: nn.Module, words: str) -> None:
    assert difference(other, network()) == words


@pytest.mark.parametrize(
    "wrap", [copy.deepcopy, AveragedModel, nn.DataParallel, torch.compile, lambda model: model.half()]
)
def test_the_same_function_is_the_same_in_a_wrapper_of_torch(wrap) -> None:
    assert difference(wrap(network()), network()) == ""
    part = network()
    part[0] = wrap(part[0])
    assert difference(part, network()) == ""
    assert difference(network(), wrap(network())) == ""


def test_a_class_of_others_is_compared_with_itself() -> None:
    assert difference(Rounds(network()), Rounds(network())) == ""
    assert difference(network(), Rounds(network())) == "none that has a Rounds as the whole"
