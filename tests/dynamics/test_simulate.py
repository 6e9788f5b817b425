"""The loop: outcomes, stopping, recording, bad input, and that every option has an effect."""

from dataclasses import replace

import numpy as np
import pytest

from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, Setting, largest_stable_lr, simulate
from cgro.dynamics.spaces import gram

SMALL = Setting(PatchData(30), n_train=6, n_filters=8, radius_ratio=0.97, init_std=0.1)


def test_observing_changes_nothing():
    often, seldom = (simulate(SMALL, n_steps=400, n_test=10, n_records=n) for n in (100, 2))
    np.testing.assert_allclose(often.final("signal_learned"), seldom.final("signal_learned"), rtol=1e-12)


def test_recorded_quantities_are_what_they_are_called():
    run = simulate(replace(SMALL, data=PatchData(30, 3)), seeds=[1, 2], n_steps=50, n_test=10, backend="gram")
    batch = run.meta["batch"]
    z, u = batch.activations(), batch.u[:, 0]
    for s in range(2):
        learned = [batch.y[s, i] * sum(z[s, 2 * i + j, r] ** 3 for j in range(2) for r in range(8)) for i in range(6)]
        np.testing.assert_allclose(run.final("noise_learned")[s], learned, rtol=1e-12)
        assert run.final("signal_learned")[s] == pytest.approx((u[s] ** 3).sum())
        assert run.final("signal_component")[s] == u[s].max()
        clean = SMALL.strength**3 * (u[s] ** 3).sum() + np.array(learned)
        np.testing.assert_allclose(run.final("clean_margin")[s], clean, rtol=1e-12)
        assert run.final("noise_component")[s].shape == (6, 2)
        assert run.final("noise_component")[s, 4, 1] == pytest.approx((batch.y[s, 4] * z[s, 9]).max())
        assert run.final("filter_noise")[s, 3] == pytest.approx((np.repeat(batch.y[s], 2) * z[s, :, 3]).max())


def test_a_diverging_step_is_an_outcome_that_names_the_largest_stable_one():
    run = simulate(replace(SMALL, lr=30.0), seeds=[0, 1], n_steps=1000, n_test=5)
    outcome = run.outcome[0]
    assert outcome.kind == "diverged"
    assert not outcome.ok
    assert "largest stable lr is about" in outcome.reason
    stable = float(outcome.reason.rsplit(" ", 1)[1])
    good = simulate(replace(SMALL, lr=0.9 * stable), n_steps=2000, n_test=5)
    assert good.outcome[0].ok
    assert not simulate(replace(SMALL, lr=1.3 * stable), n_steps=2000, n_test=5).outcome[0].ok


def test_largest_stable_lr_is_bracketed():
    stable = largest_stable_lr(replace(SMALL, lr=30.0), 0, 10, accuracy=1.01)
    assert largest_stable_lr(replace(SMALL, lr=40.0), 0, 10, accuracy=1.2) == pytest.approx(stable, rel=0.21)


def test_the_presets_are_well_below_their_largest_stable_step():
    for name in ("theorem", "table2"):
        assert largest_stable_lr(replace(PRESETS[name], lr=3.0), 0, 100) > 1.5 * PRESETS[name].lr


def test_stops_when_memorised_and_below_a_loss():
    setting = replace(SMALL, radius_ratio=0.99)
    run = simulate(setting, seeds=[0, 1], n_steps=100_000, n_test=5, stop_when="memorized")
    assert run.outcome[0].kind == "stopped"
    assert run.steps[-1] < 100_000
    assert not run.final("robust_error/train").any()
    assert run.final("noise_learned").mean(1).min() > 0.5
    run = simulate(setting, n_steps=100_000, n_test=5, loss_below=0.3)
    assert run.outcome[0].kind == "stopped"
    assert run.final("loss")[0] < 0.3 <= run["loss"][-2, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"data": PatchData(30, 3)}, {"data": PatchData(30, n_signals=2)}, {"data": PatchData(30, balanced=True)},
        {"data": PatchData(30, noise_std=0.5)}, {"data": PatchData(30, signal_strength=2.0)}, {"n_train": 7},
        {"n_filters": 10}, {"activation_power": 2.0}, {"activation": "halves"}, {"init_std": 0.11}, {"radius_ratio":
        0.9}, {"robust_weight": 0.4}, {"lr": 0.05}, {"adversary": "l2"}, {"batch_size": 3},
    ],
)  # fmt: skip
def test_every_parameter_has_an_effect(change):
    runs = [simulate(s, seeds=[0], n_steps=60, n_test=5, n_records=4) for s in (SMALL, replace(SMALL, **change))]
    assert runs[0].final("loss")[0] != runs[1].final("loss")[0]


def test_transfer_differs_only_where_the_signal_is_negative():
    runs = {}
    for adversary in ("restricted", "transfer"):
        setting = replace(SMALL, adversary=adversary)
        batch = gram(setting, range(40))
        negative = batch.rule.class_signal(batch.u)[:, 0, 0] < 0
        batch.advance(1, compiled=False)
        runs[adversary] = batch.u
    same = (runs["restricted"] == runs["transfer"]).all((1, 2))
    assert negative.any()
    assert (same == ~negative).all()


def test_law_reaches_a_million_dimensions():
    setting = Setting(PatchData(1_000_000), n_train=10, n_filters=8)
    run = simulate(setting, n_steps=50, n_test=10)
    assert run.meta["backend"] == "law"
    assert run.outcome[0].ok


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Setting(n_train=0), "n_train"), (lambda: Setting(activation_power=1.9), "activation_power"),
        (lambda: Setting(radius_ratio=-0.1), "radius_ratio"), (lambda: Setting(robust_weight=1.1), "robust_weight"),
        (lambda: Setting(robust_weight=float("nan")), "robust_weight"), (lambda: Setting(lr=0.0), "lr"),
        (lambda: Setting(lr=-1.0), "lr"), (lambda: Setting(init_std=0.0), "saddle"),
        (lambda: Setting(batch_size=31), "batch_size"),
        (lambda: Setting(adversary="nobody"), "adversary"), (lambda: Setting(activation="halves", n_filters=5), "even"),
        (lambda: simulate(SMALL, seeds=[]), "seeds"), (lambda: simulate(SMALL, n_steps=0), "n_steps"),
        (lambda: simulate(SMALL, backend="magic"), "backend"),
        (lambda: simulate(replace(SMALL, n_train=60), backend="law"), "at most 29"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(make, word):
    with pytest.raises(ValueError, match=word) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_setting_survives_a_round_trip_through_plain_values():
    assert Setting.from_dict(SMALL.to_dict()) == SMALL
