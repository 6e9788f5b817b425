"""What an objective carries, among the extensions: who has it, and that its state is checked."""

import pytest
import torch
from tests.training.cases import ATTACK, small, toy_data

from cgro.training import EMA, Adversarial, Free, Recipe
from cgro.training.extensions.carried import Carried, with_memory


def test_it_is_the_innermost_and_others_have_none() -> None:
    ema, free = EMA(), Free(ATTACK)
    assert with_memory(Adversarial(ATTACK), [ema]) == (ema,)
    first, last = with_memory(free, [ema])
    assert first is ema
    assert isinstance(last, Carried)
    assert (last.name, last.memory) == ("free", free.memory)


def test_its_state_goes_out_and_in() -> None:
    (carried,) = with_memory(Free(ATTACK), [])
    carried.prepare(small(), Recipe(batch_size=5), toy_data())
    carried.begin(small())
    assert {name: tuple(value.shape) for name, value in carried.state().items()} == {"delta": (5, 1, 4, 4)}
    carried.load({"delta": torch.full((5, 1, 4, 4), 0.25)})
    assert torch.equal(carried.state()["delta"], torch.full((5, 1, 4, 4), 0.25))
    carried.begin(small())
    assert not carried.state()["delta"].any()
    with pytest.raises(TypeError, match="no tensor"):
        carried.load({"delta": 3})
