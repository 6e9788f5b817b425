"""Attacks along the gradient against closed forms."""

import math

import pytest
import torch
from tests import oracles
from tests.cases import THREATS, LinearScore, points
from tests.definitions.attack_cases import IDS

from cgro.definitions import (
    FGSM,
    PGD,
    ThreatModel,
    margin,
    negative_margin,
    robust_error,
)


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_attacks_reach_the_closed_form_on_linear_scores(threat: ThreatModel) -> None:
    model, (x, y) = LinearScore(), points(25)
    truth = [
        float(m) - oracles.linear_worst_case(g, row, threat.p, threat.radius, threat.box)
        for m, g, row in zip(
            (y * model(x)).tolist(), (-y[:, None] * model.w).detach().double().numpy(), x.double().numpy(), strict=True
        )
    ]
    for attack in (FGSM(threat), PGD(threat, n_steps=100), PGD(threat, n_steps=100, random_start=False)):
        reached = margin(model(attack(model, x, y)), y).detach()
        torch.testing.assert_close(reached, torch.tensor(truth), atol=2e-5, rtol=0)


def test_a_search_with_swapped_labels_misses_the_closed_form() -> None:
    """The planted fault that the comparison above must catch."""
    threat, model, (x, y) = ThreatModel("inf", 0.1, None), LinearScore(), points(25)
    swapped = PGD(threat, n_steps=20, loss=lambda outputs, labels: negative_margin(outputs, -labels))
    best = y * model(x) - 0.1 * model.w.abs().sum()
    assert float((margin(model(swapped(model, x, y)), y) - best).detach().min()) > 0.01


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_binary_linear_logits_equal_scores(p: float) -> None:
    """Two logits z and -z are the score 2z: both forms of labels must give the same robust error."""
    score, (x, y) = LinearScore(), points(200)
    attack = PGD(ThreatModel(p, 0.15), n_steps=50)
    logits = lambda v: torch.stack([-score(v), score(v)], 1)  # noqa: E731
    assert robust_error(score.eval(), x, y, attack) == robust_error(logits, x, (y + 1) // 2, attack)
