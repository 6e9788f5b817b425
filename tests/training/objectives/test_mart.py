"""MART against the authors' loss written out in float64: values, gradients, its search, scores."""

import pytest
import torch
from tests.training.cases import ATTACK, THREAT, gradients, toy, toy_step
from torch import Tensor, nn

from cgro.definitions import FGSM, PGD
from cgro.training import MART


def theirs(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, beta: float) -> Tensor:
    """The code of Wang et al., per example: softmax, argsort, 1.0001 - p + 1e-12, KL, (1.0000001 - p_y)."""
    outputs = model(x_adv)
    clean = model(x)
    p = outputs.softmax(1)
    top = torch.argsort(p, dim=1)[:, -2:]
    second = torch.where(top[:, -1] == y, top[:, -2], top[:, -1])
    loss = nn.functional.cross_entropy(outputs, y, reduction="none")
    loss = loss + nn.functional.nll_loss((1.0001 - p + 1e-12).log(), second, reduction="none")
    q = clean.softmax(1)
    right = q.gather(1, y[:, None]).squeeze(1)
    kl = nn.functional.kl_div((p + 1e-12).log(), q, reduction="none").sum(1)
    return loss + beta * kl * (1.0000001 - right)


@pytest.mark.parametrize("beta", [0.0, 5.0])
def test_the_loss_and_its_gradient_are_the_authors(beta: float) -> None:
    model, twin = toy(), toy()
    step, other = toy_step(model), toy_step(twin)
    losses = MART(ATTACK, beta)(step)
    x_adv = other.craft(MART(ATTACK, beta).search)
    expected = theirs(twin, other.x, x_adv, other.y, beta)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-8)
    losses.sum().backward()
    expected.sum().backward()
    for ours, by_hand in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, by_hand, rtol=1e-5, atol=1e-8)


def test_the_floor_bounds_the_boosted_term() -> None:
    """An example that is wrong for sure: -log(1 - 1) is infinite in the equation, and -log 1e-4 in the code."""
    outputs, y = torch.tensor([[-500.0, 500.0]], dtype=torch.float64), torch.tensor([0])
    assert float(MART(ATTACK)._boosted(outputs, y)) == pytest.approx(1000 + 9.21034, abs=1e-4)
    assert torch.isinf(MART(ATTACK, floor=0.0)._boosted(outputs, y)).all()


def test_scores_are_two_logits() -> None:
    scores, y = torch.tensor([0.3, -2.0], dtype=torch.float64), torch.tensor([1, 1])
    logits = torch.stack([torch.zeros(2, dtype=torch.float64), scores], 1)
    mart = MART(ATTACK)
    torch.testing.assert_close(mart._boosted(scores, y), mart._boosted(logits, torch.tensor([1, 1])))
    by_hand = -scores.sigmoid().log() - (1.0001 - (1 - scores.sigmoid())).log()
    torch.testing.assert_close(mart._boosted(scores, y), by_hand)


def test_the_search_starts_beside_the_input_and_keeps_its_last_iterate() -> None:
    search = MART(ATTACK).search
    assert (search.keep, search.start_std, search.loss) == ("last", 0.001, None)


def test_bad_requests() -> None:
    for attack in (FGSM(THREAT), PGD(THREAT, n_steps=2, n_restarts=2)):
        with pytest.raises(ValueError, match="MART: expected"):
            MART(attack)
    for options in ({"beta": -1.0}, {"floor": -1e-3}):
        with pytest.raises(ValueError, match="mart: "):
            MART(ATTACK, **options)
