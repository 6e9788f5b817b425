"""Labels as probabilities, and what happens around a step that has soft ones."""

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, toy, toy_data, toy_step

from cgro.definitions import FGSM, PGD, SoftTargets, ThreatModel, default_loss
from cgro.training import Adversarial, Step
from cgro.training.extensions.labels import Classes, against


def test_labels_as_probabilities() -> None:
    assert Classes.of(toy_data()) == Classes(3, are_signs=False)
    assert Classes.of(toy_data(n_outputs=1)) == Classes(2, are_signs=True)
    step = toy_step(toy())
    assert Classes(3, are_signs=False).labels_of(step).argmax(1).tolist() == step.y.tolist()
    step.targets = torch.full((6, 3), 1 / 3)
    assert Classes(3, are_signs=False).labels_of(step) is step.targets


@pytest.mark.parametrize("raises", [False, True])
def test_what_was_set_is_put_back(raises: bool) -> None:
    step = toy_step(toy())
    targets = torch.full((6, 3), 1 / 3)

    def compute() -> torch.Tensor:
        assert step.targets is targets
        assert step.attack_targets
        if raises:
            raise RuntimeError("half-way")
        return compute_of(step, Adversarial(ATTACK))()

    if raises:
        with pytest.raises(RuntimeError, match="half-way"):
            against(targets, step, compute, "who", attack=True)
    else:
        against(targets, step, compute, "who", attack=True)
    assert step.targets is None
    assert not step.attack_targets


def test_an_objective_that_does_not_take_them_is_refused() -> None:
    step = toy_step(toy())

    def own(step: Step) -> torch.Tensor:
        return default_loss(step.model(step.x), step.y)

    with pytest.raises(ValueError, match="who: expected an objective that takes soft labels"):
        against(torch.full((6, 3), 1 / 3), step, compute_of(step, own), "who", attack=False)


def test_attacks_maximize_the_loss_against_them_where_that_is_asked_for() -> None:
    """PGD then returns its last iterate; an attack with a loss of its own keeps it."""
    targets = torch.eye(3, dtype=torch.float64).repeat(2, 1).roll(1, 1)
    step = toy_step(toy())
    plain = step.craft()
    step.targets = targets
    step.n_crafted = 0
    assert torch.equal(step.craft(), plain)
    step.attack_targets = True
    step.n_crafted = 0
    expected = PGD(ThreatModel("inf", 0.1), n_steps=2, keep="last", loss=SoftTargets(targets))
    found = step.craft()
    assert not torch.equal(found, plain)
    by_hand = expected(step.network.eval(), step.x, step.y, generator=step.streams("attack"))
    assert torch.equal(found, by_hand)
    own = FGSM(ThreatModel("inf", 0.1), loss="margin")
    assert torch.equal(step.craft(own), own(step.network.eval(), step.x, step.y))
