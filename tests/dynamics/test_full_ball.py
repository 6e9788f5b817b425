"""Training against adversaries that move every patch, and errors under them: closed forms, gradients by autograd."""

from dataclasses import replace

import numpy as np
import pytest

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.definitions.losses import logistic
from cgro.dynamics import Setting, Simulation, full_ball_errors, simulate
from cgro.dynamics.ball_attack import Carried, attack, ball_of, scores
from cgro.dynamics.full_ball import full_ball, pull, training_inputs, whole_filters
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


def test_the_attack_of_training_finds_the_closed_form_for_one_filter_under_linf():
    """m = 1, odd: f is monotone in each <w, X[j]>, so the worst shift is -y radius sign(w) on every patch."""
    setting = replace(SMALL, n_filters=1, adversary="linf")
    batch = full_ball(setting, range(5))
    bank = whole_filters(batch)
    exact = batch.x - setting.radius * batch.y[..., None, None] * np.sign(bank[:, None, None, :, 0])
    start = Carried(np.zeros_like(batch.x))
    found = attack(ball_of("linf", setting.radius), batch.rule, bank, x=batch.x, y=batch.y, n_steps=10, carried=start)
    np.testing.assert_allclose(batch.x + found.moved, exact, atol=1e-12)


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
def test_errors_of_a_seed_do_not_depend_on_the_other_seeds(p):
    setting = replace(SMALL, n_train=20, radius_ratio=0.2)
    together = full_ball_errors(direct(setting, [3, 5]), setting, p=p, n_test=60, seeds=[3, 5])
    for s, seed in enumerate((3, 5)):
        alone = full_ball_errors(direct(setting, [seed]), setting, p=p, n_test=60, seeds=[seed])
        assert {k: v[0] for k, v in alone.items()} == {k: v[s] for k, v in together.items()}


def trained_against_the_signal(ratio: float) -> tuple[Setting, Simulation]:
    """A network that has learned the signal alone."""
    setting = Setting(PatchData(40), n_train=8, n_filters=6, radius_ratio=ratio)
    return setting, simulate(setting, seeds=[0, 1], n_steps=600, n_test=50, backend="direct")


@pytest.mark.parametrize(("ratio", "broken"), [(0.6, 0.0), (0.72, 1.0), (0.85, 1.0)])
def test_the_signal_alone_falls_at_alpha_over_sqrt_2(ratio: float, broken: float):
    """X - (delta / sqrt 2) y w* in both patches is wrong for every example beyond it; the first version said 0."""
    setting, run = trained_against_the_signal(ratio)
    found = full_ball_errors(run.vectors, setting, p="l2", n_test=100, seeds=[0, 1])
    np.testing.assert_array_equal(found["train"], broken)
    np.testing.assert_array_equal(found["test"], broken)
    x = training_inputs(run.vectors, setting)
    written = x.copy()
    written[..., 0] -= run.vectors.y[..., None] * setting.radius / 2**0.5
    np.testing.assert_allclose(np.linalg.norm((written - x).reshape(2, 8, -1), axis=-1), setting.radius)
    margins = run.vectors.y * scores(run.vectors.rule, whole_filters(run.vectors), written)
    assert ((margins <= 0) == bool(broken)).all()


def test_a_point_in_one_patch_along_a_filter_is_found():
    """A weapon that is no patch of the example: a strong filter along the noise of another one."""
    setting = Setting(PatchData(40), n_train=4, n_filters=6, radius_ratio=0.5)
    batch = direct(setting, [0])
    batch.filters[:] = 0.0
    batch.u[:] = 0.0
    batch.u[0, 0, 0] = 1.0
    other = batch.noise[0, 0] / np.linalg.norm(batch.noise[0, 0])
    batch.filters[0, :, 1] = 3.0 * other
    found = full_ball_errors(batch, setting, p="l2", n_test=50, seeds=[0])
    assert found["test"] == 1.0
    batch.filters[0, :, 1] = 0.5 * other
    assert full_ball_errors(batch, setting, p="l2", n_test=50, seeds=[0])["test"] == 0.0


def test_training_against_the_full_ball_fits_by_memory_what_it_does_not_generalize():
    """CGRO with delta < alpha and an attack on every patch; standard training on the same data does not fit it."""
    noise = 2.1 * 0.9 * PatchData(40).signal_strength
    data = PatchData(40, noise_std=noise / 39**0.5)
    setting = Setting(data, n_train=12, n_filters=12, radius_ratio=0.9, lr=0.3 / noise**2)
    errors = {}
    for weight in (0.5, 0.0):
        of_weight = replace(setting, robust_weight=weight, adversary="l2")
        run = simulate(of_weight, seeds=[0], n_steps=1800, n_records=4, n_test=200)
        errors[weight] = full_ball_errors(run.vectors, of_weight, p="l2", n_test=100, seeds=[0])
        assert (run.final("clean_error/test") < 0.02).all()
    assert (errors[0.5]["train"] == 0).all()
    assert (errors[0.5]["test"] == 1).all()
    assert (errors[0.0]["train"] > 0.5).all()


@pytest.mark.parametrize(
    ("change", "word"),
    [({"seeds": []}, "seeds"), ({"seeds": [-1]}, "seed"), ({"n_test": 0}, "n_test"), ({"n_steps": -1}, "n_steps")],
)
def test_errors_of_nothing_are_refused(change, word):
    setting = Setting(PatchData(6), n_train=2, n_filters=2)
    batch = direct(setting, [0])
    with pytest.raises(BadRequest, match=word):
        full_ball_errors(batch, setting, **{"p": "l2", "n_test": 2, "seeds": [0], **change})
