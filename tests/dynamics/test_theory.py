"""Predictions against equations solved otherwise and against the simulator."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import (
    PRESETS,
    Setting,
    compare,
    extinction_ratio,
    final_signal,
    growth_end,
    onset_ratio,
    plateau,
    signal_exponent,
    simulate,
    spaces,
)
from cgro.dynamics.batch import Gram
from cgro.dynamics.spaces import cheapest, law
from cgro.trajectory import Outcome, Trajectory

BEYOND = PRESETS["table2"]


def test_growth_end_is_the_blow_up_time_of_its_equation():
    setting, u0 = Setting(radius_ratio=0.5, robust_weight=0.4, activation_power=4), 0.02
    a, x = setting.strength, setting.strength - setting.radius
    rate = setting.lr * (4 / 2) * (0.6 * a**4 + 0.4 * x**4)
    predicted = growth_end(setting, u0)
    ode = solve_ivp(lambda t, u: rate * u**3, (0, 0.999 * predicted), [u0], rtol=1e-10, atol=1e-14)
    # du/dt = c u^3 from u0 is u0 / sqrt(1 - 2 c u0^2 t): at 0.999 of the blow-up time it has grown by sqrt(1000).
    assert ode.y[0, -1] == pytest.approx(u0 * math.sqrt(1000), rel=1e-3)


def test_growth_end_at_power_two_is_exponential_growth():
    setting, u0 = Setting(radius_ratio=1.0, robust_weight=0.5, activation_power=2), 1e-3
    rate = setting.lr * 0.5 * setting.strength**2
    assert u0 * math.exp(rate * growth_end(setting, u0)) == pytest.approx(1 / setting.strength)


def test_growth_never_ends_where_the_adversary_wins_from_the_start():
    assert growth_end(Setting(radius_ratio=3.0, robust_weight=0.9), 0.1) == math.inf


@pytest.mark.parametrize("ratio", [1.2, 1.566, 1.9])
@pytest.mark.parametrize("weight", [0.1, 0.325, 0.5])
def test_plateau_and_end_are_roots_of_the_gradient(ratio, weight):
    setting = replace(BEYOND, radius_ratio=ratio, robust_weight=weight)
    k = (ratio - 1) ** 3
    sigmoid = lambda t: 1 / (1 + math.exp(-t))  # noqa: E731
    root = brentq(lambda m: (1 - weight) * sigmoid(-m) - weight * k * sigmoid(k * m), 0, 100)
    assert plateau(setting) == pytest.approx(root, rel=1e-9)
    v = 200.0  # memorized: both pulls are exponential
    pull = lambda m: (1 - weight) * math.exp(-m) - weight * k * math.exp(k * m)  # noqa: E731
    assert final_signal(setting) == pytest.approx(brentq(pull, 0, v), rel=1e-9)


def test_no_plateau_below_the_signal_strength():
    for setting in (PRESETS["theorem"], PRESETS["control"], replace(BEYOND, robust_weight=0.0)):
        assert plateau(setting) is None
        assert final_signal(setting) is None


@pytest.mark.parametrize("q", [2.0, 3.0, 4.0])
@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.0])
def test_the_finite_size_exponent_is_that_of_its_differential_equation(q, exponent):
    """dM/dtau = alpha^2 M^(2-2/q) e^(-M) up to tau = v_0^(2-q) - 1, v_0 ~ alpha^(-e), at two nearby alphas."""

    def settled(log_alpha, v):
        start = v * math.exp(-exponent * log_alpha)
        time = math.log(1 / start) if q == 2 else start ** (2 - q) - 1
        # By x = ln tau' in place of time, from a margin of 1 on; the scale of time makes M as large as in the runs.
        end = 2 * log_alpha + math.log(time) + 9
        flow = solve_ivp(
            lambda x, m: math.exp(x - m[0]) * m ** (2 - 2 / q), (-12, end), [1.0], rtol=1e-10, method="LSODA"
        )
        return flow.y[0, -1]

    v = 0.05
    step = 1e-3
    low, middle, high = (settled(h, v) for h in (-step, 0.0, step))
    measured = -q + (math.log(high) - math.log(low)) / (2 * step)
    predicted = signal_exponent(q, middle, init_exponent=exponent, noise_start=v)
    k = 2 + exponent * max(q - 2, 0.3)
    assert predicted == pytest.approx(measured, abs=max(abs(k), 0.1) / middle**2)
    if exponent != 0 and q > 2:  # and the start matters: without it the prediction would be off
        assert abs(signal_exponent(q, middle) - measured) > 5 * abs(predicted - measured)


def test_the_finite_size_exponent_tends_to_minus_q():
    slopes = [signal_exponent(3, margin, init_exponent=1) for margin in (10, 100, 1e6)]
    assert slopes == sorted(slopes, reverse=True)
    assert slopes[-1] == pytest.approx(-3, abs=1e-5)


def test_the_finite_size_exponent_is_that_of_the_simulator():
    """Two alphas, filters that start the same: radius = alpha, until all noise is memorized."""
    margins, us, alphas = [], [], (2.5, 4.0)
    for a in alphas:
        setting = replace(PRESETS["theorem"], data=PatchData(100, signal_strength=a), n_train=10, n_filters=16,
                          lr=0.3 / a**2, init_std=0.03, radius_ratio=1.0)  # fmt: skip
        run = simulate(setting, n_steps=400_000, n_records=60, n_test=2, stop_when="memorized")
        us.append(run.final("signal_learned")[0])
        margins.append(a**3 * us[-1])
    slope = np.log(us[1] / us[0]) / np.log(alphas[1] / alphas[0])
    assert slope == pytest.approx(signal_exponent(3, np.mean(margins)), abs=0.01)
    assert abs(slope + 3) > 0.1


def test_extinction_is_where_the_final_signal_vanishes():
    limit = extinction_ratio(0.4, 3)
    assert final_signal(replace(BEYOND, robust_weight=0.4, radius_ratio=limit - 1e-6)) > 0
    assert final_signal(replace(BEYOND, robust_weight=0.4, radius_ratio=limit + 1e-6)) == 0
    assert extinction_ratio(0.0, 3) == math.inf
    assert final_signal(replace(BEYOND, robust_weight=1.0)) == 0


def test_the_signal_dies_beyond_extinction_in_the_simulator():
    limit = extinction_ratio(0.5, 3)
    short = {"seeds": range(3), "n_steps": 40_000, "n_test": 100, "n_records": 20}
    ends = [simulate(replace(BEYOND, robust_weight=0.5, radius_ratio=r * limit), **short) for r in (0.85, 1.1)]
    assert ends[0].final("signal_margin").min() > 0.2
    assert ends[1].final("signal_margin").max() < 0.1


def test_onset_separates_memorizing_from_not():
    base = replace(PRESETS["theorem"], n_train=20, n_filters=32)
    rho = 1 - onset_ratio(base, range(4))
    assert 0.01 < rho < 0.2
    gains = []
    for factor in (2.0, 0.5):
        run = simulate(replace(base, radius_ratio=1 - factor * rho), seeds=range(4), n_records=10, n_test=10)
        gains.append(run.final("noise_learned").mean())
    assert gains[0] < 0.5 < gains[1]


def test_onset_at_power_two_needs_no_start():
    """q = 2: rho_c^2 = |xi|^2 / (N alpha^2), in closed form."""
    setting = Setting(PatchData(50, signal_strength=3.0, noise_std=0.1), n_train=10, n_filters=4, activation_power=2)
    assert 1 - onset_ratio(setting) == pytest.approx(math.sqrt(49 * 0.01 / (10 * 9)))
    assert onset_ratio(replace(setting, robust_weight=0.0)) == 1.0


WIDE = Setting(PatchData(1_000_000, signal_strength=3.0, noise_std=1e-3), n_train=12, n_filters=4)


def onset_of(batch: Gram, setting: Setting) -> float:
    """1 - mean rho_c from a batch, example by example and seed by seed: the docstring's equation in plain loops."""
    starts = batch.activations()
    batch.advance(round(400 * 0.3 / setting.strength**2 / setting.lr), compiled=True)
    d, q = setting.data.patch_dim, setting.activation_power
    square = (d - 1) * setting.data.noise_std**2
    rho = []
    for s in range(len(batch.y)):
        costs = []
        for i, y in enumerate(batch.y[s]):
            costs.append(square * max(y * float(v) for v in starts[s, i]) ** (q - 2))
        learned = setting.strength * batch.u[s].max()
        rho.append((np.median(costs) / (setting.n_train * setting.strength**2 * learned ** (q - 2))) ** (1 / q))
    return 1 - float(np.mean(rho))


def test_onset_of_a_million_dimensions_forms_no_vector():
    """It needed 1.2 GB here. The value is that of the equation on the start that `simulate` has."""
    assert cheapest(WIDE) == "law"
    tracemalloc.start()
    found = onset_ratio(WIDE, range(3))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * WIDE.data.patch_dim, "not even one vector of length d"
    assert found == pytest.approx(onset_of(law(replace(WIDE, radius_ratio=1.0), range(3)), WIDE), rel=1e-9)


def test_onset_by_the_law_is_that_of_vectors_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same setting in few dimensions by both, over 40 seeds: means within four standard errors."""
    small = replace(WIDE, data=PatchData(400, signal_strength=3.0, noise_std=0.05), n_filters=32)
    each = {}
    for name, most in (("gram", 2.0**26), ("law", 0.0)):
        monkeypatch.setattr(spaces, "LARGEST_VECTORS", most)
        assert cheapest(small) == name
        each[name] = np.array([onset_ratio(small, [seed]) for seed in range(40)])
    error = math.hypot(each["gram"].std(), each["law"].std()) / math.sqrt(40)
    assert error < 0.1 * (1 - each["gram"].mean())
    assert abs(each["gram"].mean() - each["law"].mean()) < 4 * error


def test_final_signal_scales_as_the_inverse_power():
    """U = M* / alpha^q: two signal strengths, equal ratios."""
    us = []
    for a in (2.5, 4.0):
        setting = replace(BEYOND, data=PatchData(100, signal_strength=a), n_train=10, n_filters=16, lr=0.3 / a**2,
                          init_std=0.0944 / a)  # fmt: skip
        us.append(simulate(setting, n_steps=120_000, n_records=5, n_test=10).final("signal_learned")[0])
    assert np.log(us[1] / us[0]) / np.log(4.0 / 2.5) == pytest.approx(-3, abs=0.02)


def test_no_plateau_is_measured_where_noise_was_never_quiet():
    """Filters that start large have noise above the threshold from the first step on: there is nothing to read."""
    setting = Setting(
        PatchData(14, 3), n_train=5, n_filters=6, radius_ratio=1.7, robust_weight=0.3, init_std=0.4, lr=0.02
    )
    run = simulate(setting, seeds=[1, 2, 3], n_steps=50, n_records=10, n_test=5)
    assert (run["noise_learned"].mean(2)[1:].min(0) > 0.05).any()
    rows = compare(setting, run, [None, None, None])
    assert rows["plateau"].measured is None
    assert rows["plateau"].predicted == plateau(setting)
    assert rows["signal_growth_end"].measured is None


def test_the_plateau_is_read_at_the_last_quiet_record_of_each_seed():
    steps = np.array([0, 1, 2, 3])
    noise = np.array([[0.0, 0.0], [0.01, 0.01], [0.04, 0.2], [0.3, 0.4]])[..., None]
    margin = np.array([[0.0, 0.0], [1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    values = {"noise_learned": noise, "signal_margin": margin, "filter_signal": np.ones((4, 2, 1))}
    run = Trajectory(steps, values, (Outcome("completed", "", 3),) * 2)
    rows = compare(BEYOND, run, [5.0, None])
    assert rows["plateau"].measured == (2.0 + 10.0) / 2
    assert rows["final_signal"].measured == (3.0 + 30.0) / 2
    assert rows["signal_growth_end"].measured == 5.0
    assert set(compare(PRESETS["theorem"], run, [5.0, 6.0])) == {"signal_growth_end"}
    assert not compare(replace(BEYOND, activation="halves"), run, [5.0, 6.0])


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: signal_exponent(2, 1), "signal_margin: expected a number above 2 - 2/q = 1, got 1"),
        (lambda: signal_exponent(3, 10, noise_start=1), "noise_start"),
        (lambda: signal_exponent(2, 10, noise_start=1), "noise_start"),
        (lambda: signal_exponent(1, 10), "activation_power"),
        (lambda: extinction_ratio(1.5, 3), "robust_weight"),
        (lambda: extinction_ratio(0.5, 0), "activation_power"),
        (lambda: onset_ratio(PRESETS["theorem"], []), "seeds: expected at least one"),
        (lambda: onset_ratio(PRESETS["control"], []), "seeds: expected at least one"),
    ],
)
def test_numbers_of_which_nothing_is_predicted_are_refused(call, word):
    with pytest.raises(BadRequest, match=word):
        call()


def test_predictions_of_numbers_at_the_ends_of_floats_are_numbers():
    """kappa^q = 1e-375 is no float; its logarithm is."""
    close = Setting(radius_ratio=1 + 2.0**-50, activation_power=25)
    assert final_signal(close) == pytest.approx(25 * 50 * math.log(2))
    assert plateau(Setting(radius_ratio=1e200)) == 0.0
    assert final_signal(Setting(radius_ratio=1e200)) == 0.0
    assert growth_end(Setting(radius_ratio=1e200), 0.1) == math.inf
    assert growth_end(Setting(radius_ratio=0.5, activation_power=9.0), 1e-60) == math.inf
