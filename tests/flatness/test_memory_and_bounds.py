"""The memory probe on a network that is f_S by construction, correlations that respect dependence, bounds, monitor."""

import math

import numpy as np
import pytest
import torch
from tests.cases import LinearScore, busy_network, images, points
from tests.definitions.attack_cases import leaves_everything_alone
from torch import Tensor

from cgro._check import BadRequest
from cgro.data import load
from cgro.definitions import PGD, ThreatModel
from cgro.flatness import (
    FlatnessMonitor,
    Search,
    attacked,
    first_order,
    flatness,
    gap_bound,
    influence,
    memorized_by_margin,
    memory_score,
    rank_correlation,
    real_stages,
)
from cgro.training import Adversarial, Evaluation, Recipe, Snapshot, fit

THREAT = ThreatModel("inf", 0.1)
ATTACK = PGD(THREAT, n_steps=10)


class Memory:
    """f_S in one dimension: y_i within 0.15 of a training point, and a clean score elsewhere."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __call__(self, v: Tensor) -> Tensor:
        gap = (v - self.x.T).abs()
        weight = torch.relu(1 - torch.relu(gap - 0.15) / 0.01)
        inside = weight.sum(1).clamp_max(1)
        return (1 - inside) * (v[:, 0] - 0.5) + (weight * self.y).sum(1)


def test_a_network_that_remembers_flips_training_points_beyond_the_radius_only() -> None:
    x, y = torch.tensor([[0.1], [0.52], [0.9]]), torch.tensor([-1, 1, 1])
    fresh, label = torch.tensor([[0.27], [0.33], [0.73]]), torch.tensor([-1, -1, 1])
    train = attacked(Memory(x, y), x, y, ATTACK, reach=0.5)
    test = attacked(Memory(x, y), fresh, label, ATTACK, reach=0.5)
    assert bool((train.margin > 0.9).all())
    assert bool((train.flip > 0.15).all())
    assert float(test.margin.mean()) < 0.5
    score = memory_score(train, test)
    assert score.value > 0.5
    assert score.ranking == 1.0
    none = memory_score(train, train)
    assert none.value == 0
    assert none.ranking == 0.5


def test_flip_radii_of_a_linear_score_are_its_distances() -> None:
    model, (x, _) = LinearScore().eval(), points(20)
    attack = PGD(ThreatModel("inf", 0.05, None), n_steps=10)
    y = torch.where(model(x) > 0, 1, -1)
    found = attacked(model, x, y, attack, reach=2.0)
    distance = (model(x).abs() / model.w.abs().sum()).detach().double()
    torch.testing.assert_close(found.flip, distance, atol=1e-3, rtol=1e-3)
    wrong = attacked(model, x, -y, attack)
    assert bool((wrong.flip == 0).all())
    short = attacked(model, x, y, attack, reach=0.01)
    assert bool(short.flip[distance > 0.02].isinf().all())


def test_the_probe_leaves_everything_alone_and_refuses_a_radius_of_zero() -> None:
    model, (x, y) = busy_network().eval(), images()
    assert leaves_everything_alone(model, lambda: attacked(model, x, y, ATTACK))
    with pytest.raises(BadRequest, match="above 0"):
        attacked(model, x, y, ATTACK.at(0.0))


def test_influence_is_one_for_a_lookup_table_and_zero_for_a_rule() -> None:
    x, y = torch.linspace(0.05, 0.95, 10)[:, None], torch.tensor([-1, 1] * 5)
    attack = PGD(ThreatModel("inf", 0.001), n_steps=2)

    def lookup(rows: Tensor, seed: int):
        known, labels = x[rows], y[rows]
        return lambda v: ((((v - known.T).abs() < 0.02) * labels).sum(1) - 0.5).float() + 0 * v[:, 0]

    g = torch.Generator().manual_seed(0)
    found = influence(lookup, x, y, attack, g, n_models=30)
    assert bool((found[y == 1] == 1).all())
    assert bool((found[y == -1] == 0).all())
    rule = influence(lambda rows, seed: lambda v: v[:, 0] - 2, x, y, attack, g, n_models=5)
    assert bool((rule.nan_to_num() == 0).all())
    for settings in ({"n_models": 1}, {"share": 1.0}):
        with pytest.raises(BadRequest):
            influence(lookup, x, y, attack, g, **settings)


def test_who_is_memorised() -> None:
    clean = {"train": torch.tensor([0.05, 0.05, 0.3, 0.4]), "test": torch.tensor([0.02, 0.08, 0.5, 0.5])}
    margins = {"train": torch.ones(4), "test": torch.tensor([-1.0, 1.0, 1.0, 1.0])}
    found = memorized_by_margin(clean, margins, 0.1)
    assert (found["mu"], found["memory_near"], found["memory_far"]) == (0.5, 0.5, 0.0)
    assert math.isnan(memorized_by_margin(clean, margins, 0.01)["memory_near"])


def test_stages_are_in_order_on_memory_and_not_on_a_network_that_generalizes() -> None:
    epochs, clean = range(1, 9), [0.6, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    stalled, falling = [0.8, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    found = real_stages(list(epochs), clean, falling, stalled)
    assert found.ordered
    assert (found.clean_learned, found.generalized, found.memorized, found.parted) == (3, 3, 8, 5)
    assert not real_stages(list(epochs), clean, falling, falling).ordered
    with pytest.raises(BadRequest, match="curves"):
        real_stages([1], [0.1], [0.1], [0.1])


def test_blocks_make_the_interval_of_slow_curves_wider() -> None:
    """Two independent random walks: points look correlated; an interval over single points would exclude 0 too often."""
    g = np.random.default_rng(0)
    covered = {1: 0, 8: 0}
    for _ in range(40):
        a, b = g.normal(size=(2, 4, 24)).cumsum(2)
        for block in covered:
            low, high = rank_correlation(a, b, np.random.default_rng(1), block=block, n_draws=200).interval
            covered[block] += low <= 0 <= high
    assert covered[8] >= covered[1]
    assert covered[8] >= 25
    a, b = g.normal(size=(2, 4, 24))
    narrow, wide = (rank_correlation(a[None, 0], a[None, 0] + s * b[None, 0], g) for s in (0.1, 5.0))
    assert narrow.value > wide.value
    assert narrow.interval[0] > 0.5


@pytest.mark.parametrize(
    "pair", [(np.zeros((1, 2)),) * 2, (np.zeros((2, 3)), np.zeros((3, 2))), (np.full((1, 4), np.nan),) * 2]
)
def test_bad_checkpoints(pair: tuple) -> None:
    with pytest.raises(BadRequest, match="checkpoints"):
        rank_correlation(*pair, np.random.default_rng(0))


def test_constant_sides_have_no_correlation() -> None:
    found = rank_correlation(np.ones((1, 5)), np.arange(5.0)[None], np.random.default_rng(0))
    assert math.isnan(found.value)
    assert found.interval is None


def test_first_order_holds_for_a_linear_score_with_a_convex_loss() -> None:
    """The logistic loss of a linear score is convex in x: rise >= radius * norm, without the box."""
    model, (x, y) = LinearScore().eval(), points(30)
    found = flatness(model, x, y, [1e-3, 0.1], box=None)
    assert first_order(found, 0).ratio == pytest.approx(1, abs=5e-3)
    assert first_order(found, 1).ratio > 1.01


def test_the_bound_is_vacuous_for_images_and_says_so() -> None:
    model, (x, y) = LinearScore().eval(), points(40)
    train, test = flatness(model, x[:20], y[:20], [0.1]), flatness(model, x[20:], y[20:], [0.1])
    image = gap_bound(train, test, 0, n=60_000, dim=784)
    assert image.factor == pytest.approx(60_000 ** (-1 / 786))
    assert image.factor > 0.98
    assert image.vacuous
    assert "VACUOUS" in image.sentence
    many = gap_bound(train, test, 0, n=10**15, dim=1)
    assert not many.vacuous
    looser = gap_bound(train, test, 0, n=100, dim=4, constant=1.0, failure=0.01)
    assert looser.bound == pytest.approx(gap_bound(train, test, 0, n=100, dim=4).bound + 10 * looser.factor)


def test_the_monitor_runs_inside_training_and_changes_nothing() -> None:
    data = load("digits", classes="3,8", n_train=60, n_test=30)
    monitor = FlatnessMonitor(("0.05", "0.1"), n=20, every=2, search=Search(2, 2))

    def train(probes: tuple):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1), torch.nn.Flatten(0))
        evaluation = Evaluation(PGD(THREAT, n_steps=1), n=20)
        trajectory = fit(
            model, data, Adversarial(PGD(THREAT, n_steps=1)), Recipe(epochs=2), evaluation=evaluation, probes=probes
        )
        return model, trajectory

    (seen, watched), (alone, _) = train((monitor,)), train(())
    assert all(torch.equal(a, b) for a, b in zip(seen.parameters(), alone.parameters(), strict=True))
    values = watched["flatness/gradient/test@0.1"]
    assert np.isnan(values[0])
    assert values[1] > 0
    assert monitor(Snapshot(seen, data, 3)) == {}
    assert set(monitor(Snapshot(seen, data, 4))) == {*monitor.keys("train"), *monitor.keys("test")}
    for wrong in ({"n": 0}, {"every": 0}):
        with pytest.raises(BadRequest):
            FlatnessMonitor(("0.1",), **wrong)
