"""MLCAT-LS: gradients that are zero exactly, the detached variant, losses of zero."""

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, gradients, small, toy, toy_step, train

from cgro.data import Dataset
from cgro.training import MLCATLS, Adversarial, Recipe


def losses_of(value: float) -> torch.Tensor:
    return torch.tensor([0.0, 0.3, 1.4999, 1.5, 4.0, value], dtype=torch.float64, requires_grad=True)


def test_published_gradients_are_zero_exactly_below_the_minimum() -> None:
    losses = losses_of(1e-30)
    scaled = MLCATLS(1.5).scaled(losses)
    scaled.sum().backward()
    assert scaled.tolist() == [1.5, 1.5, 1.5, 1.5, 4.0, 1.5]
    assert losses.grad.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]


def test_the_authors_product_is_the_same() -> None:
    """l (l_min / l) with autograd through the factor, as in their code, where it is finite."""
    losses, theirs = losses_of(0.7), losses_of(0.7)
    factor = torch.where(theirs < 1.5, 1.5 / theirs, 1.0)
    (theirs * factor)[1:].sum().backward()
    MLCATLS(1.5).scaled(losses).sum().backward()
    torch.testing.assert_close(losses.grad[1:], theirs.grad[1:], rtol=0, atol=1e-12)


def test_detached_it_pulls_harder_at_small_losses() -> None:
    losses = losses_of(0.75)
    scaled = MLCATLS(1.5, detach=True).scaled(losses)
    scaled.sum().backward()
    assert scaled.tolist() == pytest.approx([0.0, 1.5, 1.5, 1.5, 4.0, 1.5])
    assert losses.grad[1:].tolist() == pytest.approx([5.0, 1.5 / 1.4999, 1.0, 1.0, 2.0])
    assert torch.isfinite(losses.grad).all()


def test_a_step_has_no_gradient_where_every_loss_is_small() -> None:
    model = toy()
    step = toy_step(model)
    loss = MLCATLS(50.0).around(step, compute_of(step, Adversarial(ATTACK)))
    assert float(loss) == 50.0
    assert all(not gradient.any() for gradient in gradients(model))
    assert step.reweigh == []


def test_every_option_changes_the_result_and_zero_nothing(digits: Dataset) -> None:
    results: list[torch.Tensor] = []
    for extensions in ([], [MLCATLS(0.0)], [MLCATLS(2.0)], [MLCATLS(2.2)], [MLCATLS(2.2, detach=True)]):
        model = small()
        train(model, digits, Recipe(epochs=20, lr=0.02), weight=0.0, extensions=extensions, evaluation=None)
        results.append(model[1].weight.detach())
    assert torch.equal(results[0], results[1])
    for k, result in enumerate(results[1:], 1):
        assert all(not torch.equal(result, other) for other in results[k + 1 :])


def test_bad_requests() -> None:
    with pytest.raises(ValueError, match="mlcat-ls: l_min"):
        MLCATLS(-1.0)
