"""The closed forms against autograd, the back ends against each other, the compiled loops against numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cgro.data.patches import PatchData
from cgro.definitions.losses import logistic
from cgro.dynamics import PRESETS, Setting, simulate
from cgro.dynamics.rule import Rule
from cgro.dynamics.simulate import record_steps
from cgro.dynamics.spaces import bartlett, cheapest, direct, draw, gram, law

SMALL = Setting(PatchData(14, 3), n_train=5, n_filters=6, radius_ratio=0.9, init_std=0.4)
CASES = {
    "odd, delta < alpha": SMALL,
    "odd, delta > alpha": replace(SMALL, radius_ratio=1.7, robust_weight=0.3),
    "q = 2": replace(SMALL, activation_power=2.0, radius_ratio=1.2),
    "q = 4": replace(SMALL, activation_power=4.0, radius_ratio=1.2),
    "q = 2.5": replace(SMALL, activation_power=2.5),
    "halves, delta < alpha": replace(SMALL, activation="halves"),
    "halves, delta > alpha": replace(SMALL, activation="halves", radius_ratio=1.6, robust_weight=0.7),
    "halves, q = 2": replace(SMALL, activation="halves", activation_power=2.0, radius_ratio=1.3),
    "two signals": replace(SMALL, data=PatchData(14, 3, n_signals=2), radius_ratio=1.4),
    "transfer": replace(SMALL, adversary="transfer", radius_ratio=1.3),
    "standard": replace(SMALL, robust_weight=0.0),
}


def worst_loss_by_search(setting, network, sample):
    """max over |x - alpha| <= delta of each example's loss, on a grid that holds the end points and 0."""
    low, high = setting.strength - setting.radius, setting.strength + setting.radius
    grid = np.r_[np.linspace(low, high, 401), 0.0] if low < 0 else np.linspace(low, high, 401)
    grid = [low] if setting.adversary == "transfer" else grid
    directions = setting.data.signal_directions[sample.signal_index]
    rows = torch.arange(len(sample.y))
    with torch.no_grad():
        losses = []
        for x in grid:
            moved = sample.x.clone()
            moved[rows, sample.signal_position] = float(x) * sample.y[:, None] * directions
            losses.append(logistic(network(moved), sample.y))
        chosen = torch.stack(losses).argmax(0)
    moved = sample.x.clone()
    strengths = torch.tensor(np.asarray(grid))[chosen]
    moved[rows, sample.signal_position] = (strengths * sample.y)[:, None] * directions
    return logistic(network(moved), sample.y)


def autograd_step(setting, seed):
    """One step of gradient descent by autograd on the objective as it stands in the paper."""
    sample, network = draw(setting, seed)
    clean = logistic(network(sample.x), sample.y)
    robust = worst_loss_by_search(setting, network, sample)
    w = setting.robust_weight
    loss = ((1 - w) * clean + w * robust).mean()
    loss.backward()
    return (network.filters - setting.lr * network.filters.grad).detach().numpy(), loss.item()


def bank(batch):
    """The whole filters of a Direct batch, (S, m, d)."""
    whole = batch.filters.copy()
    whole[:, : batch.u.shape[1]] = batch.u
    return whole.transpose(0, 2, 1)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(4))
def test_one_step_equals_autograd(name, seed, compiled):
    setting = replace(CASES[name], lr=0.5)
    stepped, loss = autograd_step(setting, seed)
    batch = direct(setting, [seed])
    margins = batch.rule.margins(batch.u, batch.activations(), batch.y, batch.group)
    assert batch.rule.loss(*margins)[0] == pytest.approx(loss, rel=1e-13)
    batch.advance(1, compiled=compiled)
    moved = np.abs(stepped - draw(setting, seed)[1].filters.detach().numpy()).max()
    assert np.abs(bank(batch)[0] - stepped).max() < 1e-12 * moved


def test_the_comparison_sees_a_wrong_worst_case():
    """Planted fault: the wrong end of the interval changes the step far above the tolerance."""
    setting = replace(CASES["odd, delta > alpha"], lr=0.5)
    stepped, _ = autograd_step(setting, 0)
    batch = direct(replace(setting, radius_ratio=setting.radius_ratio - 1e-6), [0])
    batch.advance(1, compiled=False)
    assert np.abs(bank(batch)[0] - stepped).max() > 1e-9


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


def test_a_seed_gives_the_same_run_in_every_batch_and_thread():
    setting = replace(PRESETS["theorem"], batch_size=7)
    alone = simulate(setting, seeds=[5], n_steps=200, n_test=20)
    together = simulate(setting, seeds=[4, 5, 6], n_steps=200, n_test=20, threads=2)
    for key in alone.values:
        np.testing.assert_array_equal(alone[key][:, 0], together[key][:, 1], err_msg=key)


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


def test_record_steps_begin_at_zero_and_end_at_the_end():
    steps = record_steps(50_000, 240)
    assert steps[0] == 0
    assert steps[-1] == 50_000
    assert (np.diff(steps) > 0).all()


def test_margins_by_enumeration():
    """One filter, one example, numbers by hand: u = 0.5, alpha = 2, delta = 3, z = -1, q = 2, y = -1."""
    rule = Rule(power=2, strength=2, radius=3, robust_weight=0.5, lr=1, odd=True, signs=np.ones(1), transfer=False)
    u, z, y, group = np.array([[[0.5]]]), np.array([[[-1.0]]]), np.array([[-1.0]]), np.array([[0]])
    clean, robust = rule.margins(u, z, y, group)
    assert clean[0, 0] == 4 * 0.25 + 1
    assert robust[0, 0] == -1 * 0.25 + 1
