"""Training in each space: the same run in all, mini-batches that are fair, and the order of gradient descent."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import CASES, SMALL

from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS
from cgro.dynamics.spaces import direct, gram


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
    assert np.abs(a.activations()).max() > 0.5  # memorization has happened: the comparison is not of small numbers
    np.testing.assert_allclose(a.u, b.u, rtol=0, atol=1e-11)
    np.testing.assert_allclose(a.activations(), b.activations(), rtol=0, atol=1e-11)


def test_mini_batches_average_to_the_full_gradient():
    setting = replace(SMALL, batch_size=2, lr=1e-3)
    batch = gram(setting, [0])
    weights = batch.weights(40_000, 0)
    assert set(np.unique(weights)) == {0.0, 2.5}
    assert (np.count_nonzero(weights, axis=1) == 2).all()
    np.testing.assert_allclose(weights.mean(0), 1.0, atol=0.03)  # 2.5 sd of a share 0.4 over 40,000 draws is 0.015


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


def test_threads_take_the_steps_of_every_seed():
    from concurrent.futures import ThreadPoolExecutor

    alone, together = (gram(replace(SMALL, batch_size=2), range(5)) for _ in range(2))
    alone.advance(30, compiled=True)
    with ThreadPoolExecutor(3) as pool:
        together.advance(30, compiled=True, pool=pool)
    np.testing.assert_array_equal(alone.u, together.u)
    np.testing.assert_array_equal(alone.coefficients, together.coefficients)
