"""Gradient alignment against its closed form and at a kink, and when it is recorded."""

import copy

import pytest
import torch
from tests.training.cases import same_weights, small, train
from torch import nn

from cgro.data import Dataset
from cgro.definitions import FGSM, PGD, NoAttack, ThreatModel
from cgro.training import GradientAlignment, Recipe, gradient_alignment
from cgro.training.alignment import KEY, alignment_probes

THREAT = ThreatModel("inf", 0.25)


def test_the_closed_form_of_a_quadratic() -> None:
    """f(x) = |x - c|^2 / 2: the gradients are multiples of x - c and of x + d - c, whose cosine is known."""
    x, center = torch.rand(5, 3, dtype=torch.float64), torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    near = THREAT.sample(x, torch.Generator().manual_seed(0))
    found = gradient_alignment(lambda v: (v - center).square().sum(1) / 2, x, torch.ones(5), THREAT)
    a, b = x - center, near - center
    torch.testing.assert_close(found, (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)), rtol=1e-10, atol=0)


def test_a_kink_in_the_ball_turns_the_gradient() -> None:
    """f(x) = |x - 0.5| at x = 0.5 + small: -1 where the random point lies on the other side."""
    x = torch.full((400, 1), 0.5001)
    found = gradient_alignment(lambda v: (v[:, 0] - 0.5).abs(), x, torch.ones(400), THREAT)
    assert set(found.round().tolist()) == {-1.0, 1.0}
    assert abs(float(found.mean())) < 0.2


def test_it_observes_and_changes_nothing(digits: Dataset) -> None:
    model = small().eval()
    before = copy.deepcopy(model)
    plain, watched = small(), small()
    train(plain, digits, Recipe(epochs=2), evaluation=None)
    t = train(watched, digits, Recipe(epochs=2), evaluation=None, probes=[GradientAlignment(THREAT, n=20)])
    assert same_weights(plain, watched)
    assert t[KEY].shape == (2,)
    assert (t[KEY] <= 1).all()
    gradient_alignment(model, digits.train.x, digits.train.y, THREAT)
    assert same_weights(model, before)
    assert all(p.grad is None for p in model.parameters())


def test_labels_of_scores(digits: Dataset) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    y = 2 * (digits.train.y % 2) - 1
    found = gradient_alignment(model, digits.train.x, y, THREAT)
    torch.testing.assert_close(found, torch.ones(60))


def test_it_is_recorded_where_the_attack_takes_one_step() -> None:
    assert alignment_probes(FGSM(THREAT)) == (GradientAlignment(THREAT),)
    assert len(alignment_probes(PGD(THREAT, n_steps=1))) == 1
    for attack in (PGD(THREAT, n_steps=2), NoAttack(), None):
        assert alignment_probes(attack) == ()
    with pytest.raises(ValueError, match="n: expected"):
        GradientAlignment(THREAT, n=0)
