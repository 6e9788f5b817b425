"""The theory of remedies against `threshold`, against draws one by one, and against its own differential equations."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ndtri

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, examples_at_share, simulate
from cgro.dynamics import remedy_theory as theory
from cgro.dynamics.remedied import simulate_remedied
from cgro.dynamics.remedies import PLAIN, Remedy
from cgro.dynamics.remedy_theory import (
    best_stop,
    divergence,
    drive,
    fresh_error,
    pulls,
    remedied_threshold,
    signal_path,
    stall,
    untouched_error,
)
from cgro.dynamics.spaces import direct
from cgro.dynamics.threshold import push

BASE = replace(PRESETS["theorem"], data=PatchData(400), n_filters=8, lr=None, init_std=None, radius_ratio=0.965)
SQUARED = 399 * BASE.data.noise_std**2


@pytest.mark.parametrize("q", [2.5, 3.0, 4.0])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_without_a_remedy_it_is_the_threshold(q: float, share: float) -> None:
    setting = replace(BASE, activation_power=q)
    assert remedied_threshold(setting, PLAIN, share) == pytest.approx(examples_at_share(setting, share), rel=2e-3)


def test_the_grid_is_fine_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    remedies = (PLAIN, Remedy(fresh=0.5), Remedy(mixed=1.0), Remedy(weight_decay=0.0064), Remedy(trades=0.05))
    coarse = [remedied_threshold(BASE, remedy) for remedy in remedies]
    monkeypatch.setattr(theory, "POINTS", 8001)
    assert [remedied_threshold(BASE, remedy) for remedy in remedies] == pytest.approx(coarse, rel=1e-3)


def drawn(n: float, fresh: float, push: float) -> float:
    """Share memorized, example after example, cheapest first; those memorized pull in the fresh steps only."""
    rng = np.random.default_rng(0)
    starts = BASE.init_std * math.sqrt(SQUARED) * rng.standard_normal((100_000, BASE.n_filters)).max(1)
    costs = np.sort((1 / np.maximum(starts, 1e-9) - 1) / SQUARED / (1 - fresh))
    memorized = np.arange(len(costs)) / len(costs)
    pulling = fresh + (1 - fresh) * (1 - memorized)
    spent = n * np.cumsum(pulling * np.diff(costs, prepend=0.0))
    return float((spent < push).mean())


@pytest.mark.parametrize("fresh", [0.0, 0.25, 0.5, 0.9])
def test_fresh_noise_is_the_race_drawn_one_by_one(fresh: float) -> None:
    n = remedied_threshold(BASE, Remedy(fresh=fresh))
    assert drawn(n, fresh, push(BASE)) == pytest.approx(0.5, abs=0.01)
    if fresh > 0:
        assert abs(drawn(n, 0.0, push(BASE)) - 0.5) > 0.05


@pytest.mark.parametrize(("mixed", "share"), [(1.0, 0.5), (0.7, 0.25), (1.0, 1.0)])
def test_the_drive_of_boxes_is_the_mean_over_boxes(mixed: float, share: float) -> None:
    """A filter with activation v of its own patch, moved by every example in which a part of the patch occurs."""
    rng = np.random.default_rng(3)
    dim, v = 4000, 0.04
    setting = replace(BASE, data=PatchData(dim + 1, noise_std=math.sqrt(SQUARED / dim)))
    sigma = setting.data.noise_std
    xi = sigma * rng.standard_normal(dim)
    total = []
    for _ in range(1500):
        w = setting.init_std * rng.standard_normal(dim)
        w += (v - w @ xi) / (xi @ xi) * xi
        other = sigma * rng.standard_normal(dim)
        box = (np.arange(dim) + rng.integers(dim)) % dim < round(share * dim)
        own = np.where(box, other, xi)
        lent = np.where(box, xi, other)
        moved = [(1 - mixed) * v**2]
        for patch in (own, lent):
            moved.append(mixed * (w @ patch) ** 2 * ((patch * xi).sum() / (xi @ xi)))
        total.append(sum(moved))
    found = float(drive(setting, Remedy(mixed=mixed, share=share), np.array([v]))[0])
    assert np.mean(total) == pytest.approx(found, abs=float(4 * np.std(total) / math.sqrt(len(total))))
    assert np.std(total) / math.sqrt(len(total)) < 0.06 * found


def test_boxes_that_cover_all_change_nothing() -> None:
    plain = remedied_threshold(BASE)
    assert remedied_threshold(BASE, Remedy(mixed=1.0, share=1.0)) == pytest.approx(plain, rel=1e-9)
    thresholds = [remedied_threshold(BASE, Remedy(mixed=1.0, share=share)) for share in (0.25, 0.4, 0.5, 0.6, 0.75)]
    assert np.argmin(thresholds) == 2  # half of the patch is the best share
    assert thresholds[0] == pytest.approx(thresholds[-1])  # a box and what is around it are alike
    falling = [remedied_threshold(BASE, Remedy(mixed=p)) for p in (0.0, 0.3, 0.7, 1.0)]
    assert (np.diff(falling) < 0).all()


@pytest.mark.parametrize("remedy", [PLAIN, Remedy(trades=1.5), Remedy(trades=1.5, inner="margin"),
                                    Remedy(smoothing_clean=0.2, smoothing_attacked=0.1)])  # fmt: skip
def test_pulls_are_derivatives_of_the_loss(remedy: Remedy) -> None:
    """By finite differences of the loss at its attack, in M and in V."""
    kept, raised = 0.035**3, 1.965**3

    def bce(m: float, eps: float) -> float:
        return float((1 - eps / 2) * np.logaddexp(0, -m) + eps / 2 * np.logaddexp(0, m))

    def loss(m: float, v: float, kappa: float) -> float:
        a, b = m + v, kappa * m + v
        if remedy.trades:
            return bce(a, 0) + remedy.trades * float(divergence(np.array(a), np.array(b)))
        return 0.5 * bce(a, remedy.smoothing_clean) + 0.5 * bce(b, remedy.smoothing_attacked)

    for m in (0.01, 0.3, 1.5, 6.0, 12.0):
        kappa = kept
        if remedy.trades and remedy.inner == "kl" and loss(m, 0, raised) > loss(m, 0, kept):
            kappa = raised
        found = pulls(BASE, remedy, np.array(m))
        h = 1e-5
        assert -(loss(m + h, 0, kappa) - loss(m - h, 0, kappa)) / (2 * h) == pytest.approx(
            float(found.signal), abs=1e-8
        )
        assert -(loss(m, h, kappa) - loss(m, -h, kappa)) / (2 * h) == pytest.approx(float(found.noise), abs=1e-8)


def blow_up(a: float, start: float, mu: float) -> float:
    """Time at which dx/dt = a x^2 - mu x is large, by the differential equation."""

    def is_large(_: float, x: np.ndarray) -> float:
        return x[0] - 1e6

    is_large.terminal = True  # type: ignore[attr-defined]
    path = solve_ivp(lambda _, x: a * x**2 - mu * x, (0, 50), [start], events=is_large, rtol=1e-9)
    return float(path.t[-1])


@pytest.mark.parametrize("mu", [0.3, 0.9])
def test_weight_decay_does_not_change_which_of_two_blows_up_first(mu: float) -> None:
    """The order is that of a x_0, whatever mu below the smaller of them is."""
    for a, start in ((1.0, 1.0), (2.0, 0.55)):
        assert blow_up(a, start, mu) == pytest.approx(-math.log(1 - mu / (a * start)) / mu, rel=1e-4)
    assert blow_up(2.0, 0.55, mu) < blow_up(1.0, 1.0, mu)


def test_weight_decay_beyond_the_barrier_is_a_threshold_of_its_own() -> None:
    plain = remedied_threshold(BASE)
    assert stall(BASE, Remedy(weight_decay=0.0008)) is None
    assert remedied_threshold(BASE, Remedy(weight_decay=0.0008)) == pytest.approx(plain)
    stopped = stall(BASE, Remedy(weight_decay=0.0032))
    assert stopped is not None
    q, alpha = 3.0, BASE.strength
    s = stopped ** (1 / q)
    assert q * alpha**2 * s * float(pulls(BASE, PLAIN, np.array(stopped)).signal) == pytest.approx(
        0.0032, rel=0.03
    )  # a point of the grid
    found = [remedied_threshold(BASE, Remedy(weight_decay=mu)) for mu in (0.0032, 0.0064)]
    assert found[0] / found[1] == pytest.approx(2.0, rel=0.01)
    median = BASE.init_std * math.sqrt(SQUARED) * ndtri(0.5 ** (1 / 8))
    assert found[1] == pytest.approx(q * SQUARED * median * 0.25 / 0.0064, rel=0.01)


def test_a_robust_weight_that_decays_runs_out_of_time() -> None:
    plain = remedied_threshold(BASE)
    assert remedied_threshold(BASE, Remedy(half_life=1e7)) == pytest.approx(plain, rel=0.01)
    found = [remedied_threshold(BASE, Remedy(half_life=h)) for h in (2000.0, 4000.0)]
    assert found[1] / found[0] == pytest.approx(2.0, rel=0.15)  # the clock is proportional to the half-life


def test_where_the_signal_never_wins_and_where_nothing_is_memorized() -> None:
    for remedy in (Remedy(trades=1.0), Remedy(trades=6.0, inner="margin"), Remedy(smoothing_clean=0.1)):
        assert math.isinf(remedied_threshold(BASE, remedy))
        assert stall(BASE, remedy) is not None
    assert remedied_threshold(BASE, Remedy(fresh=1.0)) == 0.0
    assert math.isfinite(remedied_threshold(BASE, Remedy(trades=0.02)))
    # the least beta that stops the signal: 1 + 1/beta = ln(2 / rho^q), TRADES with small margins left out
    least = 1 / (math.log(2 / 0.035**3) - 1)
    assert stall(BASE, Remedy(trades=0.8 * least)) is None
    assert stall(BASE, Remedy(trades=1.5 * least)) is not None
    with pytest.raises(BadRequest):
        remedied_threshold(replace(BASE, activation="halves"))


def test_the_path_of_the_signal_is_that_of_the_simulator() -> None:
    """Before anything is memorized, for all filters, and with a robust weight that decays."""
    for remedy in (PLAIN, Remedy(half_life=1500.0), Remedy(weight_decay=0.01), Remedy(smoothing_clean=0.3)):
        setting = replace(BASE, n_train=60, lr=0.004)
        run = simulate_remedied(setting, remedy, seeds=[0], n_steps=6000, n_records=12, n_test=2)
        path = signal_path(setting, direct(setting, [0]).u[0, 0].tolist(), remedy, n_steps=6000)
        found = np.interp(run.steps[1:], path.steps, path.margin)
        late = run.steps[1:] > 1000  # beyond the steep part of stage I
        assert late.sum() > 2
        np.testing.assert_allclose(found[late], run["signal_margin"][1:, 0][late], rtol=0.005)


def test_fresh_noise_wins_when_the_equation_says() -> None:
    setting = replace(BASE, data=PatchData(60), n_train=10, radius_ratio=0.96, init_std=0.1)
    steps = [100, 4000, 12_000]
    run = simulate_remedied(setting, Remedy(fresh=1.0), seeds=range(3), n_steps=12_000, n_records=80, n_test=4000)
    starts = direct(setting, range(3)).u[:, 0]
    predicted = np.mean([fresh_error(setting, start.tolist(), steps) for start in starts], axis=0)
    measured = [np.interp(step, run.steps, run["robust_error/test"].mean(1)) for step in steps]
    assert measured == pytest.approx(predicted.tolist(), abs=0.03)
    assert measured[0] > 0.03 + measured[-1]


def test_the_error_before_memory_is_that_of_the_filters_start() -> None:
    setting = replace(BASE, data=PatchData(60), radius_ratio=0.97)
    run = simulate(setting, seeds=range(4), n_steps=60, n_records=4, n_test=4000)
    margins = run.final("signal_margin")
    predicted = [untouched_error(setting, float(margin)) for margin in margins]
    assert run.final("robust_error/test").mean() == pytest.approx(np.mean(predicted), abs=0.02)
    assert untouched_error(setting, 5.0, shrunk=0.5) == pytest.approx(untouched_error(setting, 40.0), abs=1e-9)


def test_more_data_leave_more_time_before_the_first_is_memorized() -> None:
    stops = [best_stop(replace(PRESETS["theorem"], n_train=n)) for n in (5, 30, 150)]
    assert [stop.step for stop in stops] == sorted(stop.step for stop in stops)
    assert stops[0].error > stops[1].error > stops[2].error
    beyond = best_stop(replace(PRESETS["theorem"], n_train=5000))
    assert math.isinf(beyond.step)
    assert beyond.error < 1e-6


@pytest.mark.parametrize(
    ("change", "remedy", "word"),
    [
        ({"n_filters": 1}, PLAIN, "n_filters: expected >= 2"),
        ({"n_filters": 1}, Remedy(half_life=100.0), "n_filters: expected >= 2"),
        ({"radius_ratio": 1.0}, PLAIN, "radius_ratio"),
        ({"robust_weight": 0.0}, PLAIN, "robust_weight"),
        ({}, Remedy(mixed=0.7, share=0.0001), "share"),
    ],
)
def test_where_there_is_no_race_there_is_no_prediction(change: dict, remedy: Remedy, word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        remedied_threshold(replace(BASE, **change), remedy)


def test_a_path_without_an_attacked_pull_needs_an_end() -> None:
    for change in ({"radius_ratio": 1.0}, {"robust_weight": 0.0}):
        setting = replace(BASE, **change)
        with pytest.raises(BadRequest, match="radius_ratio|robust_weight"):
            signal_path(setting, [0.1])
        assert signal_path(setting, [0.1], n_steps=10.0).steps[-1] == 10.0
    with pytest.raises(BadRequest, match="n_filters"):
        best_stop(replace(BASE, n_filters=1))
