"""Adversaries that move every patch: inside the ball, exact where a closed form exists, gradient equal to autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cgro.data.patches import PatchData
from cgro.definitions import ThreatModel
from cgro.definitions.losses import logistic
from cgro.dynamics import Setting, full_ball_errors, simulate
from cgro.dynamics.full_ball import attack, full_ball, pull, scores
from cgro.dynamics.spaces import direct, draw

SMALL = Setting(PatchData(12, 3), n_train=6, n_filters=5, radius_ratio=0.4, init_std=0.3, adversary="l2")


@pytest.mark.parametrize("form", ["odd", "halves"])
def test_scores_and_pull_equal_the_network_and_autograd(form):
    setting = replace(SMALL, activation=form, n_filters=6)
    batch = full_ball(setting, [2])
    sample, network = draw(setting, 2)
    np.testing.assert_allclose(scores(batch.rule, batch.bank(), batch.x)[0], network(sample.x).detach(), rtol=1e-12)
    loss = logistic(network(sample.x), sample.y).sum()
    loss.backward()
    found = pull(batch.rule, batch.bank(), batch.x, batch.y, np.ones_like(batch.y))[0].T
    np.testing.assert_allclose(found, -network.filters.grad, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("p", ["l2", "linf"])
def test_attack_stays_in_the_ball_and_never_helps_the_network(p):
    setting = replace(SMALL, adversary=p)
    batch = full_ball(setting, [0, 1])
    bank = batch.bank()
    x_adv = attack(setting, batch.rule, bank, batch.x, batch.y, 20)
    for s in range(2):
        inside = ThreatModel(p[1:], setting.radius, None).contains(
            torch.from_numpy(x_adv[s]), torch.from_numpy(batch.x[s])
        )
        assert inside.all()
    before, after = (batch.y * scores(batch.rule, bank, x) for x in (batch.x, x_adv))
    assert (after <= before).all()
    assert (after < before - 1e-3).any()


def test_attack_finds_the_closed_form_for_one_filter_under_linf():
    """m = 1, odd: f is monotone in each <w, X[j]>, so the worst shift is -y radius sign(w) on every patch."""
    setting = replace(SMALL, n_filters=1, adversary="linf")
    batch = full_ball(setting, range(5))
    bank = batch.bank()
    exact = batch.x - setting.radius * batch.y[..., None, None] * np.sign(bank[:, None, None, :, 0])
    found = attack(setting, batch.rule, bank, batch.x, batch.y, 10)
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_standard_training_is_the_same_run_as_in_closed_form():
    setting = replace(SMALL, robust_weight=0.0, lr=0.05)
    ball, reference = full_ball(setting, [0, 1]), direct(setting, [0, 1])
    for batch in (ball, reference):
        batch.advance(50, compiled=False)
    np.testing.assert_allclose(ball.u, reference.u, rtol=1e-11)
    np.testing.assert_allclose(ball.filters, reference.filters, rtol=1e-11, atol=1e-14)


def test_the_full_ball_is_at_least_as_strong_as_the_restricted_one():
    setting = Setting(PatchData(30), n_train=8, n_filters=12, radius_ratio=0.6)
    run = simulate(setting, seeds=[0, 1], n_steps=300, n_test=50, backend="direct")
    found = full_ball_errors(run.meta["batch"], setting, p="l2", n_test=200, seeds=[0, 1])
    assert (found["train"] >= run.final("robust_error/train") - 1e-12).all()
    zero = full_ball_errors(run.meta["batch"], replace(setting, radius_ratio=0.0), p="l2", n_test=200, seeds=[0, 1])
    np.testing.assert_allclose(zero["train"], run.final("clean_error/train"))


def test_training_against_the_full_ball_runs_and_records():
    run = simulate(SMALL, seeds=[0, 1], n_steps=30, n_test=20, n_records=6)
    assert run.meta["backend"] == "direct"
    assert np.isfinite(run["loss"]).all()
    other = simulate(replace(SMALL, attack_steps=1), seeds=[0, 1], n_steps=30, n_test=20, n_records=6)
    assert (run.final("loss") != other.final("loss")).all()


def test_bad_requests_are_one_line():
    with pytest.raises(ValueError, match="full-ball"):
        simulate(SMALL, n_steps=2, backend="gram")
    with pytest.raises(ValueError, match="l2 or linf"):
        full_ball_errors(direct(SMALL, [0]), SMALL, p="l1", n_test=5, seeds=[0])
