"""A run under a remedy: plain training where nothing is changed, and what is observed of it."""

from dataclasses import replace

import numpy as np
import pytest

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import LossBelow, Setting, simulate
from cgro.dynamics.remedied import change_of, classes_of, simulate_remedied
from cgro.dynamics.remedies import PLAIN, Remedy

BASE = Setting(PatchData(30), n_train=7, n_filters=5, radius_ratio=0.95, init_std=0.1)
NAMES = ("signal_margin", "noise_learned", "loss", "clean_margin", "robust_error/test", "robust_error/train")


@pytest.mark.parametrize("remedy", [PLAIN, Remedy(mixed=1e-300), Remedy(ema=0.0)])
def test_nothing_changed_is_plain_training(remedy: Remedy) -> None:
    """In both spaces."""
    ours = simulate_remedied(BASE, remedy, seeds=[2, 0], n_steps=2000, n_records=6, n_test=50)
    plain = simulate(BASE, seeds=[2, 0], n_steps=2000, n_records=6, n_test=50)
    assert ours.backend == ("direct" if remedy.mixed else "gram")
    assert (ours.steps == plain.steps).all()
    for name in NAMES:
        np.testing.assert_allclose(ours[name], plain[name], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.covariance, plain.covariance, rtol=1e-9)
    assert [o.kind for o in ours.outcomes] == [o.kind for o in plain.outcomes]


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy(fresh=0.5),
        Remedy(mixed=0.5),
        Remedy(mixed=0.5, share=0.25),
        Remedy(weight_decay=0.01),
        Remedy(ema=0.99),
        Remedy(half_life=300.0),
        Remedy(smoothing_clean=0.1),
        Remedy(smoothing_attacked=0.1),
        Remedy(trades=1.0),
        Remedy(trades=1.0, inner="margin"),
        Remedy(trades=2.0),
    ],
    ids=lambda remedy: remedy.words,
)
def test_every_remedy_changes_the_run_and_a_seed_is_the_same_in_every_batch(remedy: Remedy) -> None:
    both = simulate_remedied(BASE, remedy, seeds=[0, 1], n_steps=500, n_records=4, n_test=20)
    alone = simulate_remedied(BASE, remedy, seeds=[1], n_steps=500, n_records=4, n_test=20)
    np.testing.assert_array_equal(both["clean_margin"][:, 1], alone["clean_margin"][:, 0])
    plain = simulate_remedied(BASE, PLAIN, seeds=[1], n_steps=500, n_records=4, n_test=20)
    assert np.abs(alone.final("clean_margin") - plain.final("clean_margin")).max() > 1e-6


def test_the_average_is_what_is_observed_and_the_run_below_it_is_plain() -> None:
    late = simulate_remedied(BASE, Remedy(ema=0.95), n_steps=60, n_records=60, n_test=20)
    plain = simulate(BASE, n_steps=60, n_records=60, n_test=20)
    u = plain["filter_signal"][:, 0]
    assert list(plain.steps[:12]) == list(range(12))
    expected = u[0]
    for t in range(1, 12):
        expected = 0.95 * expected + 0.05 * u[t]
        np.testing.assert_allclose(late["filter_signal"][t, 0], expected, rtol=1e-12)


def test_weight_decay_shrinks_what_nothing_pulls_on() -> None:
    """At delta = alpha, lambda = 1 and N = 1 with no activation to speak of, filters decay by (1 - eta mu)^t."""
    setting = replace(BASE, n_train=1, init_std=1e-6, robust_weight=1.0, radius_ratio=1.0)
    run = simulate_remedied(setting, Remedy(weight_decay=0.2), n_steps=50, n_records=10, n_test=5)
    kept = (1 - setting.lr * 0.2) ** 50
    start = simulate(setting, n_steps=1, n_records=1, n_test=5)["filter_signal"][0]
    np.testing.assert_allclose(run["filter_signal"][-1], kept * start, rtol=1e-5)
    assert run.covariance[0, 0, 0] == pytest.approx(kept**2 * (1e-6**2) * 29, rel=0.8)


def test_a_stop_rule_ends_the_run_and_a_divergence_is_an_outcome() -> None:
    stopped = simulate_remedied(BASE, PLAIN, n_steps=50_000, n_records=50, n_test=5, stop_when=LossBelow(0.3))
    assert stopped.outcomes[0].kind == "stopped"
    assert stopped.steps[-1] < 50_000
    wild = simulate_remedied(replace(BASE, lr=50.0), Remedy(trades=1.0), n_steps=200, n_records=10, n_test=5)
    assert wild.outcomes[0].kind == "diverged"


def test_requests_that_cannot_be_met() -> None:
    with pytest.raises(BadRequest, match="seeds"):
        simulate_remedied(BASE, PLAIN, seeds=[])
    with pytest.raises(BadRequest, match="adversary"):
        simulate_remedied(replace(BASE, adversary="transfer"), PLAIN)
    with pytest.raises(BadRequest, match="below 1/lr"):
        change_of(BASE, Remedy(weight_decay=1e6))
    with pytest.raises(BadRequest, match="n_steps"):
        simulate_remedied(BASE, PLAIN, n_steps=0)


def test_progress_is_told() -> None:
    told: list[int] = []
    simulate_remedied(BASE, PLAIN, n_steps=10, n_records=3, n_test=5, progress=lambda step, note: told.append(step))
    assert told == [0, 1, 3, 10]


def test_classes_hold_everyone_once() -> None:
    found = classes_of(np.array([1.0, -1.0, -1.0, 1.0, 1.0]))
    assert found.counts.tolist() == [3, 2]
    assert found.members[0, :3].tolist() == [0, 3, 4]
    assert found.members[1, :2].tolist() == [1, 2]
    assert found.places.tolist() == [0, 0, 1, 1, 2]
