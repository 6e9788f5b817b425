"""Theorem 4.4, robust test error of the network: attacks that know its structure, against its certificate."""

import torch
from torch import nn

from cgro.data import Dataset
from cgro.definitions import ThreatModel, margin
from cgro.models.head import Scores
from cgro.representation import RobustMemorizer, bracket_robust_error, broken_by, certified_robust


def test_bracket_holds_and_shows_the_masked_gradient(digits: tuple[Dataset, nn.Module]):
    data, model = digits
    threat = ThreatModel("inf", 0.1)
    m = RobustMemorizer(model, data.train.x, data.train.y, threat)
    found = bracket_robust_error(m, data.test.x, data.test.y)
    assert found.upper is not None
    assert found.naive.value <= found.lower.value <= found.upper.value
    assert found.transfer.value <= found.lower.value
    certified = certified_robust(m, data.test.x, data.test.y)
    assert int((~certified).sum()) == found.upper.wrong
    trained_on = certified_robust(m, data.train.x, data.train.y)
    assert trained_on.all(), "a training ball lies in its own core"
    broken = broken_by(m, data.train.x, data.train.y, n_restarts=1)
    assert not any(bool(b.any()) for b in broken.values())


def test_naive_pgd_is_blind_inside_a_support_and_the_joint_attack_is_not():
    """f_clean is right everywhere; x lies on the slope of a support of the other class, off f_clean's gradient."""
    x, y = torch.tensor([[0.2, 0.2], [0.8, 0.8]]), torch.tensor([-1, 1])
    flat = nn.Sequential(nn.Linear(2, 1), Scores()).eval().requires_grad_(False)
    for parameter, value in zip(flat.parameters(), (0.0, 0.3), strict=True):
        parameter.fill_(value)
    m = RobustMemorizer(flat, x, y, ThreatModel("inf", 0.1))
    q, label = torch.tensor([[0.42, 0.2]]).expand(200, 2), torch.ones(200, dtype=torch.long)
    assert bool((margin(m(q), label) > 0).all())
    found = broken_by(m, q, label, n_steps=10, n_restarts=1)
    # Without a gradient PGD succeeds only where its random start lands on the slope, in less than half of the ball.
    assert int(found["naive"].sum()) < 0.6 * 200
    assert not bool(found["transfer"].any())
    assert bool(found["joint"].all())
    assert not bool(certified_robust(m, q[:1], label[:1]))
