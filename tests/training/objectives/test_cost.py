"""The cost that objectives give, against passes counted by hooks while the steps of a real training are taken."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cgro.data import Dataset, load
from cgro.definitions import (
    APGD,
    FGSM,
    PGD,
    Attack,
    Ensemble,
    NoAttack,
    Square,
    TargetedAPGD,
    ThreatModel,
)
from cgro.training import (
    ADR,
    AWP,
    DOM,
    EMA,
    KD,
    MART,
    MLCATLS,
    MLCATWP,
    SWA,
    TRADES,
    Adversarial,
    Cost,
    CutMix,
    Extension,
    Free,
    GradAlign,
    LabelSmoothing,
    Objective,
    Recipe,
    SameClassBoxes,
    fit,
    step_cost,
)
from cgro.training.objectives import attack_cost

LINF, L2 = ThreatModel("inf", 0.1), ThreatModel(2, 0.5)
PGD3 = PGD(LINF, n_steps=3)


class Counted(nn.Linear):
    """A linear layer that counts the rows of its passes, and those that each of its two gradients is asked for."""

    def __init__(self) -> None:
        super().__init__(64, 10)
        self.forward_rows = 0
        self.input_rows = 0
        self.weight_rows = 0

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        self.forward_rows += n
        # Tensors of this pass alone: their hooks run where the pass is differentiated in them, and not otherwise.
        weight = self.weight * 1
        x = x * 1
        if weight.requires_grad:
            weight.register_hook(lambda gradient: self.note("weight_rows", n))
        if x.requires_grad:
            x.register_hook(lambda gradient: self.note("input_rows", n))
        return functional.linear(x, weight, self.bias)

    def note(self, name: str, n: int) -> None:
        setattr(self, name, getattr(self, name) + n)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", n_train=50, n_test=10)


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (EMA(0.9),),
        (SWA(batchnorm="averaged"),),
        (AWP(),),
        (MLCATWP(n_steps=3),),
        (MLCATLS(), SameClassBoxes()),
    ],
    ids=lambda extensions: " ".join(e.name for e in extensions) or "alone",
)
@pytest.mark.parametrize(
    "objective",
    [
        Adversarial(PGD3, robust_weight=0.0),
        Adversarial(PGD3, robust_weight=0.5),
        Adversarial(PGD3),
        Adversarial(NoAttack()),
        Adversarial(FGSM(LINF)),
        Adversarial(FGSM(L2)),
        Adversarial(PGD(L2, n_steps=2)),
        TRADES(PGD3, beta=0.0),
        TRADES(PGD3, beta=6.0),
        TRADES(PGD(L2, n_steps=2)),
        MART(PGD3),
        MART(PGD3, beta=0.0),
    ],
    ids=str,
)
def test_the_passes_are_those_that_are_made(
    digits: Dataset, objective: Objective, extensions: Sequence[Extension]
) -> None:
    layer, n_epochs = Counted(), 2
    model = nn.Sequential(nn.Flatten(), layer)
    fit(model, digits, objective, Recipe(epochs=n_epochs, batch_size=20), extensions=extensions)
    n = n_epochs * len(digits.train)
    cost = step_cost(objective, extensions)
    assert layer.forward_rows == n * (cost.n_forward + cost.n_gradients + cost.n_updates)
    assert layer.input_rows == n * cost.n_gradients
    assert layer.weight_rows == n * cost.n_updates


@pytest.mark.parametrize("objective", [Adversarial(PGD3, 0.5), TRADES(PGD3)], ids=["adversarial", "trades"])
def test_soft_labels_cost_nothing_and_the_teacher_of_adr_a_pass(digits: Dataset, objective: Objective) -> None:
    layer, adr = Counted(), ADR()
    extensions = (AWP(), CutMix(), adr, LabelSmoothing())
    fit(nn.Sequential(nn.Flatten(), layer), digits, objective, Recipe(epochs=1, batch_size=20), extensions=extensions)
    cost, n = step_cost(objective, extensions), len(digits.train)
    assert cost == step_cost(objective, [AWP()]) + Cost(n_forward=1)
    assert layer.forward_rows == n * (cost.n_forward - 1 + cost.n_gradients + cost.n_updates)
    assert layer.weight_rows == n * cost.n_updates


def test_free_training_makes_one_pass_for_both_gradients(digits: Dataset) -> None:
    layer, objective = Counted(), Free(PGD3, replays=2)
    fit(nn.Sequential(nn.Flatten(), layer), digits, objective, Recipe(epochs=2, batch_size=20))
    n = 2 * len(digits.train)
    assert (layer.forward_rows, layer.input_rows, layer.weight_rows) == (n, n, n)
    assert objective.cost == Cost(n_updates=1)


def test_the_gradients_of_grad_align_are_passes_of_their_own(digits: Dataset) -> None:
    layer = Counted()
    model = nn.Sequential(nn.Flatten(), layer)
    objective = Adversarial(FGSM(LINF))
    fit(model, digits, objective, Recipe(epochs=1, batch_size=20), extensions=[GradAlign()])
    cost = objective.cost
    assert layer.forward_rows == len(digits.train) * (cost.n_forward + cost.n_gradients + cost.n_updates + 2)


def test_dom_is_an_upper_bound_and_a_pass_more(digits: Dataset) -> None:
    for objective, n_less in ((Adversarial(PGD3), 0), (TRADES(PGD3), 1)):
        layer = Counted()
        model = nn.Sequential(nn.Flatten(), layer)
        fit(model, digits, objective, Recipe(epochs=1, batch_size=20), extensions=[DOM(start=0.0)])
        cost = step_cost(objective, [DOM()])
        total = cost.n_forward + cost.n_gradients + cost.n_updates
        assert layer.forward_rows == len(digits.train) * (total - n_less)


def test_teachers_are_counted_as_forward_passes(digits: Dataset) -> None:
    teacher = Counted()
    kd = KD(PGD3, nn.Sequential(nn.Flatten(), teacher), nn.Sequential(nn.Flatten(), teacher))
    assert kd.cost == Adversarial(PGD3).cost + Cost(n_forward=2)


def test_several_starts_cost_at_most_what_is_said(digits: Dataset) -> None:
    objective = Adversarial(PGD(LINF, n_steps=2, n_restarts=3))
    layer = Counted()
    fit(nn.Sequential(nn.Flatten(), layer), digits, objective, Recipe(epochs=1))
    n = len(digits.train)
    assert objective.cost == Cost(n_forward=4, n_gradients=6, n_updates=1)
    assert n * 2 <= layer.input_rows <= n * 6
    assert layer.forward_rows <= n * 11


def test_operations_are_counted_in_forward_passes() -> None:
    assert Cost(n_forward=1).operations == 1
    assert Cost(n_gradients=1).operations == 2
    assert Cost(n_updates=1).operations == 3
    assert (attack_cost(PGD3) + Cost(n_updates=1)).operations == 2 + 2 * 3 + 3


class Passes(nn.Module):
    """Scores of two classes that no attack breaks; counts examples, with and without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.n_forward = 0
        self.n_gradients = 0

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.n_gradients += len(x)
        else:
            self.n_forward += len(x)
        score = x.flatten(1).sum(1)
        # Ten classes, so that APGD-T has the nine targets that are counted.
        return torch.stack([score + 100, *(0.1 * k * score for k in range(9))], 1)


@pytest.mark.parametrize("p", ["inf", 2, 1])
@pytest.mark.parametrize(
    "attack",
    [
        lambda t: NoAttack(t),
        lambda t: FGSM(t, precision="float32"),
        lambda t: PGD(t, n_steps=3, n_restarts=2, precision="float32"),
        lambda t: APGD(t, n_steps=5, n_restarts=2, precision="float32"),
        lambda t: TargetedAPGD(t, n_steps=4, precision="float32"),
        lambda t: Square(t, n_queries=60, precision="float32"),
        lambda t: Ensemble(t, (APGD(t, n_steps=3, precision="float32"), Square(t, n_queries=7, precision="float32"))),
    ],
    ids=["none", "fgsm", "pgd", "apgd", "apgd-t", "square", "ensemble"],
)
def test_every_attack_costs_what_is_said(attack: Callable[[ThreatModel], Attack], p: str | int) -> None:
    """On examples that stand, so that no restart is left out."""
    model, x = Passes().eval(), torch.full((3, 1, 4, 4), 0.5)
    searched = attack(ThreatModel(p, 0.01))
    searched.find(model, x, torch.zeros(3, dtype=torch.int64), until_wrong=True)
    expected = attack_cost(searched)
    assert (model.n_forward, model.n_gradients) == (3 * expected.n_forward, 3 * expected.n_gradients)
