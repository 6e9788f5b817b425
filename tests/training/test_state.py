"""A step that is taken and undone leaves no trace, and every trace of a step is seen."""

import pytest
import torch
from tests.training.cases import ATTACK, noisy

from cgro.data import Dataset
from cgro.training import EMA, Adversarial, Recipe, make_fabric
from cgro.training.state import TrainingState, addresses
from cgro.training.steps import Steps


def steps_of(data: Dataset, optimizer: str = "adam") -> Steps:
    recipe = Recipe(batch_size=20, optimizer=optimizer)
    return Steps(noisy(), data.train, Adversarial(ATTACK), recipe, (EMA(0.9),), 0, make_fabric("cpu"))


def take(steps: Steps, k: int) -> None:
    steps.take(steps.make(0, k, torch.arange(20 * k, 20 * k + 20)), 0, k)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("n_before", [0, 1])
def test_restored_training_goes_on_as_if_nothing_had_been(digits: Dataset, optimizer: str, n_before: int) -> None:
    """Also before the first step, when the optimizer has no state yet."""
    steps, undisturbed = steps_of(digits, optimizer), steps_of(digits, optimizer)
    for k in range(n_before):
        take(steps, k)
        take(undisturbed, k)
    before, lie_at = TrainingState(steps), addresses(steps)
    take(steps, 2)
    after = TrainingState(steps)
    before.restore(steps)
    assert before.differences(TrainingState(steps)) == []
    if n_before:
        assert addresses(steps) == lie_at
    changed = " ".join(before.differences(after))
    for part in ("1.weight", "2.running_mean", "2.num_batches_tracked", "optimizer 0.0.", "extension ema: 1.weight"):
        assert part in changed
    take(steps, 1)
    take(undisturbed, 1)
    assert TrainingState(steps).differences(TrainingState(undisturbed)) == []


def test_bits_are_compared(digits: Dataset) -> None:
    steps = steps_of(digits)
    weight = next(steps.network.parameters()).data
    for old, new, names in ((0.0, -0.0, ["1.weight"]), (torch.nan, torch.nan, []), (1.0, 1.0 + 2**-23, ["1.weight"])):
        weight[0, 0] = old
        before = TrainingState(steps)
        weight[0, 0] = new
        assert before.differences(TrainingState(steps)) == names


def test_what_is_noted_of_attacks_is_a_part_of_it(digits: Dataset) -> None:
    steps = steps_of(digits)
    take(steps, 0)
    before = TrainingState(steps)
    noted = steps.checks.noted
    assert noted is not None
    noted[3] = False
    assert before.differences(TrainingState(steps)) == ["checks of attacks"]
    before.restore(steps)
    steps.checks.require()
