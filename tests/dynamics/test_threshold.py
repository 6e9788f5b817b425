"""The sample threshold against the simulator's own flow, against draws one by one, and against a differential equation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ndtri

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import (
    PRESETS,
    RACE_ENDS,
    LossBelow,
    Setting,
    examples_at_share,
    lone_example_error,
    noise_limit,
    sample_threshold,
    simulate,
    unseen_errors,
)
from cgro.dynamics.spaces import direct
from cgro.dynamics.threshold import push

BASE = replace(PRESETS["theorem"], data=PatchData(400), n_filters=8, lr=None, init_std=None)
RACE = replace(BASE, radius_ratio=0.955)
SEED = 1
"""Of a filter whose signal and noise activations start with the right sign."""


def drift(setting: Setting, kept_power: float) -> float:
    """How far s^(2-q) / (alpha^2 rho^p) - N v^(2-q) / |xi|^2 moves, over how far its first term does."""
    q, a = setting.activation_power, setting.strength
    rho = 1 - setting.radius_ratio
    start = direct(setting, [SEED])
    squared = float((start.noise[0] ** 2).sum())
    blow_up = (a * start.u.max()) ** (2 - q) / ((q - 2) * q * a**2 * rho**q / 2)
    n_steps = round(0.6 * blow_up / setting.lr)
    run = simulate(setting, seeds=[SEED], n_steps=n_steps, n_records=40, n_test=2)
    s, v = a * run["signal_component"][:, 0], run["noise_component"][:, 0, 0, 0]
    assert s[0] > 0
    assert v[0] > 0
    assert s[-1] > 1.2 * s[0]
    signal = s ** (2 - q) / (a**2 * rho**kept_power)
    noise = setting.n_train * v ** (2 - q) / squared
    return float(np.abs((signal - noise) - (signal - noise)[0]).max() / np.abs(signal - signal[0]).max())


@pytest.mark.parametrize("q", [2.5, 3.0, 4.0])
def test_the_first_integral_is_conserved_by_the_simulator(q: float) -> None:
    """lambda = 1: the clean pull is 0, and with one filter and one example nothing is left out."""
    setting = Setting(
        PatchData(50, signal_strength=2.0),
        n_train=1,
        n_filters=1,
        activation_power=q,
        radius_ratio=0.3,
        robust_weight=1.0,
        init_std=0.15,
        lr=0.02,
    )
    coarse = drift(setting, q)
    fine = drift(replace(setting, lr=0.005), q)
    assert fine < 3e-3
    assert fine == pytest.approx(coarse / 4, rel=0.2)  # what is left is the length of a step
    assert drift(replace(setting, lr=0.005), q - 1) > 0.1  # another power of rho is not conserved


@pytest.mark.parametrize("q", [2.0, 2.5, 3.0, 4.0])
def test_the_push_is_that_of_the_differential_equation(q: float) -> None:
    """Signal and the noise of one of very many examples, integrated in time up to attacked signal margin 1."""
    setting = replace(RACE, activation_power=q, robust_weight=0.3, init_std=0.05)
    a, rho = setting.strength, 1 - setting.radius_ratio
    s_0 = a * setting.init_std * ndtri(0.5 ** (1 / setting.n_filters))

    def pulls(s: float) -> tuple[float, float]:
        clean = 0.7 / (1 + math.exp(min(s**q, 700)))
        return clean, 0.3 / (1 + math.exp((rho * s) ** q))

    def flow(_: float, state: np.ndarray) -> list[float]:
        clean, robust = pulls(state[0])
        speed = q * a**2 * state[0] ** (q - 1) * (clean + rho**q * robust)
        return [1.0, q * (clean + robust) / speed]  # by s in place of time, which blows up

    path = solve_ivp(lambda s, state: flow(s, np.array([s, state[0]]))[1:], (s_0, 1 / rho), [0.0], rtol=1e-9)
    assert push(setting) == pytest.approx(path.y[0, -1], rel=1e-5)


@pytest.mark.parametrize("q", [2.0, 2.5, 3.0, 4.0])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_share_is_that_of_examples_drawn_one_by_one(q: float, share: float) -> None:
    setting = replace(RACE, activation_power=q, data=PatchData(400, 3))
    n = examples_at_share(setting, share)
    squared = 399 * setting.data.noise_std**2
    rng = np.random.default_rng(0)
    starts = setting.init_std * math.sqrt(squared) * rng.standard_normal((200_000, 16)).max(1)
    starts = np.sort(np.maximum(starts, 1e-12))[::-1]
    costs = np.log(1 / starts) if q == 2 else (starts ** (2 - q) - 1) / (q - 2)
    costs /= squared
    # The race, example after example: one that is memorized stops pulling on the signal.
    left = 1 - np.arange(len(costs)) / len(costs)
    spent = n * np.cumsum(left * np.diff(costs, prepend=0.0))
    assert (spent < push(setting)).mean() == pytest.approx(share, abs=0.01)


def test_the_formula_is_that_of_the_page() -> None:
    found = sample_threshold(RACE)
    assert found is not None
    assert found.signal is not None
    q, a, rho = 3.0, RACE.strength, 0.045
    squared = 399 * RACE.data.noise_std**2
    ends = (found.signal ** (2 - q) - rho ** (q - 2)) / (1 - found.noise ** (q - 2))
    assert found.critical == pytest.approx(squared * found.noise ** (q - 2) / (a**2 * rho**q) * ends)
    assert found.signal == pytest.approx(math.log(2 / rho**q) ** (1 / q), rel=0.03)
    assert found.critical < found.half < 1.3 * found.critical
    assert found.half == examples_at_share(RACE, 0.5)


def test_the_threshold_falls_with_rho_to_the_power_q() -> None:
    for q in (2.5, 3.0, 4.0):
        halves = [
            examples_at_share(replace(BASE, activation_power=q, radius_ratio=1 - rho), 0.5) for rho in (2e-3, 1e-3)
        ]
        assert math.log2(halves[1] / halves[0]) == pytest.approx(q, abs=0.1)


@pytest.mark.parametrize(("factor", "low", "high"), [(0.5, 0.85, 1.0), (2.0, 0.0, 0.1)])
def test_the_simulator_memorizes_below_and_not_above(factor: float, low: float, high: float) -> None:
    """At d = 40,000, where noise patches hardly overlap; alpha and |xi| are those of d = 400."""
    noise = math.sqrt(399 * RACE.data.noise_std**2 / 39_999)
    far = replace(RACE, data=PatchData(40_000, signal_strength=RACE.strength, noise_std=noise))
    threshold = sample_threshold(far)
    assert threshold is not None
    setting = replace(far, n_train=round(factor * threshold.half))
    run = simulate(setting, seeds=range(6), n_steps=45_000, n_records=60, n_test=2, stop_when=LossBelow(0.02))
    assert low <= (run.final("noise_learned") > RACE_ENDS).mean() <= high


def test_one_memorized_example_breaks_as_many_unseen_ones_as_the_formula_says() -> None:
    """Also where it is a small share, and for another power."""
    for q, rho in ((3.0, 0.05), (3.0, 0.03), (2.5, 0.04)):
        setting = replace(RACE, n_train=1, activation_power=q, radius_ratio=1 - rho)
        run = simulate(setting, seeds=range(4), n_steps=60_000, n_records=60, n_test=2, stop_when=LossBelow(0.02))
        errors = unseen_errors(run, 20_000)["robust"]
        margins, noise = run.final("signal_margin"), run.final("noise_learned")[:, 0]
        assert noise.min() > RACE_ENDS
        predicted = [lone_example_error(setting, m, v) for m, v in zip(margins, noise, strict=True)]
        assert errors.mean() == pytest.approx(np.mean(predicted), abs=0.015)
        wrong = lone_example_error(replace(setting, data=PatchData(1600)), margins.mean(), noise.mean())
        assert abs(errors.mean() - wrong) > 0.05


def test_where_nothing_is_predicted() -> None:
    assert sample_threshold(PRESETS["control"]) is None
    assert sample_threshold(replace(RACE, activation="halves")) is None
    assert sample_threshold(replace(RACE, adversary="l2")) is None
    assert sample_threshold(replace(RACE, data=PatchData(400, n_signals=2))) is None
    beyond = sample_threshold(replace(RACE, radius_ratio=1.0))
    assert beyond is not None
    assert math.isinf(beyond.critical)
    assert math.isinf(beyond.half)
    for refused in (replace(RACE, radius_ratio=1.0), replace(RACE, robust_weight=0.0)):
        with pytest.raises(BadRequest):
            push(refused)
    assert push(replace(RACE, init_std=40.0)) == 0.0  # the signal has won before training
    assert examples_at_share(replace(RACE, n_filters=1), 0.6) == 0.0  # half of the starts have the wrong sign


@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("data", [PatchData(60), PatchData(60, 3)])
def test_no_activation_passes_the_limit(data: PatchData, weight: float) -> None:
    setting = replace(BASE, data=data, n_train=7, robust_weight=weight, radius_ratio=0.2, activation_power=3.5, lr=0.01)
    limits = noise_limit(setting, range(5))
    run = simulate(setting, seeds=range(5), n_steps=20_000, n_records=30, n_test=2)
    largest = np.abs(run.batch.activations()).max((1, 2))
    start = np.abs(direct(setting, range(5)).activations()).max((1, 2))
    assert np.isfinite(limits).any()
    assert (largest <= limits).all()
    assert (start <= limits).all()
    assert np.median(limits / start) < 2  # it says something


def test_standard_training_never_memorizes_at_the_scales_of_the_theorem_and_may_elsewhere() -> None:
    control = PRESETS["control"]
    assert control.n_filters * noise_limit(control, range(5)).max() ** 3 < 0.2  # V_i, by all filters at once
    noisy = Setting(
        PatchData(400, signal_strength=1.0, noise_std=1.0), n_train=6, n_filters=8, robust_weight=0.0, init_std=0.005,
        lr=0.001,
    )  # fmt: skip
    assert np.isinf(noise_limit(noisy, [0])).all()
    assert simulate(noisy, n_steps=5000, n_records=10, n_test=2).final("noise_learned").min() > RACE_ENDS


def test_a_limit_needs_a_power_above_two_and_an_attack_that_leaves_signal() -> None:
    for setting in (
        replace(RACE, activation_power=2.0),
        replace(RACE, radius_ratio=1.2),
        replace(RACE, activation="halves"),
    ):
        assert np.isinf(noise_limit(setting, [0, 1])).all()


def test_noise_that_starts_memorized_costs_nothing() -> None:
    """v_0 >= 1: memorized at any N; no division by a cost of 0."""
    for change in ({"data": PatchData(100, noise_std=2.0)}, {"init_std": 10.0}):
        for q in (2.0, 3.0):
            setting = replace(PRESETS["theorem"], activation_power=q, **change)
            found = sample_threshold(setting)
            assert found is not None
            assert found.noise > 1
            assert math.isinf(found.critical)
            assert math.isinf(found.half)
            run = simulate(replace(setting, lr=1e-6), n_steps=1, n_records=1, n_test=2)
            assert (run["noise_component"][0, 0].max(1) > 1).mean() > 0.5


def test_of_a_single_filter_no_threshold_is_predicted() -> None:
    """Half of the starts have the wrong sign: the median of one normal number is 0."""
    one = replace(RACE, n_filters=1)
    assert sample_threshold(one) is None
    assert math.isinf(push(one))
    assert math.isinf(examples_at_share(one, 0.4))
    starts = direct(one, range(200)).u[:, 0].max(1)
    assert 0.4 < (starts > 0).mean() < 0.6


def test_an_attack_that_leaves_less_than_a_float_has_no_threshold() -> None:
    found = sample_threshold(replace(RACE, radius_ratio=1 - 2.0**-50, activation_power=25))
    assert found is not None
    assert math.isinf(found.critical)
    nearly = sample_threshold(replace(RACE, radius_ratio=1 - 2.0**-50, activation_power=20))  # rho^q = 1e-301
    assert nearly is not None
    assert nearly.signal is not None
    squared = 399 * RACE.data.noise_std**2
    expected = squared * nearly.noise**18 / RACE.strength**2 * 2.0**1000 / nearly.signal**18
    assert nearly.critical == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("ratio", [0.97, 1.0, 1.3])
@pytest.mark.parametrize("margin", [-0.4, 0.0, 0.4])
@pytest.mark.parametrize("noise", [-3.0, 0.0, 3.0])
def test_a_lone_example_breaks_what_drawn_noise_says(ratio: float, margin: float, noise: float) -> None:
    """One filter along one patch on 200,000 fresh patches; the attacked signal is the lesser of both ends."""
    setting = Setting(PatchData(30), activation_power=2.5, radius_ratio=ratio)
    rng = np.random.default_rng(0)
    patches = setting.data.noise_std * rng.standard_normal((200_001, 29))
    own, fresh = patches[0], patches[1:]
    activation = math.copysign(abs(noise) ** 0.4, noise) * fresh @ own / (own @ own)
    # As the formula does, for a patch of the expected length.
    activation *= np.linalg.norm(own) / math.sqrt(29 * setting.data.noise_std**2)
    ends = [math.copysign(abs(x) ** 2.5, x) * margin for x in (1 - ratio, 1 + ratio)]
    margins = np.sign(activation) * np.abs(activation) ** 2.5 + min(ends)
    counted = (margins < 0).mean() + 0.5 * (margins == 0).mean()
    assert lone_example_error(setting, margin, noise) == pytest.approx(counted, abs=0.004)


@pytest.mark.parametrize(
    ("change", "values", "word"),
    [
        ({"data": PatchData(400, 3)}, (8.0, 1.0), "n_patches: expected 2"),
        ({"activation": "halves"}, (8.0, 1.0), "activation"),
        ({}, (math.nan, 1.0), "signal_margin"),
        ({}, (8.0, math.inf), "noise_learned"),
    ],
)
def test_of_other_examples_no_error_is_predicted(change: dict, values: tuple[float, float], word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        lone_example_error(replace(RACE, **change), *values)
