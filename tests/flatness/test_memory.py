"""The memory probe on a network that is f_S by construction; shares and margins by counting."""

import math

import pytest
import torch
from tests.cases import LinearScore, busy_network, images, points
from tests.definitions.attack_cases import leaves_everything_alone
from torch import Tensor

from cgro._check import BadRequest
from cgro.definitions import PGD, ThreatModel
from cgro.flatness import Attacked, FlipSearch, attacked, by_quarter, memorized_by_margin, memory_score

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
    train = attacked(Memory(x, y), x, y, ATTACK, flips=FlipSearch(reach=0.5))
    test = attacked(Memory(x, y), fresh, label, ATTACK, flips=FlipSearch(reach=0.5))
    assert bool((train.margin > 0.9).all())
    assert bool((train.flip > 0.15).all())
    assert float(test.margin.mean()) < 0.5
    score = memory_score(train, test)
    assert score.value > 0.5
    assert score.auc == 1.0
    none = memory_score(train, train)
    assert none.value == 0
    assert none.auc == 0.5


def test_flip_radii_of_a_linear_score_are_its_distances() -> None:
    model, (x, _) = LinearScore().eval(), points(20)
    attack = PGD(ThreatModel("inf", 0.05, None), n_steps=10)
    y = torch.where(model(x) > 0, 1, -1)
    found = attacked(model, x, y, attack, flips=FlipSearch(reach=2.0))
    distance = (model(x).abs() / model.w.abs().sum()).detach().double()
    torch.testing.assert_close(found.flip, distance, atol=1e-3, rtol=1e-3)
    wrong = attacked(model, x, -y, attack)
    assert bool((wrong.flip == 0).all())
    short = attacked(model, x, y, attack, flips=FlipSearch(reach=0.01))
    assert bool(short.flip[distance > 0.02].isinf().all())


def test_the_probe_leaves_everything_alone_and_refuses_a_radius_of_zero() -> None:
    model, (x, y) = busy_network().eval(), images()
    assert leaves_everything_alone(model, lambda: attacked(model, x, y, ATTACK))
    with pytest.raises(BadRequest, match="above 0"):
        attacked(model, x, y, ATTACK.at(0.0))


def test_pieces_of_a_set_have_the_starts_of_the_whole() -> None:
    """As cgro memory calls it, one piece after the other: once examples 0, 128, 256 had one start."""
    model, (x, y) = busy_network().eval(), images(24)
    attack = PGD(ThreatModel("inf", 0.3), n_steps=1, step_size=0.001)  # one tiny step: the start decides
    whole = attacked(model, x, y, attack)
    index = torch.arange(24)
    pieces = [attacked(model, x[rows], y[rows], attack, index=rows) for rows in index.split(7)]
    torch.testing.assert_close(torch.cat([piece.margin for piece in pieces]), whole.margin)
    alone = attacked(model, x[7:14], y[7:14], attack)
    assert not torch.allclose(alone.margin, whole.margin[7:14])


def test_what_is_decided_passes_through_the_network_no_more() -> None:
    """Examples that are wrong at once once went along for 44 further passes; the radii are those of all passes."""
    x = torch.linspace(0.05, 0.95, 19)[:, None]
    y = torch.ones(19)
    n_rows: list[int] = []

    def score(v: Tensor) -> Tensor:
        n_rows.append(len(v))
        return v[:, 0] - 0.5

    search = FlipSearch(reach=1.0, n_points=10, n_halvings=20)
    found = attacked(score, x, y, PGD(ThreatModel("inf", 0.1), n_steps=1), flips=search)
    torch.testing.assert_close(found.flip, (x[:, 0] - 0.5).clamp_min(0).double(), rtol=0, atol=1e-5)
    assert 0 not in n_rows
    n_wrong = int((x <= 0.5).sum())
    # Beside the attack's few passes: the start, the steps outwards to each flip, the halvings of those that flip.
    assert sum(n_rows) < 19 * 6 + sum(range(1, 11)) * 2 + 20 * (19 - n_wrong)


def test_a_default_reach_is_four_radii_and_batches_change_nothing() -> None:
    model, (x, y) = LinearScore().eval(), points(20)
    whole = attacked(model, x, y, ATTACK)
    assert whole.reach == pytest.approx(0.4)
    pieces = attacked(model, x, y, ATTACK, batch=7)
    torch.testing.assert_close(pieces.flip, whole.flip)
    torch.testing.assert_close(pieces.margin, whole.margin)
    other = attacked(model, x, y, ATTACK, seed=1)
    torch.testing.assert_close(other.margin, whole.margin)  # a linear score: every start ends at the same point


def test_a_flip_is_bisected_as_often_as_asked() -> None:
    """A score that turns negative 0.23 left of x: steps of 0.1 bracket it, each halving halves the error."""
    x, y = torch.tensor([[0.9]]), torch.tensor([1])

    def flip(n_halvings: int) -> float:
        search = FlipSearch(reach=0.4, n_points=4, n_halvings=n_halvings)
        return float(attacked(lambda v: v[:, 0] - 0.67, x, y, ATTACK, flips=search).flip)

    assert flip(0) == pytest.approx(0.3, abs=1e-6)
    assert flip(1) == pytest.approx(0.25, abs=1e-6)
    assert flip(10) == pytest.approx(0.23, abs=2e-4)


def test_a_reach_that_is_text_is_a_number() -> None:
    model, (x, y) = LinearScore().eval(), points(6)
    found = attacked(model, x, y, ATTACK, flips=FlipSearch(reach="1/2"))  # type: ignore[arg-type]
    assert found.reach == 0.5
    assert torch.equal(found.flip, attacked(model, x, y, ATTACK, flips=FlipSearch(reach=0.5)).flip)


def test_the_spread_of_one_example_is_not_known() -> None:
    one, two = (Attacked(torch.ones(n, dtype=torch.float64), torch.ones(n), 1.0) for n in (1, 2))
    for pair, part in (((one, two), "training"), ((two, one), "test")):
        with pytest.raises(BadRequest, match=f"{part} margins: expected those of 2 examples or more, got 1"):
            memory_score(*pair)


def test_bad_flip_searches() -> None:
    for settings in ({"n_points": 0}, {"n_halvings": -1}, {"reach": 0.0}, {"reach": -1.0}):
        with pytest.raises(BadRequest, match=next(iter(settings))):
            FlipSearch(**settings)


def test_the_auc_is_the_share_of_pairs() -> None:
    g = torch.Generator().manual_seed(0)
    a = torch.randint(0, 6, (31,), generator=g).double()
    b = torch.randint(0, 5, (17,), generator=g).double()
    wins = sum(float(u > v) + 0.5 * float(u == v) for u in a for v in b)
    score = memory_score(Attacked(a, a, 1.0), Attacked(b, b, 1.0))
    assert score.auc == pytest.approx(wins / (31 * 17), abs=1e-15)
    assert 0.5 < score.auc < 1
    half = 1.96 * math.sqrt(float(a.var()) / 31 + float(b.var()) / 17)
    assert score.interval == pytest.approx((score.value - half, score.value + half), abs=1e-4)


def test_who_is_memorized() -> None:
    clean = {"train": torch.tensor([0.05, 0.05, 0.3, 0.4]), "test": torch.tensor([0.02, 0.08, 0.5, 0.5])}
    margins = {"train": torch.ones(4), "test": torch.tensor([-1.0, 1.0, 1.0, 1.0])}
    found = memorized_by_margin(clean, margins, 0.1)
    assert (found.mu, found.memory_near, found.memory_far) == (0.5, 0.5, 0.0)
    assert math.isnan(memorized_by_margin(clean, margins, 0.01).memory_near)


def test_quarters_are_counted_within_each_part() -> None:
    g = torch.Generator().manual_seed(1)
    flips = {"train": torch.rand(22, generator=g), "test": torch.rand(13, generator=g)}
    flips["test"][3] = math.inf
    margins = {part: torch.randn(len(v), generator=g) for part, v in flips.items()}
    rows = by_quarter(flips, margins)
    sizes = {"train": [6, 6, 5, 5], "test": [4, 3, 3, 3]}
    for part in ("train", "test"):
        order, first = sorted(range(len(flips[part])), key=lambda i, part=part: float(flips[part][i])), 0
        for row, size in zip(rows, sizes[part], strict=True):
            robust = [float(margins[part][i]) > 0 for i in order[first : first + size]]
            assert getattr(row, part) == pytest.approx(sum(robust) / size)
            first += size
    assert all(row.memory == row.train - row.test for row in rows)
    assert rows[0].to_dict()["interval"] == list(rows[0].interval)
    certain = by_quarter({k: torch.arange(40.0) for k in margins}, {k: torch.ones(40) for k in margins})
    for row in certain:  # a normal interval would be the point 0; by the rule of three 3/10 is not excluded
        assert row.memory == 0.0
        assert row.interval == pytest.approx((-0.278, 0.278), abs=1e-3)  # Wilson's bound for 10 of 10, of each part
    with pytest.raises(BadRequest, match="indicator"):
        by_quarter({k: v[:3] for k, v in flips.items()}, {k: v[:3] for k, v in margins.items()})
    with pytest.raises(BadRequest, match="indicator"):
        by_quarter(flips, {k: v[:5] for k, v in margins.items()})
