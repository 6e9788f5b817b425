"""Soft labels against torch's own cross-entropy with probabilities, of logits and of scores."""

import pytest
import torch

from cgro.definitions import PGD, SoftTargets, ThreatModel, classes_of, log_probabilities, soft_cross_entropy


def test_the_value_and_gradient_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(5, 4, generator=generator, dtype=torch.float64).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    targets = torch.rand(5, 4, generator=generator, dtype=torch.float64).softmax(1)
    losses = soft_cross_entropy(ours, targets)
    expected = torch.nn.functional.cross_entropy(theirs, targets, reduction="none")
    torch.testing.assert_close(losses, expected)
    losses.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_scores_are_two_logits_with_minus_one_first() -> None:
    scores, y = torch.tensor([0.5, -2.0]), torch.tensor([-1, 1])
    assert classes_of(y, are_signs=True).tolist() == [0, 1]
    assert classes_of(torch.tensor([2, 0]), are_signs=False).tolist() == [2, 0]
    log_p = log_probabilities(scores)
    torch.testing.assert_close(log_p[:, 1].exp(), scores.sigmoid())
    hard = torch.eye(2)
    torch.testing.assert_close(soft_cross_entropy(scores, hard), torch.nn.functional.softplus(-y * scores))


def test_an_attack_on_rows_takes_the_labels_of_its_rows() -> None:
    """The label says class 1 for all, the targets another class each: the ascent moves away from the targets."""
    targets = torch.eye(3)
    attack = PGD(ThreatModel("inf", 0.1), n_steps=3, loss=SoftTargets(targets), keep="last", n_restarts=1)
    x = torch.full((3, 3), 0.5)
    x_adv = attack(lambda v: 8 * v, x, torch.ones(3, dtype=torch.int64))
    assert (x_adv - x).diagonal().tolist() == pytest.approx([-0.1] * 3, abs=1e-6)
    assert torch.equal(SoftTargets(targets).rows(torch.tensor([2])).targets, targets[2:])


def test_targets_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="soft labels: expected shape"):
        soft_cross_entropy(torch.zeros(2, 3), torch.ones(2, 4))
