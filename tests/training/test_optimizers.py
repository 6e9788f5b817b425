"""SGD and Adam on tensors against torch's own, in float64, and between the two in a checkpoint."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cgro.training.optimizers import TensorAdam, TensorSGD, on_tensors

MAKERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "plain": lambda weights: torch.optim.SGD(weights, 0.1),
    "momentum": lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda weights: torch.optim.Adam(weights, 0.1, weight_decay=0.01),
    "adamw": lambda weights: torch.optim.AdamW(weights, 0.1, weight_decay=0.01),
}

RTOL = {"plain": 1e-12, "momentum": 1e-12, "adam": 5e-7, "adamw": 5e-7}


def weights_of() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 2), (4,), ())
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def step(optimizer: torch.optim.Optimizer, weights: list[Tensor], k: int, lr: float) -> None:
    """One step along gradients that depend on the weights; the third weight has none in the first step."""
    for i, weight in enumerate(weights):
        weight.grad = None if i == 2 and k == 0 else (weight.detach() + k) * (i + 1)
    if isinstance(optimizer, TensorSGD | TensorAdam):
        optimizer.set_rate(lr)
    else:
        optimizer.param_groups[0]["lr"] = lr
    optimizer.step()


@pytest.mark.parametrize("name", MAKERS)
def test_steps_are_those_of_torch(name: str) -> None:
    ours, theirs = weights_of(), weights_of()
    optimizer, reference = on_tensors(MAKERS[name](ours)), MAKERS[name](theirs)
    assert optimizer is not None
    for k, lr in enumerate((0.25, 0.125, 0.5, 0.0, 0.25)):
        step(optimizer, ours, k, lr)
        step(reference, theirs, k, lr)
        # Learning rates are exact in float32 here; Adam counts in float32.
        torch.testing.assert_close(ours, theirs, rtol=RTOL[name], atol=RTOL[name])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("there", [True, False])
def test_a_checkpoint_of_one_goes_on_as_the_other(name: str, there: bool) -> None:
    """State and settings have torch's names: a training moves between a CPU and a GPU."""
    expected = weights_of()
    reference = MAKERS[name](expected)
    for k in range(4):
        step(reference, expected, k, 0.25)
    weights = weights_of()
    first = MAKERS[name](weights)
    if there:
        first = on_tensors(first)
    for k in range(2):
        step(first, weights, k, 0.25)
    second = MAKERS[name](weights)
    if not there:
        second = on_tensors(second)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0].keys() == first.param_groups[0].keys()
    for k in range(2, 4):
        step(second, weights, k, 0.25)
    torch.testing.assert_close(weights, expected, rtol=RTOL[name], atol=RTOL[name])


def test_the_rate_is_read_from_its_tensor_alone() -> None:
    weight = torch.zeros((), requires_grad=True)
    optimizer = on_tensors(torch.optim.SGD([weight], 0.5))
    optimizer.set_rate(0.25)
    assert optimizer.param_groups[0]["lr"] == 0.25
    optimizer.param_groups[0]["lr"] = 100.0
    weight.grad = torch.tensor(-4.0)
    optimizer.step()
    assert weight.item() == 1.0


def test_nothing_happens_without_gradients_and_for_other_kinds() -> None:
    weights = weights_of()
    for name in ("momentum", "adam"):
        optimizer = on_tensors(MAKERS[name](weights))
        optimizer.step()
        assert not optimizer.state
    assert on_tensors(torch.optim.RMSprop(weights, 0.1)) is None

    class Own(torch.optim.SGD):
        pass

    assert on_tensors(Own(weights, 0.1)) is None
