"""The spaces against each other; the drawn Gram matrix against the law of the real one."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import CASES, SMALL, bank

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, Setting
from cgro.dynamics.spaces import bartlett, cheapest, direct, draw, gram, law


@pytest.mark.parametrize("name", CASES)
def test_back_ends_and_loops_agree_over_many_steps(name):
    setting, states = replace(CASES[name], lr=0.02, init_std=0.1), {}
    for build in (direct, gram):
        for compiled in (False, True):
            batch = build(setting, [3, 4])
            batch.advance(300, compiled=compiled)
            states[build.__name__, compiled] = batch
    reference = states["direct", False]
    for batch in states.values():
        np.testing.assert_allclose(batch.u, reference.u, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(batch.activations(), reference.activations(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(batch.covariance(), reference.covariance(), rtol=1e-10, atol=1e-12)


def test_gram_against_direct_after_30000_steps():
    setting = replace(PRESETS["theorem"], n_train=12, n_filters=12, data=PatchData(40))
    a, b = direct(setting, [0]), gram(setting, [0])
    for batch in (a, b):
        batch.advance(30_000, compiled=True)
    assert np.abs(a.activations()).max() > 0.5  # memorisation has happened: the comparison is not of small numbers
    np.testing.assert_allclose(a.u, b.u, rtol=0, atol=1e-11)
    np.testing.assert_allclose(a.activations(), b.activations(), rtol=0, atol=1e-11)


def test_mini_batches_average_to_the_full_gradient():
    setting = replace(SMALL, batch_size=2, lr=1e-3)
    batch = gram(setting, [0])
    weights = batch.weights(40_000, 0)
    assert set(np.unique(weights)) == {0.0, 2.5}
    assert (np.count_nonzero(weights, axis=1) == 2).all()
    np.testing.assert_allclose(weights.mean(0), 1.0, atol=0.03)  # 2.5 sd of a share 0.4 over 40,000 draws is 0.015


def test_the_drawn_gram_matrix_has_the_law_of_the_real_one():
    setting = Setting(PatchData(30, noise_std=0.3), n_train=6, n_filters=4, init_std=0.5)
    seeds = range(4000)
    real, drawn = gram(setting, seeds), law(setting, seeds)
    for name in ("gram", "start", "start_cov"):
        a, b = getattr(real, name), getattr(drawn, name)
        for power in (1, 2):
            x, y = a**power, b**power
            error = np.sqrt((x.var(0) + y.var(0)) / len(x))
            assert (np.abs(x.mean(0) - y.mean(0)) < 5 * error).all(), (name, power)
    # The dependence between start and Gram matrix matters too: E of Z_0^T G^-1 Z_0 = sigma_0^2 n I.
    for batch in (real, drawn):
        whitened = batch.start.transpose(0, 2, 1) @ np.linalg.solve(batch.gram, batch.start)
        np.testing.assert_allclose(whitened.mean(0), 0.25 * 6 * np.eye(4), atol=0.1)


@pytest.mark.parametrize(("size", "degrees"), [(3, 7), (3, 3), (5, 2)])
def test_bartlett_has_the_mean_and_variance_of_a_wishart(size, degrees):
    rng = np.random.default_rng(0)
    draws = np.stack([(f := bartlett(size, degrees, rng)) @ f.T for _ in range(20_000)])
    np.testing.assert_allclose(draws.mean(0), degrees * np.eye(size), atol=0.15)
    variance = degrees * (np.eye(size) + 1)
    np.testing.assert_allclose(draws.var(0), variance, rtol=0.1)


def test_order_one_towards_the_gradient_flow():
    """At fixed eta * t inside stage I, halving the step halves the distance to the flow."""
    base = replace(PRESETS["theorem"], n_train=8, n_filters=8, data=PatchData(20), init_std=0.1)
    ends = []
    for halvings in range(8):
        batch = gram(replace(base, lr=0.02 / 2**halvings), [1])
        batch.advance(20 * 2**halvings, compiled=True)
        ends.append(batch.u[0, 0].copy())
    flow = 2 * ends[-1] - ends[-2]  # Richardson: error of order 2
    distance = [np.abs(end - flow).max() for end in ends[:5]]
    ratios = np.array(distance[:-1]) / distance[1:]
    assert distance[0] > 1e-5
    np.testing.assert_allclose(ratios, 2.0, rtol=0.06)


def test_cheapest_back_end():
    assert cheapest(replace(SMALL, n_train=10)) == "gram"
    assert cheapest(replace(SMALL, n_train=20)) == "direct"
    assert cheapest(replace(SMALL, data=PatchData(10_000_000), n_train=20)) == "law"


def test_one_filter_of_one_seed_keeps_its_signal():
    """numpy gives a view of so small a block: clearing the signal coordinates of the filters must not clear u."""
    setting = Setting(PatchData(10), n_train=3, n_filters=1)
    alone, together = direct(setting, [0]), direct(setting, [0, 1])
    _, network = draw(setting, 0)
    assert alone.u[0, 0, 0] == network.filters[0, 0].item()
    np.testing.assert_array_equal(alone.u[0], together.u[0])
    np.testing.assert_array_equal(bank(alone)[0], network.filters.detach().numpy())


def test_the_law_wants_room_for_the_noise():
    with pytest.raises(BadRequest, match="at most 29"):
        law(Setting(PatchData(30), n_train=30), [0])


def test_balanced_labels_are_drawn_from_the_law_too():
    setting = Setting(PatchData(30, balanced=True), n_train=7, n_filters=4)
    assert set(law(setting, range(20)).y.sum(1)) == {1.0}
