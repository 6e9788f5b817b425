"""Labels as probabilities, and what happens around a step that has soft ones."""

from dataclasses import replace

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, toy, toy_data, toy_step

from cgro.definitions import (
    APGD,
    FGSM,
    PGD,
    Attack,
    FunctionAttack,
    NoAttack,
    SoftTargets,
    Square,
    ThreatModel,
    default_loss,
    soft_cross_entropy,
)
from cgro.training import Adversarial, Step
from cgro.training.extensions.labels import Classes, against

THREAT = ThreatModel("inf", 0.1)


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


@pytest.mark.parametrize("p", ["inf", 2, 1])
def test_fgsm_maximizes_the_loss_against_them_wherever_it_can(p: str | int) -> None:
    """Planted: the point was dropped where the margin of the one label was lower at X: those were not attacked."""
    step = toy_step(toy())
    step.targets = torch.eye(3, dtype=torch.float64).repeat(2, 1).roll(1, 1)
    step.attack_targets = True
    fgsm = FGSM(ThreatModel(p, 0.1), precision="float32")
    found = step.craft(fgsm)
    assert bool((found != step.x).flatten(1).any(1).all())
    step.network.eval()
    with torch.no_grad():
        before = soft_cross_entropy(step.network(step.x), step.targets)
        after = soft_cross_entropy(step.network(found), step.targets)
    assert bool((after > before).all())
    assert "keep" not in repr(fgsm)
    assert "keep='last'" in repr(replace(fgsm, keep="last"))


@pytest.mark.parametrize(
    ("attack", "fine"),
    [
        (APGD(THREAT, n_steps=3), False),
        (Square(THREAT, n_queries=3), False),
        (FunctionAttack(THREAT, lambda model, x, y: x), False),
        (APGD(THREAT, n_steps=3, loss="dlr"), True),  # has a loss of its own
        (NoAttack(), True),
        (FGSM(THREAT), True),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_an_attack_that_would_go_on_against_the_labels_is_refused(attack: Attack, fine: bool) -> None:
    step = toy_step(toy())
    step.targets = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    step.attack_targets = True
    if fine:
        step.craft(attack)
    else:
        with pytest.raises(ValueError, match="attack: expected one that can maximize the loss against soft labels"):
            step.craft(attack)
    step.attack_targets = False
    step.n_crafted = 0
    step.craft(attack)
