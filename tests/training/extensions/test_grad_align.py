"""GradAlign: value and gradient against the equation in float64, its limits, its options, resuming."""

import pytest
import torch
from tests.training.cases import (
    ATTACK,
    THREAT,
    Calls,
    compute_of,
    gradients,
    interrupt,
    run_of,
    same_weights,
    small,
    toy,
    toy_step,
    train,
)
from torch import Tensor, nn

from cgro.data import Dataset
from cgro.definitions import FGSM, NoAttack
from cgro.training import Adversarial, GradAlign, Recipe
from cgro.training.objectives import Cost


def by_hand(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient in x of the summed cross-entropy, by central differences: no autograd in the input."""
    rows = []
    step = 1e-5
    for k in range(x[0].numel()):
        moved = torch.zeros_like(x).flatten(1)
        moved[:, k] = step
        moved = moved.view_as(x)
        up = nn.functional.cross_entropy(model(x + moved), y, reduction="sum")
        down = nn.functional.cross_entropy(model(x - moved), y, reduction="sum")
        rows.append((up - down) / (2 * step))
    return torch.stack(rows)


@pytest.mark.parametrize("detach", [False, True])
def test_value_and_gradient_are_the_equation(detach: bool) -> None:
    """One example, BatchNorm by running averages (a batch of one has no variance): the differences are of it alone."""
    model, twin = toy().eval(), toy().eval()
    model.train = lambda mode=True: model
    twin.train = lambda mode=True: twin
    term = GradAlign(weight=0.5, detach=detach)
    step, other = toy_step(model, n=1, attack=FGSM(THREAT)), toy_step(twin, n=1, attack=FGSM(THREAT))
    loss = term.around(step, compute_of(step, Adversarial(FGSM(THREAT))))
    near = THREAT.sample(other.x, other.streams("grad-align"))
    at_x, at_near = by_hand(twin, other.x, other.y), by_hand(twin, near, other.y)
    if detach:
        at_x = at_x.detach()
    cosine = (at_x @ at_near) / (at_x.norm() * at_near.norm())
    expected = nn.functional.cross_entropy(twin(other.craft()), other.y) + 0.5 * (1 - cosine)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-7, atol=0)
    twin.zero_grad()
    expected.backward()
    for ours, theirs in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_a_linear_network_is_aligned_and_weight_zero_changes_nothing(digits: Dataset) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False), nn.Flatten(0)).double()
    step = toy_step(linear, attack=FGSM(THREAT))
    step.y = torch.ones(6, dtype=torch.int64)
    torch.testing.assert_close(GradAlign().cosine(step), torch.ones(6, dtype=torch.float64))
    plain, zero = small(), small()
    train(plain, digits, Recipe(epochs=2), evaluation=None)
    train(zero, digits, Recipe(epochs=2), evaluation=None, extensions=[GradAlign(weight=0.0)])
    assert same_weights(plain, zero)


def test_where_a_gradient_is_zero_nothing_breaks() -> None:
    dead = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    nn.init.zeros_(dead[1].weight)
    step = toy_step(dead, attack=FGSM(THREAT))
    assert torch.isfinite(GradAlign().around(step, compute_of(step, Adversarial(FGSM(THREAT)))))
    assert all(torch.isfinite(gradient).all() for gradient in gradients(dead))


def test_each_option_has_an_effect_and_a_killed_run_goes_on(digits: Dataset, tmp_path) -> None:
    recipe = Recipe(epochs=3, lr=0.01)
    models = []
    for options in ({}, {"weight": 1.0}, {"detach": True}):
        model = small()
        train(model, digits, recipe, attack=FGSM(THREAT), evaluation=None, extensions=[GradAlign(**options)])
        models.append(model)
    for k, model in enumerate(models):
        assert all(not same_weights(model, other) for other in models[k + 1 :])
    run, again = run_of(tmp_path / "r"), small()
    stopping = [GradAlign(), Calls(2, interrupt)]
    train(small(), digits, recipe, attack=FGSM(THREAT), evaluation=None, extensions=stopping, run=run)
    train(again, digits, recipe, attack=FGSM(THREAT), evaluation=None, extensions=[GradAlign(), Calls()], run=run)
    assert same_weights(again, models[0])


def test_cost_and_bad_requests() -> None:
    base = Adversarial(FGSM(THREAT)).cost
    assert GradAlign().cost(base) == base + Cost(n_updates=4)
    assert GradAlign(detach=True).cost(base) == base + Cost(n_gradients=1, n_updates=2)
    with pytest.raises(ValueError, match="grad-align: weight"):
        GradAlign(weight=-1.0)
    step = toy_step(toy(), attack=NoAttack())
    with pytest.raises(ValueError, match="grad-align: expected an attack"):
        GradAlign().around(step, compute_of(step, Adversarial(NoAttack(), 0.0)))
    assert ATTACK.threat == THREAT
