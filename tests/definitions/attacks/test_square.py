"""Square against exact answers, and where there is no gradient."""

import math

import numpy as np
import pytest
import torch
from tests.cases import THREATS, LinearScore, busy_network, images, linear_logits, points
from tests.definitions.attack_cases import IDS, linear_truth
from torch import Tensor

from cgro._check import BadRequest
from cgro.definitions import (
    APGD,
    PGD,
    Ensemble,
    Square,
    ThreatModel,
    margin,
    robust_error,
    survey,
)
from cgro.definitions.attacks import dropping, square
from cgro.definitions.attacks.square import FIRST_LOOK, LOOK_EVERY, OPTIMISM, SLACK
from cgro.definitions.draws import draws_for


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_square_comes_close_on_linear_scores_and_never_beyond(threat: ThreatModel) -> None:
    """Without gradients it cannot be exact; it must find nine tenths of what there is, and never more."""
    model, (x, y) = LinearScore(), points(25)
    truth, clean = linear_truth(model, x, y, threat), (y * model(x)).detach().double()
    reached = margin(model(Square(threat, n_queries=600)(model, x, y)), y).detach().double()
    assert bool((reached >= truth - 2e-5).all())
    share = (clean - reached) / (clean - truth)
    assert float(share.mean()) > 0.9


def test_square_needs_no_gradient() -> None:
    """A model without any: gradient attacks refuse it, queries break it."""
    model, x = linear_logits(64, 3).eval(), images(30)[0]
    masked, y = (lambda v: model((v * 64).round() / 64).detach()), model((images(30)[0] * 64).round() / 64).argmax(1)
    with pytest.raises(ValueError, match="differentiable"):
        robust_error(masked, x, y, APGD(ThreatModel("inf", 0.1)))
    assert robust_error(masked, x, y, Square(ThreatModel("inf", 0.1), n_queries=300)).wrong > 15


HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def bump_by_hand(length: int, breadth: int) -> np.ndarray:
    """A positive and a negative half, each with its top in its middle, falling with the square of the distance."""
    bump = np.zeros((length, breadth))
    for i in range(1, length + 1):
        first_half = i <= math.ceil(length / 2)
        middle = length / 4 + 0.5 + (0 if first_half else length / 2)
        for j in range(1, breadth + 1):
            far = max(abs(i - middle), abs(j - (breadth + 1) / 2))
            bump[i - 1, j - 1] = (1 if first_half else -1) / (1 + far) ** 2
    return bump


def walk_by_hand(margin_at, x: np.ndarray, point: np.ndarray, numbers: np.ndarray, threat: ThreatModel) -> float:
    """Random search of Andriushchenko et al. (2020) on one image (C, H, W), pixel by pixel: the lowest margin."""
    n_channels, height, width = x.shape
    p, radius, lowest = threat.p, threat.radius, margin_at(point)
    box = threat.box or (-np.inf, np.inf)
    for query, u in enumerate(numbers):
        area = 0.8 * 0.5 ** len([k for k in HALVED_AFTER if query > k]) * height * width
        wide = min(max(round(area**0.5), 1), width)
        high = min(max(round(area / wide), 1), height)

        def window(a: float, b: float, high: int = high, wide: int = wide) -> list[tuple[int, int]]:
            top, left = int(a * (height - high + 1)), int(b * (width - wide + 1))
            return [(top + i, left + j) for i in range(high) for j in range(wide)]

        new = point.copy()
        first = window(u[0], u[1])
        if p == np.inf:
            for c in range(n_channels):
                for i, j in first:
                    new[c, i, j] = np.clip(x[c, i, j] + (radius if u[2 + c] >= 0.5 else -radius), *box)
        else:
            second = [cell for cell in window(u[2], u[3]) if cell not in first]
            unused = radius**p * (1 - SLACK) - (np.abs(point - x) ** p).sum()
            bump = bump_by_hand(high, wide) if u[-1] < 0.5 else bump_by_hand(wide, high).T
            for c in range(n_channels):
                delta = np.array([point[c, i, j] - x[c, i, j] for i, j in first])
                emptied = sum(abs(point[c, i, j] - x[c, i, j]) ** p for i, j in second)
                budget = max((np.abs(delta) ** p).sum() + emptied + unused / n_channels, 0) ** (1 / p)
                way = bump.flatten() * (1 if u[4 + c] >= 0.5 else -1)
                way = way / np.linalg.norm(way, p) + delta / max(np.linalg.norm(delta, p), 1e-12)
                way = budget * way / max(np.linalg.norm(way, p), 1e-12)  # where they cancel there is no step
                for i, j in second:
                    new[c, i, j] = x[c, i, j]
                for (i, j), step in zip(first, way, strict=True):
                    new[c, i, j] = np.clip(x[c, i, j] + step, *box)
        if margin_at(new) < lowest:
            point, lowest = new, margin_at(new)
    return lowest


@pytest.mark.parametrize("beside", [False, True], ids=["one by one", "side by side"])
@pytest.mark.parametrize("box", [(0.0, 1.0), None])
@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 7, 7), (17,)])
@pytest.mark.parametrize(("p", "radius"), [("inf", 0.2), (2, 0.7), (1, 2.0)])
def test_the_walk_is_that_of_a_second_implementation(
    monkeypatch, p, radius: float, shape: tuple[int, ...], box, beside: bool
) -> None:
    """In float64, on a rugged score that never breaks; 75 queries, so that windows shrink twice.

    Side by side: 7 queries of an example in a pass from the first block on, although many of them are taken."""
    if beside:
        monkeypatch.setattr(square, "SPOILED", 1e9)
        monkeypatch.setattr(square, "COMPACT_EVERY", 5)
        monkeypatch.setattr(dropping, "SIDE_BY_SIDE", {"cpu": 21})
    g = torch.Generator().manual_seed(3)
    n = math.prod(shape)
    first, last = (torch.randn(size, generator=g, dtype=torch.float64) for size in ((n, 30), (30,)))
    model = lambda v: 99 + torch.sin(v.flatten(1) @ first) @ last  # noqa: E731
    x = torch.rand(3, *shape, generator=g, dtype=torch.float64)
    threat = ThreatModel(p, radius, box)
    attack = Square(threat, n_queries=75, precision="float32")
    found = attack.find(model, x, torch.ones(3, dtype=torch.long), until_wrong=beside)
    image = shape if len(shape) == 3 else (1, n, 1)
    draws = draws_for(None, 3, x.device)
    if p == "inf":
        signs = (draws.uniform(image[0] * image[2]) >= 0.5).double().view(3, image[0], 1, image[2]) * 2 - 1
        starts = (x.view(3, *image) + radius * signs).clamp(*(box or (None, 9)))
    else:
        signs = (draws.uniform(n) >= 0.5).double() * 2 - 1
        starts = threat.project(x.flatten(1) + threat.steepest(signs, size=radius * (1 - SLACK)), x.flatten(1))
    n_numbers = image[0] + (2 if p == "inf" else 5)
    numbers = draws.uniform(75 * n_numbers).view(3, 75, n_numbers)
    lowest = [
        walk_by_hand(
            lambda v: float(model(torch.from_numpy(v)[None].flatten(1))),
            x[k].view(image).numpy(),
            starts[k].reshape(image).numpy(),
            numbers[k].numpy(),
            threat,
        )
        for k in range(3)
    ]
    # Where a bump cancels the direction before it, rounding decides what is left: 1e-4; all others agree to 1e-9.
    assert found.margins.tolist() == pytest.approx(lowest, abs=1e-3)
    assert bool((found.margins < model(x) - 0.5).all())


def test_settings_of_square() -> None:
    attack = Square(ThreatModel("inf", 0.1))
    assert (attack.n_queries, attack.first_share, attack.search_precision) == (5000, 0.8, "float32")
    assert Square(ThreatModel("inf", 0.1), precision="bfloat16").search_precision == "bfloat16"
    assert Square(ThreatModel("inf", 0.1), first_share=1.0).first_share == 1
    with pytest.raises(BadRequest, match=r"a finite number in \(0, 1\]"):
        Square(ThreatModel("inf", 0.1), first_share=0.0)


class Counting:
    """A model that counts the images that it is asked for."""

    def __init__(self, model) -> None:
        self.model = model
        self.images = 0
        self.passes = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.images += len(x)
        self.passes += 1
        return self.model(x)


@pytest.mark.parametrize("p", ["inf", 2, 1])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", ["exact", "padded"])
def test_queries_side_by_side_find_what_they_find_one_by_one(monkeypatch, p, precision: str, how) -> None:
    """Same verdict, same step, same point; in fewer passes."""
    model, x = busy_network().eval(), images(24)[0]
    y = model(x).argmax(1)
    threat = ThreatModel(p, {"inf": 0.04, 2: 0.5, 1: 3.0}[p])
    attack = Square(threat, n_queries=300, precision=precision)
    found, passes = [], []
    for limit in (1, 10_000):
        monkeypatch.setattr(dropping, "SIDE_BY_SIDE", {"cpu": limit})
        counted = Counting(model)
        found.append(attack.find(counted, x, y, until_wrong=True, dropping=how))
        passes.append(counted.passes)
    one_by_one, beside = found
    assert 0 < int((beside.margins > 0).sum()) < 24
    assert torch.equal(one_by_one.margins > 0, beside.margins > 0)
    assert passes[1] < 0.8 * passes[0]
    if precision == "float32":
        assert torch.equal(one_by_one.step, beside.step)
        torch.testing.assert_close(one_by_one.margins, beside.margins, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one_by_one.x, beside.x, atol=1e-5, rtol=0)


@pytest.fixture
def one_by_one(monkeypatch) -> None:
    """A pass is a query."""
    monkeypatch.setattr(dropping, "SIDE_BY_SIDE", {"cpu": 1})


@pytest.mark.parametrize("rugged", [False, True])
def test_no_more_is_asked_in_vain_than_is_said(monkeypatch, rugged: bool) -> None:
    """Side by side from the first block on, whether or not queries are taken; three examples of different pace."""
    monkeypatch.setattr(square, "COMPACT_EVERY", 5)
    first = torch.randn(64, 40, generator=torch.Generator().manual_seed(0))
    ways = torch.tensor([0.3, 3.0, 30.0])

    def model(v: Tensor) -> Tensor:
        if not rugged:
            return 0 * v.flatten(1).sum(1) + 9
        rows = torch.arange(len(v)) % 3
        return 99 + torch.sin(ways[rows, None] * (v.flatten(1) @ first)).sum(1)

    attack = Square(ThreatModel("inf", 0.2), n_queries=400)
    asked = []
    for limit in (1, 3_000):
        monkeypatch.setattr(dropping, "SIDE_BY_SIDE", {"cpu": limit})
        counted = Counting(model)
        attack.find(counted, images(3)[0], torch.ones(3, dtype=torch.long), until_wrong=True)
        asked.append(counted.images / 3)
    fewest, beside = asked
    assert 400 <= fewest <= 404
    assert beside <= attack.most_images + fewest - 400
    assert attack.most_images == 500


def falling(pace: float, until: float = math.inf):
    """A score that falls by `pace` with every query, whatever the image is, as long as there were less than `until`."""
    asked = [0]

    def model(x: Tensor) -> Tensor:
        asked[0] += 1
        return torch.full((len(x),), 1 - pace * min(asked[0], until), dtype=x.dtype) + 0 * x.flatten(1).sum(1)

    return Counting(model)


LEAST = 1 / (FIRST_LOOK + OPTIMISM * FIRST_LOOK)
"""The pace at which a walk of 2 FIRST_LOOK queries just gets to 0 if it is multiplied by OPTIMISM after half of them."""


@pytest.mark.parametrize(
    ("pace", "reached", "asked"),
    [
        (0.0, 0.5, FIRST_LOOK),
        (0.97 * LEAST, 0.0, FIRST_LOOK),
        (1.03 * LEAST, 0.0, FIRST_LOOK + LOOK_EVERY),
        (0.98 / (2 * FIRST_LOOK), 0.0, 2 * FIRST_LOOK),
        (0.0, 1.0, 2 * FIRST_LOOK),  # no lower than the walk: gradients show no more than queries
        (0.97 * LEAST, 1.0, 2 * FIRST_LOOK),
        (0.0, None, 2 * FIRST_LOOK),  # alone
    ],
)
@pytest.mark.parametrize("p", ["inf", 2])
@pytest.mark.usefixtures("one_by_one")
def test_a_walk_is_given_up_where_it_leads_nowhere(pace: float, reached: float | None, asked: int, p) -> None:
    x, y = images(2)[0], torch.ones(2, dtype=torch.long)
    model = falling(pace)
    known = None if reached is None else torch.full((2,), reached)
    attack = Square(ThreatModel(p, 0.1), n_queries=2 * FIRST_LOOK, precision="float32")
    found = attack.find(model, x, y, until_wrong=True, reached=known)
    assert asked <= model.images / 2 <= asked + 3
    assert bool((found.margins > 0).all())


@pytest.mark.usefixtures("one_by_one")
def test_a_walk_that_gets_on_is_not_given_up_later_than_it_stops() -> None:
    """It falls by what would do until query 1,400, and stops: given up at a later look, not at the end."""
    x, y = images(1)[0], torch.ones(1, dtype=torch.long)
    model = falling(1.2 * LEAST, until=1400)
    attack = Square(ThreatModel("inf", 0.1), n_queries=3000, precision="float32")
    attack.find(model, x, y, until_wrong=True, reached=torch.zeros(1))
    assert 1400 < model.images < 2900


@pytest.mark.parametrize("how", ["exact", "padded", "never"])
@pytest.mark.usefixtures("one_by_one")
def test_one_that_is_given_up_is_right_however_examples_are_dropped(how) -> None:
    """The first example's margin falls all the time, the second's at the end of the queries alone."""
    x, y = images(2)[0], torch.ones(2, dtype=torch.long)
    x[1] = 1 - x[0]

    def model():
        passes = [0]

        def scores(v: Tensor) -> Tensor:
            passes[0] += 1
            is_first = (v.flatten(1).sum(1) - x[0].sum()).abs() < 0.5
            late = 1.0 if passes[0] < 1.9 * FIRST_LOOK else -1.0
            return torch.where(is_first, 1 - 0.9 * passes[0] / (2 * FIRST_LOOK), late)

        return scores

    attack = Square(ThreatModel("inf", 1e-3), n_queries=2 * FIRST_LOOK, precision="float32")
    found = attack.find(model(), x, y, until_wrong=True, dropping=how, reached=torch.zeros(2))
    assert (found.margins > 0).tolist() == [True, True]
    alone = attack.find(model(), x, y, until_wrong=True, dropping=how)
    assert (alone.margins > 0).tolist() == [True, False]


@pytest.mark.usefixtures("one_by_one")
def test_an_evaluation_tells_square_what_the_attacks_before_it_reached() -> None:
    """A score that falls as each pixel moves its own way: one gradient goes where random squares do not get."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(3, 1, 20, 20, generator=g), torch.ones(3, dtype=torch.long)
    ways = torch.randn(400, 1, generator=g).sign()
    slope = lambda v: 40 - ((v - 0.5).flatten(1) @ ways)[:, 0] / 20  # noqa: E731

    threat = ThreatModel("inf", 0.1, None)
    gradient, queries = PGD(threat, n_steps=3, step_size=0.1), Square(threat, n_queries=3000, precision="float32")
    for attack, expected in ((Ensemble(threat, (gradient, queries)), FIRST_LOOK), (queries, 3000)):
        model = Counting(slope)
        survey(model, x, y, attack)
        assert expected < model.images / 3 < expected + 50, attack.name
        model = Counting(slope)
        attack.find(model, x, y, until_wrong=True)
        assert expected < model.images / 3 < expected + 50, attack.name
