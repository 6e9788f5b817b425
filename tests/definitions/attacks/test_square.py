"""Square against exact answers, and where there is no gradient."""

import math

import numpy as np
import pytest
import torch
from tests.cases import THREATS, LinearScore, images, linear_logits, points
from tests.definitions.attack_cases import IDS, linear_truth

from cgro._check import BadRequest
from cgro.definitions import (
    APGD,
    Square,
    ThreatModel,
    margin,
    robust_error,
)
from cgro.definitions.attacks.square import SLACK, window_area
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


@pytest.mark.parametrize("box", [(0.0, 1.0), None])
@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 7, 7), (17,)])
@pytest.mark.parametrize(("p", "radius"), [("inf", 0.2), (2, 0.7), (1, 2.0)])
def test_the_walk_is_that_of_a_second_implementation(p, radius: float, shape: tuple[int, ...], box) -> None:
    """In float64, on a rugged score that never breaks; 75 queries, so that windows shrink twice."""
    g = torch.Generator().manual_seed(3)
    n = math.prod(shape)
    first, last = (torch.randn(size, generator=g, dtype=torch.float64) for size in ((n, 30), (30,)))
    model = lambda v: 99 + torch.sin(v.flatten(1) @ first) @ last  # noqa: E731
    x = torch.rand(3, *shape, generator=g, dtype=torch.float64)
    threat = ThreatModel(p, radius, box)
    found = Square(threat, n_queries=75, precision="float32").find(model, x, torch.ones(3, dtype=torch.long))
    image = shape if len(shape) == 3 else (1, n, 1)
    draws = draws_for(None, 3, x.device)
    if p == "inf":
        signs = (draws.uniform(image[0] * image[2]) >= 0.5).double().view(3, image[0], 1, image[2]) * 2 - 1
        starts = (x.view(3, *image) + radius * signs).clamp(*(box or (None, 9)))
    else:
        signs = (draws.uniform(n) >= 0.5).double() * 2 - 1
        starts = threat.project(x.flatten(1) + threat.steepest(signs, size=radius * (1 - SLACK)), x.flatten(1))
    n_numbers = image[0] + (2 if p == "inf" else 5)
    numbers = torch.cat([draws.uniform(n * n_numbers).view(3, n, n_numbers) for n in (50, 25)], 1)
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
    assert (attack.n_queries, attack.first_share, attack.search_precision) == (5000, 0.8, "auto")
    assert Square(ThreatModel("inf", 0.1), first_share=1.0).first_share == 1
    assert [window_area(q, 0.8) for q in (10, 11, 8001)] == [0.8, 0.4, 0.8 / 2**9]
    with pytest.raises(BadRequest, match=r"a share in \(0, 1\]"):
        Square(ThreatModel("inf", 0.1), first_share=0.0)
