"""The search over every patch: no point that can be written down is missed, exhaustive minima are found."""

import numpy as np
import pytest
import torch

from cgro.definitions import ThreatModel
from cgro.definitions.draws import Draws
from cgro.dynamics.ball_attack import (
    Carried,
    Examples,
    ascend,
    attack,
    ball_of,
    descend,
    prepare,
    scores,
    worst_margins,
)
from cgro.dynamics.rule import Rule

DELTA = 0.72
"""With alpha = 1: between alpha / sqrt 2 and alpha."""


def rule(m: int, power: float = 3.0, *, odd: bool = True) -> Rule:
    signs = np.ones(m)
    if not odd:
        signs[m // 2 :] = -1
    return Rule(power, 1.0, DELTA, 0.5, 0.1, odd, signs, False)


def examples(rng: np.random.Generator, n: int, p: int, d: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Signal y w* of length 1 in the first patch, Gaussian noise in the others."""
    y = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    x = np.zeros((n, p, d))
    x[:, 0, 0] = y
    x[:, 1:, 1:] = noise * rng.standard_normal((n, p - 1, d - 1))
    return x, y


def signal_network(rng: np.random.Generator, m: int, d: int) -> np.ndarray:
    """(d, m): one filter along w*, the others of a thousandth of its length."""
    bank = 1e-3 * rng.standard_normal((d, m))
    bank[:, 0] = 0.0
    bank[0, 0] = 1.0
    return bank


def margin_of(constants: Rule, bank: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Y f(X), written again by loops over patches and filters."""
    total = np.zeros(len(y))
    for j in range(x.shape[1]):
        for r in range(bank.shape[1]):
            z = x[:, j] @ bank[:, r]
            if constants.odd:
                total += np.sign(z) * np.abs(z) ** constants.power
            else:
                total += constants.signs[r] * np.maximum(z, 0) ** constants.power
    return y * total


def test_the_point_that_can_be_written_down_is_found_and_the_old_starts_miss_it():
    """X - (delta / sqrt 2) y w* in both patches wins for delta > alpha / sqrt 2; from X it is missed."""
    rng = np.random.default_rng(0)
    constants = rule(8)
    x, y = examples(rng, 20, 2, 30, 0.05)
    bank = signal_network(rng, 8, 30)
    written = x.copy()
    written[:, :, 0] -= y[:, None] * DELTA / 2**0.5
    at_written = margin_of(constants, bank, written, y)
    assert (at_written < 0).all()
    threat = ball_of("l2", DELTA)
    found = worst_margins(threat, constants, bank, x=x, y=y, n_steps=10)
    assert (found <= at_written + 1e-12).all()
    # The planted fault: the starts of the first version. Both end where the signal's patch alone is attacked.
    search = prepare(threat, bank[None], x[None], y[None]).examples
    lowered = np.zeros_like(search.x)
    lowered[0, :, 0] = -DELTA * search.x[0, :, 0] / np.linalg.norm(search.x[0, :, 0], axis=-1, keepdims=True)
    for start in (np.zeros_like(search.x), lowered):
        assert (descend(threat, constants, search, start, n_steps=40)[1] > 0).all()


@pytest.mark.parametrize("patches", [1, 2, 3])
@pytest.mark.parametrize("odd", [True, False])
@pytest.mark.parametrize("p_norm", ["l2", "linf"])
def test_the_search_is_never_weaker_than_any_structured_start(p_norm: str, odd: bool, patches: int):
    """The starts are written out again in d dimensions: own patches turned, each filter in each patch."""
    rng = np.random.default_rng(patches)
    constants = rule(4, odd=odd)
    x, y = examples(rng, 12, patches, 9, 0.4)
    bank = 0.25 * rng.standard_normal((9, 4))
    bank[0] = [1.5, 0.0, 0.0, 0.0]
    if not odd:
        bank[0, 3] = -1.5  # a_r = -1: the other class's signal
    radius = 0.3 if p_norm == "l2" else 0.1
    threat = ball_of(p_norm, radius)
    directions = [-x[:, j] for j in range(patches)]
    directions += [-y[:, None] * constants.signs[r] * bank[:, r] for r in range(4)]
    placements = [np.eye(patches)[j] for j in range(patches)]
    found = worst_margins(threat, constants, bank, x=x, y=y, n_steps=5)
    carried = Carried(np.zeros_like(x)[None])
    for _ in range(4 * patches):
        carried = attack(threat, constants, bank[None], x=x[None], y=y[None], n_steps=5, carried=carried)
    in_training = margin_of(constants, bank, x + carried.moved[0], y)
    for direction in directions:
        unit = np.sign(direction)
        if p_norm == "l2":
            unit = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-300)
        for placement in placements:
            start = margin_of(constants, bank, x + radius * unit[:, None] * placement[None, :, None], y)
            # An example that is broken is not searched further.
            assert ((found <= start + 1e-12) | (found <= 0)).all()
            assert (in_training <= start + 1e-12).all()
    assert (found > 0).sum() > 3


def test_the_search_is_never_weaker_than_the_signal_turned_in_all_patches_at_once():
    for patches in (2, 3, 5):
        rng = np.random.default_rng(patches)
        x, y = examples(rng, 10, patches, 40, 0.3)
        bank = 0.3 * rng.standard_normal((40, 6)) + signal_network(rng, 6, 40)
        written = x.copy()
        written[:, :, 0] -= y[:, None] * DELTA / patches**0.5
        found = worst_margins(ball_of("l2", DELTA), rule(6), bank, x=x, y=y, n_steps=3)
        assert (found <= margin_of(rule(6), bank, written, y) + 1e-12).all()


def sphere(dims: int, n: int) -> np.ndarray:
    """A grid of angles on the unit sphere, (points, dims)."""
    angles = [np.linspace(0, np.pi, n) for _ in range(dims - 2)] + [np.linspace(0, 2 * np.pi, 2 * n)]
    grid = np.stack(np.meshgrid(*angles, indexing="ij"), -1).reshape(-1, dims - 1)
    points = np.ones((len(grid), dims))
    for k in range(dims - 1):
        points[:, k] *= np.cos(grid[:, k])
        points[:, k + 1 :] *= np.sin(grid[:, k, None])
    return points


@pytest.mark.parametrize(("power", "odd"), [(2.0, True), (3.0, True), (5.0, True), (3.0, False)])
def test_two_filters_in_two_patches_against_a_grid_of_the_whole_sphere(power: float, odd: bool):
    """d = m = P = 2: four coordinates. Networks of signal and memory, and random ones, of unequal lengths.

    Inside the ball there is no minimum for the odd form: f has no critical point but where all activations vanish.
    """
    rng = np.random.default_rng(7)
    points = DELTA * sphere(4, 28).reshape(-1, 2, 2)
    inner = [scale * points for scale in (0.25, 0.5, 0.75)] if not odd else []
    ball = np.concatenate([points, *inner, np.zeros((1, 2, 2))])
    constants = rule(2, power, odd=odd)
    threat = ball_of("l2", DELTA)
    n_attacked = 0
    for number in range(12):
        x, y = examples(rng, 3, 2, 2, noise=rng.uniform(0.3, 2.0))
        bank = rng.standard_normal((2, 2)) * rng.uniform(0.3, 1.5, 2)
        if number % 2:
            bank = np.diag(rng.uniform(0.3, 1.5, 2))
        found = worst_margins(threat, constants, bank, x=x, y=y, n_steps=40)
        for i in range(3):
            grid = margin_of(constants, bank, x[i] + ball, np.full(len(ball), y[i])).min()
            if grid > 0:
                # Where the search ends at a point that is broken it need not go on.
                n_attacked += 1
                assert found[i] <= grid + 1e-9
            else:
                assert found[i] <= 0
    assert n_attacked >= 3


def exact_for_one_filter(c: np.ndarray, length: float) -> float:
    """Min of (c_1 - l s_1)^3 + (c_2 - l s_2)^3 over s_1^2 + s_2^2 = delta^2, by the roots of a polynomial in tan.

    With s = delta (1 - t^2, 2 t) / (1 + t^2), stationarity reads (c_1 - l s_1)^2 s_2 = (c_2 - l s_2)^2 s_1.
    """
    reach = length * DELTA
    one = np.polynomial.Polynomial([c[0] - reach, 0.0, c[0] + reach])
    two = np.polynomial.Polynomial([c[1], -2 * reach, c[1]])
    stationary = one**2 * np.polynomial.Polynomial([0.0, 2.0]) - two**2 * np.polynomial.Polynomial([1.0, 0.0, -1.0])
    roots = stationary.roots()
    t = np.append(roots[np.abs(roots.imag) < 1e-7].real, [0.0, 1e9])
    s_1 = DELTA * (1 - t**2) / (1 + t**2)
    s_2 = DELTA * 2 * t / (1 + t**2)
    return float(((c[0] - length * s_1) ** 3 + (c[1] - length * s_2) ** 3).min())


def test_one_filter_in_two_patches_is_exact():
    """m = 1, q = 3: only the two activations count, and the minimum over their circle is a root of a polynomial."""
    rng = np.random.default_rng(3)
    n_positive = 0
    for _ in range(30):
        x, y = examples(rng, 1, 2, 6, noise=rng.uniform(0.1, 1.5))
        bank = rng.standard_normal((6, 1))
        found = worst_margins(ball_of("l2", DELTA), rule(1), bank, x=x, y=y, n_steps=60)
        exact = exact_for_one_filter(y[0] * (x[0] @ bank[:, 0]), float(np.linalg.norm(bank)))
        assert found[0] >= exact - 1e-9
        if exact > 0:
            n_positive += 1
            np.testing.assert_allclose(found[0], exact, rtol=1e-3)
        else:
            assert found[0] <= 0
    bank = np.zeros((6, 1))
    bank[0, 0] = 1.0
    x, y = examples(rng, 4, 2, 6, noise=0.1)
    below = worst_margins(ball_of("l2", 0.707), rule(1), bank, x=x, y=y, n_steps=60)
    beyond = worst_margins(ball_of("l2", 0.708), rule(1), bank, x=x, y=y, n_steps=60)
    assert (below > 0).all()
    assert (beyond <= 0).all()


def test_linf_of_two_coordinates_against_a_grid_of_every_patch():
    rng = np.random.default_rng(5)
    radius = 0.4
    side = np.linspace(-radius, radius, 161)
    square = np.stack(np.meshgrid(side, side), -1).reshape(-1, 1, 2)
    constants = rule(3)
    n_attacked = 0
    for _ in range(15):
        x, y = examples(rng, 4, 2, 2, noise=0.8)
        bank = rng.standard_normal((2, 3))
        found = worst_margins(ball_of("linf", radius), constants, bank, x=x, y=y, n_steps=40)
        for i in range(4):
            grid = 0.0
            for j in range(2):
                grid += margin_of(constants, bank, x[i, j] + square, np.full(len(square), y[i])).min()
            if grid > 0:
                n_attacked += 1
                assert found[i] <= grid + 1e-3 * np.abs(bank).sum() ** 3
            else:
                assert found[i] <= 1e-9
    assert n_attacked >= 3


@pytest.mark.parametrize(
    ("p_norm", "patches", "threshold"), [("linf", 2, 0.5), ("linf", 3, 0.4425), ("l2", 3, 0.5**0.5)]
)
def test_the_signal_alone_falls_where_the_written_point_wins(p_norm: str, patches: int, threshold: float):
    """One filter along w*. For p = inf every patch has the whole radius: 1 - delta = (P - 1)^(1/3) delta."""
    rng = np.random.default_rng(0)
    x, y = examples(rng, 6, patches, 8, 0.0)
    bank = signal_network(rng, 1, 8)
    for factor, robust in ((0.99, True), (1.01, False)):
        threat = ball_of(p_norm, factor * threshold)
        found = worst_margins(threat, rule(1), bank, x=x, y=y, n_steps=40)
        assert ((found > 0) == robust).all()


@pytest.mark.parametrize("p_norm", ["l2", "linf"])
def test_the_attack_of_training_stays_in_the_ball_and_keeps_what_it_has_found(p_norm: str):
    rng = np.random.default_rng(1)
    constants = rule(6)
    drawn = [examples(rng, 9, 2, 20, 0.5) for _ in range(2)]
    x = np.stack([x for x, _ in drawn])
    y = np.stack([y for _, y in drawn])
    bank = 0.4 * rng.standard_normal((2, 20, 6))
    carried = Carried(np.zeros_like(x))
    least = y * scores(constants, bank, x)
    threat = ball_of(p_norm, DELTA)
    for _ in range(14):
        carried = attack(threat, constants, bank, x=x, y=y, n_steps=4, carried=carried)
        margins = y * scores(constants, bank, x + carried.moved)
        assert (margins <= least + 1e-9).all()
        least = margins
        inside = threat.contains(torch.from_numpy(x + carried.moved).flatten(0, 1), torch.from_numpy(x).flatten(0, 1))
        assert inside.all()
    assert carried.turn == 14
    for s in range(2):
        thorough = worst_margins(threat, constants, bank[s], x=x[s], y=y[s], n_steps=40)
        assert ((least[s] > 0) == (thorough > 0)).mean() > 0.85
        np.testing.assert_allclose(margin_of(constants, bank[s], x[s] + carried.moved[s], y[s]), least[s], rtol=1e-9)


def test_more_filters_than_dimensions_and_random_starts():
    rng = np.random.default_rng(2)
    x, y = examples(rng, 6, 2, 3, 0.5)
    bank = 0.4 * rng.standard_normal((3, 7))
    for p_norm in ("l2", "linf"):
        threat = ball_of(p_norm, 0.3)
        plain = worst_margins(threat, rule(7), bank, x=x, y=y, n_steps=5)
        streams = [Draws.of(0, f"start {k}", torch.arange(6)) for k in range(3)]
        more = worst_margins(threat, rule(7), bank, x=x, y=y, n_steps=5, streams=streams)
        assert (np.minimum(more, 0) <= np.minimum(plain, 0) + 1e-12).all()
        assert ((more > 0) <= (plain > 0)).all()


def test_the_best_point_passed_is_kept_with_its_margin():
    """Steps of 0.6 delta overshoot: the last point may be worse than one before it, or than the start."""
    rng = np.random.default_rng(4)
    x, y = examples(rng, 15, 2, 5, 0.5)
    bank = rng.standard_normal((5, 3))
    threat = ball_of("l2", DELTA)
    seen = Examples(x[None], y[None], bank[None])
    start = np.zeros_like(seen.x)
    moved, margins = descend(threat, rule(3), seen, start, n_steps=7)
    np.testing.assert_allclose(margin_of(rule(3), bank, x + moved[0], y), margins[0], rtol=1e-10)
    before = np.inf
    for n_steps in (0, 1):
        now = descend(threat, rule(3), seen, start, n_steps=n_steps)[1]
        assert (now <= before).all()
        before = now


@pytest.mark.parametrize(("p", "size"), [("l2", 0.3), ("linf", 0.02)])
def test_a_step_is_that_of_the_threat_model(p: str, size: float):
    """Steps that stay inside and steps that are projected, by the direction and the projection that attacks use."""
    rng = np.random.default_rng(0)
    threat = ThreatModel(p[1:], 0.8, None)
    gradient = rng.standard_normal((2, 30, 3, 7))
    moved = threat.sample(torch.from_numpy(gradient).flatten(0, 1), torch.Generator().manual_seed(0)).numpy()
    moved = moved.reshape(gradient.shape) - gradient
    found = ascend(threat, moved, gradient, size=size)
    step = size * threat.direction(torch.from_numpy(gradient).flatten(0, 1))
    free = torch.from_numpy(moved).flatten(0, 1) + step
    expected = threat.project(free, torch.zeros_like(free))
    assert int((free != expected).flatten(1).any(1).sum()) > 0
    assert int((free == expected).flatten(1).all(1).sum()) > 0
    np.testing.assert_allclose(found, expected.numpy().reshape(found.shape), rtol=1e-12, atol=1e-14)
