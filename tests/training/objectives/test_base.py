"""What is taken for an objective, and which attack is its own."""

import pytest
from tests.training.cases import ATTACK, small

from cgro.data import Dataset
from cgro.training import TRADES, Adversarial, Recipe, fit
from cgro.training.objectives import attack_of


def test_what_is_no_objective_is_refused(digits: Dataset) -> None:
    for objective, words in ((ATTACK, "Adversarial"), (Adversarial, "objective"), ("trades", "objective")):
        with pytest.raises(ValueError, match=words):
            fit(small(), digits, objective, Recipe(epochs=1))


def test_the_attack_of_an_objective_is_its_attribute() -> None:
    assert attack_of(TRADES(ATTACK)) == ATTACK
    assert attack_of(lambda step: step.model(step.x)) is None

    class Named:
        attack = "pgd10"

    assert attack_of(Named()) is None
