"""TRADES against its formula: gradients by hand, beta = 0, the attack's start and loss."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cgro.data import Dataset
from cgro.definitions import FGSM, PGD, FromClean, ThreatModel, divergence
from cgro.definitions.draws import Draws
from cgro.models import build
from cgro.training import TRADES, Adversarial, Evaluation, Recipe, Step, fit

THREAT = ThreatModel("inf", 0.1)
ATTACK = PGD(THREAT, n_steps=3, step_size=0.04)


def step_of(model: nn.Module, x: Tensor, y: Tensor) -> Step:
    return Step(model, x, y, model, lambda purpose: Draws.of(0, purpose, torch.arange(len(x))), ATTACK)


def softmax(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(1, keepdim=True)


def test_gradients_by_hand_of_a_linear_classifier() -> None:
    """f(x) = W x: dL/dW = (p - e_y) x^T + beta [ J_p(log p - log q) x^T + (q - p) x'^T ], J_p(v) = p * (v - p.v)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    y, beta = torch.tensor([0, 1, 2, 1, 0]), 2.5
    model = nn.Linear(4, 3, bias=False).double()
    step = step_of(model, x, y)
    objective = TRADES(ATTACK, beta)
    losses = objective(step)
    losses.sum().backward()
    search = replace(objective.search, loss=FromClean(model(x)))
    x_adv = search(model, x, y, generator=step.streams("attack"))
    with torch.no_grad():
        p, q = softmax(model(x)), softmax(model(x_adv))
        ratio = p.log() - q.log()
        kl = (p * ratio).sum(1)
        torch.testing.assert_close(losses, -p.log()[torch.arange(5), y] + beta * kl, rtol=1e-12, atol=1e-14)
        through_clean = p * (ratio - kl[:, None])
        by_hand = (p - torch.eye(3, dtype=torch.float64)[y] + beta * through_clean).T @ x + beta * (q - p).T @ x_adv
    torch.testing.assert_close(model.weight.grad, by_hand, rtol=1e-10, atol=1e-13)


def test_scores_are_two_logits() -> None:
    f, g = torch.tensor([0.3, -2.0], dtype=torch.float64), torch.tensor([1.0, 4.0], dtype=torch.float64)
    p, q = f.sigmoid(), g.sigmoid()
    bernoulli = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(divergence(f, g), bernoulli)


def test_probabilities_that_underflow_have_gradients() -> None:
    f = torch.tensor([[0.0, 300.0]], requires_grad=True)
    g = torch.tensor([[1.0, 0.0]], requires_grad=True)
    divergence(f, g).sum().backward()
    assert torch.isfinite(f.grad).all()
    assert torch.isfinite(g.grad).all()


def test_beta_zero_is_standard_training_to_the_bit(digits: Dataset) -> None:
    a, b = (build("mlp", (1, 8, 8), 10, width=16) for _ in range(2))
    fit(a, digits, TRADES(ATTACK, beta=0.0), Recipe(epochs=2))
    fit(b, digits, Adversarial(ATTACK, robust_weight=0.0), Recipe(epochs=2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_beta_trades_the_divergence_for_the_loss(digits: Dataset) -> None:
    x, y = digits.test.x, digits.test.y
    distances = []
    for beta in (0.0, 30.0):
        model = build("mlp", (1, 8, 8), 10, width=16)
        fit(model, digits, TRADES(ATTACK, beta=beta), Recipe(epochs=20, lr=0.01))
        search = replace(TRADES(ATTACK).search, loss=FromClean(model(x)))
        with torch.no_grad():
            distances.append(float(divergence(model(x), model(search(model, x, y))).mean()))
    assert distances[1] < distances[0] / 2


def test_the_search_is_that_of_the_authors() -> None:
    """Their loop, written out: X + 0.001 noise, sign steps on KL(clean || adversarial), clipped to ball and box."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (6,), generator=generator)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    step = step_of(model, x, y)
    ours = step.craft(TRADES(ATTACK).search, loss=FromClean(step.outputs()))
    current = (x + 0.001 * step.streams("attack").normal(4)).clamp(0, 1)
    clean = model(x).softmax(1).detach()
    for _ in range(3):
        current = current.detach().requires_grad_(True)
        loss = nn.functional.kl_div(model(current).log_softmax(1), clean, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, current)
        current = current + 0.04 * gradient.sign()
        current = torch.minimum(torch.maximum(current, x - 0.1), x + 0.1).clamp(0, 1)
    torch.testing.assert_close(ours, current.detach(), rtol=0, atol=1e-12)


def test_the_search_leaves_the_network_alone_and_updates_no_average() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).train()
    before = copy.deepcopy(model.state_dict())
    step = step_of(model, torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]))
    x_adv = step.craft(TRADES(ATTACK).search, loss=FromClean(step.outputs()))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert THREAT.contains(x_adv, step.x).all()
    assert step.attack_seconds > 0


def test_bad_requests() -> None:
    for attack in (FGSM(THREAT), replace(ATTACK, n_restarts=2)):
        with pytest.raises(ValueError, match="TRADES: expected"):
            TRADES(attack)
    with pytest.raises(ValueError, match="beta"):
        TRADES(ATTACK, beta=-1.0)
    with pytest.raises(ValueError, match="beta"):
        TRADES(ATTACK, beta=math.nan)


def test_patience_and_selection_go_with_any_objective(digits: Dataset) -> None:
    model = build("mlp", (1, 8, 8), 10, width=16)
    t = fit(model, digits, TRADES(ATTACK), Recipe(epochs=2, radius_warmup=2.0), evaluation=Evaluation(ATTACK, n=20))
    assert t["radius"].tolist() == pytest.approx([0.05, 0.1])
    assert t.meta["selected"]["epoch"] in (1, 2)
