"""Mixup against its equation."""

import torch
from tests.training.cases import ATTACK, compute_of, small, toy_data

from cgro.definitions import Draws
from cgro.training import Adversarial, Mixup, Recipe, Step


def test_the_combinations() -> None:
    x, other = torch.rand(3, 1, 2, 2), torch.rand(3, 1, 2, 2)
    share = torch.tensor([1.0, 0.25, 0.0])
    mixed, after = Mixup().mixed(x, other, share, Draws.of(0, "", torch.arange(3)))
    torch.testing.assert_close(mixed[0], x[0])
    torch.testing.assert_close(mixed[1], 0.25 * x[1] + 0.75 * other[1])
    torch.testing.assert_close(mixed[2], other[2])
    assert torch.equal(after, share)


def test_the_loss_is_mixed_as_the_inputs_are() -> None:
    """s L(f(x~), y) + (1 - s) L(f(x~), y_j), the code of Zhang et al., with s, j of the streams."""
    data, model = toy_data(), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    mixup = Mixup(alpha=1.0)
    mixup.prepare(small(), Recipe(), data)

    def streams(purpose: str) -> Draws:
        return Draws.of(0, purpose, torch.arange(6))

    x, y = data.train.batch(torch.arange(6))
    step = Step(model, x, y, model, streams, ATTACK)
    loss = mixup.around(step, compute_of(step, Adversarial(ATTACK, 0.0)))
    u = streams("mixup").uniform(3).T
    j, s = (u[0] * 12).long(), u[2].float()
    mixed = s.view(-1, 1, 1, 1) * x + (1 - s).view(-1, 1, 1, 1) * data.train.x[j]
    cross_entropy = torch.nn.CrossEntropyLoss(reduction="none")
    outputs = model(mixed)
    expected = s * cross_entropy(outputs, y) + (1 - s) * cross_entropy(outputs, data.train.y[j])
    torch.testing.assert_close(loss, expected.mean().detach())
