"""What is refused or said of a network before it is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cases import refused
from tests.training.cases import Calls, interrupt, noisy, run_of, same_weights, small, train
from torch import nn

from cgro.data import Dataset
from cgro.training import Recipe

ONE = Recipe(epochs=1, batch_size=30)


class Counts(nn.Module):
    """Has a state of its own beside tensors."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def get_extra_state(self) -> Any:
        return self.value

    def set_extra_state(self, state: Any) -> None:
        self.value = state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize("value", [{"k": 0}, 3, None])
def test_a_state_that_no_checkpoint_holds_is_refused_before_any_work(
    digits: Dataset, tmp_path: Path, value: object
) -> None:
    """Planted: it was trained to the end, then its checkpoint was called one of another network, for ever."""
    steps = Calls()

    def call(**more: object) -> object:
        return train(nn.Sequential(small(), Counts(value)), digits, ONE, extensions=[steps], **more)

    refused(
        lambda: call(run=run_of(tmp_path / "r")), "model: expected a state of tensors", "1._extra_state", "a buffer"
    )
    assert not steps.steps
    call()  # without a run nothing is kept


def test_an_extra_state_that_is_a_tensor_is_resumed(digits: Dataset, tmp_path: Path) -> None:
    def network() -> nn.Module:
        return nn.Sequential(small(), Counts(torch.zeros(2)))

    run, model = run_of(tmp_path / "r"), network()
    assert train(network(), digits, ONE, run=run, extensions=[Calls(1, interrupt)]).end.kind == "interrupted"
    assert train(model, digits, ONE, run=run, extensions=[Calls()]).end.kind == "completed"
    assert torch.equal(model[1].value, torch.zeros(2))


def frozen(network: nn.Module) -> nn.Module:
    network[2].eval().requires_grad_(False)
    return network


def nested() -> nn.Module:
    """A trained backbone behind something new, as it is often built: the whole is in training mode, its part is not."""
    return nn.Sequential(nn.Identity(), noisy().eval())


def kept() -> nn.Module:
    network = frozen(noisy())
    network[2].train = lambda mode=True: network[2]
    return network


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: frozen(noisy()), "training: 2 had been put into evaluation mode"),
        (nested, "training: 1 had been put into evaluation mode"),
        (lambda: nn.Sequential(nested(), nn.Dropout(0.1).eval()), "training: 0.1, 1 had been put into evaluation mode"),
        (noisy, ""),
        (lambda: noisy().eval(), ""),
        (kept, ""),
    ],
)
def test_parts_that_were_in_evaluation_mode_are_named(
    digits: Dataset, make: Callable[[], nn.Module], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(make(), digits, ONE)
    said = capsys.readouterr().err
    assert said.count("evaluation mode") == bool(named), said
    assert named in said


def test_a_frozen_layer_keeps_its_averages_only_by_its_own_train(digits: Dataset) -> None:
    """Planted: averages of a BatchNorm in evaluation mode moved without a word. The mode of the whole changes no bit."""
    trained, evaluated, held = noisy(), noisy().eval(), kept()
    for network in (trained, evaluated, held):
        train(network, digits, ONE)
    assert same_weights(trained, evaluated)
    assert int(trained[2].num_batches_tracked) > 0
    assert int(held[2].num_batches_tracked) == 0
