"""The probability of a correct answer on an unseen example, against sampling and against other formulas."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import ks_2samp, multivariate_normal, norm

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import Setting, noise_variance, probability_correct
from cgro.dynamics.spaces import rule_of
from cgro.dynamics.unseen import UnseenExamples, root, unseen_margins
from cgro.models.patch_cnn import PatchCNN


def sampled(threshold, covariance, q, std, n_patches, n=400_000):
    rng = np.random.default_rng(1)
    z = std * rng.standard_normal((n, n_patches - 1, len(covariance))) @ root(covariance)
    return ((z * np.abs(z) ** (q - 1)).sum((1, 2)) + threshold > 0).mean()


def some_covariance(m, seed=0):
    w = np.random.default_rng(seed).standard_normal((m, 2 * m)) * np.linspace(0.2, 1.2, m)[:, None]
    return w @ w.T / m


@pytest.mark.parametrize("q", [2, 3, 4, 2.5])
@pytest.mark.parametrize("n_patches", [2, 4])
@pytest.mark.parametrize("threshold", [-0.5, 0.05, 2.0])
def test_radial_against_sampling(q, n_patches, threshold):
    covariance = some_covariance(5)
    found = probability_correct(
        threshold, covariance, activation_power=q, noise_std=0.6, n_patches=n_patches, n_directions=40_000
    )
    assert found == pytest.approx(
        sampled(threshold, covariance, q, 0.6, n_patches), abs=0.006
    )  # 4 standard errors each


def test_closed_form_for_parallel_filters_against_quadrature():
    lengths = np.array([0.5, -0.2, 1.0])
    c = (np.sign(lengths) * abs(lengths) ** 3).sum()
    covariance = np.outer(lengths, lengths)
    found = probability_correct(0.4, covariance, activation_power=3, noise_std=0.8)
    inside = lambda g: norm.pdf(g) * (0.4 + c * (0.8 * g) ** 3 > 0)  # noqa: E731
    edge = -((0.4 / c) ** (1 / 3)) / 0.8
    assert found == pytest.approx(quad(inside, edge, 12)[0], abs=1e-9)
    radial = probability_correct(
        0.4, covariance, activation_power=3, noise_std=0.8, method="radial", n_directions=40_000
    )
    assert radial == pytest.approx(found, abs=0.005)


@pytest.mark.parametrize("q", [2, 3, 5])
def test_no_signal_is_a_coin_flip_and_the_sign_turns_it(q):
    covariance = some_covariance(3)
    kwargs = {"activation_power": q, "noise_std": 1.0}
    assert probability_correct(0.0, covariance, **kwargs) == 0.5
    up, down = (probability_correct(t, covariance, **kwargs) for t in (0.3, -0.3))
    assert up + down == pytest.approx(1.0, abs=1e-12)
    assert up > 0.5


def test_filters_that_learned_no_noise_follow_the_signal():
    assert probability_correct(1e-9, np.zeros((2, 2)), activation_power=3, noise_std=1.0) == 1.0
    assert probability_correct(-1e-9, np.zeros((2, 2)), activation_power=3, noise_std=1.0) == 0.0


@pytest.mark.parametrize("q", [2.0, 3.0, 4.0, 2.5])
def test_noise_variance_against_two_dimensional_integration(q):
    covariance = np.array([[1.0, 0.6], [0.6, 0.5]])
    phi = lambda z: z * np.abs(z) ** (q - 1)  # noqa: E731
    grid = np.linspace(-9, 9, 1201)
    x, y = np.meshgrid(grid, grid)
    density = multivariate_normal(np.zeros(2), 0.49 * covariance).pdf(np.stack([x, y], -1))
    expected = (density * (phi(x) + phi(y)) ** 2).sum() * (grid[1] - grid[0]) ** 2
    assert noise_variance(covariance, q, 0.7) == pytest.approx(expected, rel=1e-4)
    assert noise_variance(covariance, q, 0.7, n_patches=4) == pytest.approx(3 * expected, rel=1e-4)


@pytest.mark.parametrize("q", [2.5, 3, 4])
def test_a_filter_that_learned_no_noise_adds_no_variance(q):
    learned = np.array([[0.7, 0.2], [0.2, 0.9]])
    padded = np.zeros((3, 3))
    padded[::2, ::2] = learned
    assert noise_variance(padded, q, 0.5) == pytest.approx(noise_variance(learned, q, 0.5), rel=1e-14)
    assert noise_variance(np.zeros((2, 2)), q, 0.5) == 0
    for threshold, by_sign in ((0.3, 1.0), (0.0, 0.5), (-0.3, 0.0)):
        for method in ("gaussian", "radial", "closed"):
            options = {"activation_power": q, "noise_std": 0.5, "method": method}
            assert probability_correct(threshold, np.zeros((2, 2)), **options) == by_sign


def test_gaussian_is_right_for_many_alike_and_wrong_for_one():
    many, one = np.eye(400) * 0.5, np.eye(1)
    t = math.sqrt(noise_variance(many, 3, 1.0))
    kwargs = {"activation_power": 3, "noise_std": 1.0}
    assert probability_correct(t, many, method="gaussian", **kwargs) == pytest.approx(
        sampled(t, many, 3, 1.0, 2, 20_000), abs=0.015
    )
    exact, wrong = (probability_correct(1.0, one, method=m, **kwargs) for m in ("closed", "gaussian"))
    assert abs(exact - wrong) > 0.2


def test_unseen_margins_against_the_network_on_real_examples():
    """The law of the margins from (U, covariance) is that of a PatchCNN on sampled examples."""
    data, g = PatchData(12, 3, signal_strength=1.0, noise_std=0.8), torch.Generator().manual_seed(0)
    for form in ("odd", "halves"):
        net = PatchCNN(12, 4, activation=form, init_std=0.5, generator=g)
        sample = data.sample(60_000, g)
        with torch.no_grad():
            real = (sample.y * net(sample.x)).numpy()
        w = net.filters.detach().numpy()
        rng = np.random.default_rng(0)
        y, group = 2 * rng.integers(0, 2, 60_000) - 1, np.zeros(60_000, int)
        rule = rule_of(Setting(data, n_filters=4, activation=form))
        examples = UnseenExamples(0.8 * rng.standard_normal((60_000, 2, 4)), y, group)
        drawn = unseen_margins(rule, w.T[:1], w[:, 1:] @ w[:, 1:].T, examples)[0]
        assert ks_2samp(drawn, real).statistic < 1.95 * (2 / 60_000) ** 0.5  # exceeded once in a thousand
        assert ks_2samp(drawn * 1.1, real).statistic > 1.95 * (2 / 60_000) ** 0.5


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [({"method": "magic"}, "method"), ({"n_patches": 1}, "n_patches"), ({"method": "closed"}, "parallel"),
     ({"threshold": float("nan")}, "finite")],
)  # fmt: skip
def test_bad_input_is_one_line(kwargs, word):
    threshold = kwargs.pop("threshold", 1.0)
    with pytest.raises(ValueError, match=word):
        probability_correct(threshold, np.eye(2), activation_power=3, noise_std=1.0, **kwargs)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"noise_std": -1.0}, "noise_std"),
        ({"noise_std": 0.0}, "noise_std"),
        ({"activation_power": -3}, "activation_power"),
        ({"seed": -1}, "seed"),
        ({"n_patches": 1}, "n_patches"),
    ],
)
def test_a_law_of_no_noise_is_refused(change: dict, word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        probability_correct(1.0, np.eye(2), **{"activation_power": 3, "noise_std": 1.0, **change})


def test_a_variance_of_no_noise_is_refused() -> None:
    with pytest.raises(BadRequest, match="noise_std"):
        noise_variance(np.eye(2), 3, -1.0)
    with pytest.raises(BadRequest, match="activation_power"):
        noise_variance(np.eye(2), -3, 1.0)
