"""What a graph would hold: the search as a function gives the bits of a call, and only CUDA has graphs."""

import pytest
import torch
from torch import nn

from cgro._check import BadRequest
from cgro.definitions import PGD, ThreatModel
from cgro.speed import captured, captured_search, pure_search

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
