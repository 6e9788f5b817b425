"""Adversaries that move every patch: inside the ball, exact where a closed form exists, gradient equal to autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cgro.data.patches import PatchData
from cgro.definitions import ThreatModel
from cgro.definitions.losses import logistic
from cgro.dynamics import Setting, full_ball_errors, simulate
from cgro.dynamics.full_ball import ascend, attack, ball_of, full_ball, pull, scores, whole_filters
from cgro.dynamics.spaces import direct, draw

SMALL = Setting(PatchData(12, 3), n_train=6, n_filters=5, radius_ratio=0.4, init_std=0.3, adversary="l2")


@pytest.mark.parametrize("form", ["odd", "halves"])
def test_scores_and_pull_equal_the_network_and_autograd(form):
    setting = replace(SMALL, activation=form, n_filters=6)
    batch = full_ball(setting, [2])
    sample, network = draw(setting, 2)
    np.testing.assert_allclose(
        scores(batch.rule, whole_filters(batch), batch.x)[0], network(sample.x).detach(), rtol=1e-12
    )
    loss = logistic(network(sample.x), sample.y).sum()
    loss.backward()
    found = pull(batch.rule, whole_filters(batch), batch.x, y=batch.y, weights=np.ones_like(batch.y))[0].T
    np.testing.assert_allclose(found, -network.filters.grad, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("p", ["l2", "linf"])
def test_attack_stays_in_the_ball_and_never_helps_the_network(p):
    setting = replace(SMALL, adversary=p)
    batch = full_ball(setting, [0, 1])
    bank = whole_filters(batch)
    x_adv = attack(ball_of(p, setting.radius), batch.rule, bank, x=batch.x, y=batch.y, n_steps=20)
    for s in range(2):
        threat = ThreatModel(p[1:], setting.radius, None)
        assert threat.contains(torch.from_numpy(x_adv[s]), torch.from_numpy(batch.x[s])).all()
    before, after = (batch.y * scores(batch.rule, bank, x) for x in (batch.x, x_adv))
    assert (after <= before).all()
    assert (after < before - 1e-3).any()


def test_attack_finds_the_closed_form_for_one_filter_under_linf():
    """m = 1, odd: f is monotone in each <w, X[j]>, so the worst shift is -y radius sign(w) on every patch."""
    setting = replace(SMALL, n_filters=1, adversary="linf")
    batch = full_ball(setting, range(5))
    bank = whole_filters(batch)
    exact = batch.x - setting.radius * batch.y[..., None, None] * np.sign(bank[:, None, None, :, 0])
    found = attack(ball_of("linf", setting.radius), batch.rule, bank, x=batch.x, y=batch.y, n_steps=10)
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


@pytest.mark.parametrize("p", ["l2", "linf"])
def test_a_step_is_that_of_the_threat_model(p):
    """Steps that stay inside and steps that are projected, by the direction and the projection that attacks use."""
    rng = np.random.default_rng(0)
    threat = ball_of(p, 0.8)
    gradient = rng.standard_normal((2, 30, 3, 7))
    moved = threat.sample(torch.from_numpy(gradient).flatten(0, 1), torch.Generator().manual_seed(0)).numpy()
    moved = moved.reshape(gradient.shape) - gradient
    found = ascend(threat, moved, gradient, size=0.3)
    step = 0.3 * threat.direction(torch.from_numpy(gradient).flatten(0, 1))
    free = torch.from_numpy(moved).flatten(0, 1) + step
    expected = threat.project(free, torch.zeros_like(free))
    assert int((free != expected).flatten(1).any(1).sum()) > 0
    assert p == "linf" or int((free == expected).flatten(1).all(1).sum()) > 0
    np.testing.assert_allclose(found, expected.numpy().reshape(found.shape), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("p", ["l2", "linf"])
def test_errors_of_a_seed_do_not_depend_on_the_other_seeds(p):
    setting = replace(SMALL, n_train=20, radius_ratio=0.2)
    together = full_ball_errors(direct(setting, [3, 5]), setting, p=p, n_test=60, seeds=[3, 5])
    for s, seed in enumerate((3, 5)):
        alone = full_ball_errors(direct(setting, [seed]), setting, p=p, n_test=60, seeds=[seed])
        assert {k: v[0] for k, v in alone.items()} == {k: v[s] for k, v in together.items()}


def test_random_starts_find_what_the_first_two_do_not():
    setting = replace(SMALL, n_train=40, radius_ratio=0.3)
    batch = direct(setting, range(4))
    batch.u[:] = 0.8 * np.abs(np.random.default_rng(0).standard_normal(batch.u.shape))
    totals = []
    for n_restarts in (1, 2, 8):
        found = full_ball_errors(batch, setting, p="l2", n_test=100, seeds=range(4), n_steps=1, n_restarts=n_restarts)
        totals.append(np.concatenate([found["train"], found["test"]]))
    assert (totals[0] <= totals[1]).all()
    assert (totals[1] <= totals[2]).all()
    assert totals[2].sum() > totals[1].sum() + 0.02
