"""The spaces against each other; the drawn Gram matrix against the law of the real one."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import SMALL, bank

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import Setting
from cgro.dynamics.spaces import bartlett, cheapest, direct, draw, gram, law


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
    y = law(setting, range(20)).y
    assert set(y.sum(1)) == {1.0}
    assert len(np.unique(y, axis=0)) > 5  # in any order
