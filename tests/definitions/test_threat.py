"""Projection, sampling and steepest step against optimisers, enumeration and known laws."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracles
from tests.cases import THREATS, points

from cgro._check import BadRequest
from cgro.definitions import PGD, ThreatModel, robust_error
from cgro.definitions.threat import require_no_bytes, require_radius_fits

IDS = [f"p={t.p:g} box={t.box}" for t in THREATS]


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
@pytest.mark.parametrize("seed", range(8))
def test_projection_solves_its_quadratic_program(threat: ThreatModel, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    center, _ = points(1, 6, seed)
    center = center.double()
    x = center + torch.randn(1, 6, generator=g, dtype=torch.float64) * (0.05 if seed % 4 == 0 else 0.8)
    ours = threat.project(x, center)[0].numpy()
    truth = oracles.project(x[0].numpy(), center[0].numpy(), threat.p, threat.radius, threat.box)
    assert bool(threat.contains(torch.tensor(ours)[None], center).all())
    np.testing.assert_allclose(ours, truth, atol=2e-6)
    # The optimiser may stop early; ours must be at least as near.
    assert np.sum((ours - x[0].numpy()) ** 2) <= np.sum((truth - x[0].numpy()) ** 2) + 1e-9


@pytest.mark.parametrize("p", [1, 2, "inf"])
def test_projection_beats_every_point_of_a_fine_grid(p: object) -> None:
    threat = ThreatModel(p, 0.35)
    center, x = torch.tensor([[0.9, 0.2]], dtype=torch.float64), torch.tensor([[1.4, 0.7]], dtype=torch.float64)
    axis = torch.linspace(0, 1, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    allowed = grid[threat.contains(grid, center.expand_as(grid))]
    nearest = allowed[(allowed - x).norm(dim=1).argmin()]
    assert float((threat.project(x, center) - x).norm()) <= float((nearest - x).norm())
    assert float((threat.project(x, center) - nearest).norm()) < 0.01


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), index=st.integers(0, len(THREATS) - 1), n=st.integers(1, 30))
def test_projection_is_feasible_idempotent_and_leaves_feasible_points(seed: int, index: int, n: int) -> None:
    threat, g = THREATS[index], torch.Generator().manual_seed(seed)
    center, _ = points(3, n, seed)
    x = center + torch.randn(3, n, generator=g)
    once = threat.project(x, center)
    assert bool(threat.contains(once, center).all())
    torch.testing.assert_close(threat.project(once, center), once, atol=1e-6, rtol=0)
    inside = threat.sample(center, g)
    torch.testing.assert_close(threat.project(inside, center), inside, atol=1e-6, rtol=0)


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_steepest_step_solves_its_linear_program(threat: ThreatModel) -> None:
    x, _ = points(12)
    gradient = torch.randn(12, 6, generator=torch.Generator().manual_seed(3))
    gradient[0, :3] = 0
    step = threat.steepest(gradient, x)
    assert bool(threat.contains(x + step, x).all())
    for g, row, v in zip(gradient.double().numpy(), x.double().numpy(), step.double().numpy(), strict=True):
        assert g @ v == pytest.approx(oracles.linear_worst_case(g, row, threat.p, threat.radius, threat.box), abs=1e-6)


def test_steepest_ties_and_zero_gradients() -> None:
    assert not ThreatModel(1, 0.5).steepest(torch.zeros(1, 4)).any()
    tied = ThreatModel(1, 0.5, None).steepest(torch.ones(1, 4))
    assert float(tied.abs().sum()) == pytest.approx(0.5)


@pytest.mark.parametrize("p", [1, 2, "inf"])
def test_samples_follow_the_uniform_law_of_the_ball(p: object) -> None:
    """For a uniform point of an n-ball, (‖X‖_p / radius)^n is uniform on [0, 1]; and the mean is the center."""
    threat, n = ThreatModel(p, 0.3, None), 5
    center = torch.full((20_000, n), 0.5, dtype=torch.float64)
    x = threat.sample(center, torch.Generator().manual_seed(0))
    u = (threat.distance(x, center) / threat.radius) ** n
    assert float(u.max()) <= 1 + 1e-12
    # Kolmogorov-Smirnov at 20,000 draws: 1.95 / sqrt(n) is the 0.1% point.
    empirical = (torch.arange(1, len(u) + 1) / len(u)).double()
    assert float((u.sort().values - empirical).abs().max()) < 1.95 / math.sqrt(len(u))
    assert float((x - center).mean(0).abs().max()) < 5 * 0.3 / math.sqrt(len(u))


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_contains_rejects_what_is_just_outside(threat: ThreatModel) -> None:
    center = torch.full((1, 6), 0.5)
    direction = threat.steepest(torch.tensor([[1.0, -2, 3, -4, 5, 6]]), center)
    assert bool(threat.contains(center + direction, center))
    assert not bool(threat.contains(center + 1.0001 * direction, center))


def test_dual_norm_is_the_value_of_the_steepest_step() -> None:
    g = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    for p in (1, 2, math.inf):
        threat = ThreatModel(p, 1.0, None)
        torch.testing.assert_close(threat.dual_norm(g), (g * threat.steepest(g)).sum(1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, 0.1), "1, 2 or inf"),
        (("inf", -0.1), "radius"),
        (("inf", 8), "8/255"),
        (("inf", float("nan")), "radius"),
        (("inf", "8/0"), "radius"),
        ((2, 0.1, (1.0, 0.0)), "box"),
        (("two", 0.1), "1, 2 or inf"),
    ],
)
def test_bad_requests_say_what_was_expected(arguments: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ThreatModel(*arguments)


def test_range_check_names_the_remedy() -> None:
    threat = ThreatModel("inf", "8/255")
    for x, words in (
        (torch.rand(2, 3) * 255, "divide by 255"),
        (torch.tensor([[-2.0, 0.5, 3.0]]), "normalization"),
        (torch.tensor([[float("nan")]]), "finite"),
        (torch.ones(2, 3, dtype=torch.uint8), "255"),
    ):
        with pytest.raises(ValueError, match=words):
            threat.check_input(x)
    ThreatModel("inf", 0.1, None).check_input(torch.randn(2, 3) * 100)


def test_strings_and_fractions_are_read_exactly() -> None:
    assert ThreatModel("inf", "8/255") == ThreatModel(math.inf, 8 / 255)
    assert [ThreatModel(p, 0.1).p for p in ("1", "2", 2.0)] == [1, 2, 2]
    for p, q in itertools.pairwise((1, 2, math.inf)):
        assert ThreatModel(p, 0.1) != ThreatModel(q, 0.1)


def test_inputs_just_outside_the_box_are_not_said_to_be_its_ends() -> None:
    with pytest.raises(BadRequest) as refused:
        ThreatModel("inf", 0.1).check_input(torch.tensor([[0.0, 1.0004]]))
    assert "expected values in [0, 1], got [0, 1.0004]" in str(refused.value)


def test_a_radius_just_beyond_the_diameter_is_not_said_to_be_it() -> None:
    with pytest.raises(BadRequest, match="at most the width of the box, 1, got 1.0000001;"):
        ThreatModel("inf", 1.0000001)
    with pytest.raises(BadRequest, match="at most 2, the diameter of the box in l_2 over 4 inputs, got 2.0000001;"):
        require_radius_fits(ThreatModel("2", 2.0000001), torch.Size([4]))


@pytest.mark.parametrize("box", [(0.0, 1.0), None])
@pytest.mark.parametrize("p", [1, 2, "inf"])
def test_pulling_in_ends_inside_and_next_to_the_projection(p, box) -> None:
    """Images with black and white pixels, where the box cuts most of the steps."""
    generator = torch.Generator().manual_seed(3)
    center = (torch.rand(20, 1, 8, 8, generator=generator) * 2 - 0.5).clamp(0, 1)
    threat = ThreatModel(p, {1: 3.0, 2: 1.0, "inf": 0.1}[p], box)
    for scale in (0.01, 0.1, 1.0, 10.0):
        x = center + scale * torch.randn(center.shape, generator=generator)
        near = threat.pull_in(x, center)
        assert bool(threat.contains(near, center).all())
        torch.testing.assert_close(near, threat.project(x, center), atol=1e-5, rtol=0)
    torch.testing.assert_close(threat.pull_in(center, center), center)


def test_bytes_are_refused_where_no_box_says_the_range() -> None:
    """Images of 0..255: also with black pixels; other inputs, and networks with a range of their own, are let through."""
    for low, high in ((0.0, 255.0), (3.0, 200.0)):
        image = torch.full((1, 1, 2, 2), low)
        image[..., 0] = high
        with pytest.raises(BadRequest, match="divide by 255"):
            require_no_bytes(image)
        require_no_bytes(image.flatten(1))
        require_no_bytes(image - 9)
        require_no_bytes(image / 255)
        require_no_bytes(100 * image)
    require_no_bytes(torch.zeros(0, 1, 2, 2))
    require_no_bytes(torch.full((1, 1, 2, 2), 200, dtype=torch.uint8))


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_the_largest_radius_is_the_diameter_of_the_box(p: float) -> None:
    shape, box = torch.Size([2, 3]), (-1.0, 2.0)
    opposite = torch.tensor([[-1.0] * 6, [2.0] * 6], dtype=torch.float64)
    diameter = float(torch.linalg.vector_norm(opposite[1] - opposite[0], ord=p))
    require_radius_fits(ThreatModel(p, diameter * (1 - 1e-9), box), shape)
    require_radius_fits(ThreatModel(p, 99.0, None), shape)
    if p != math.inf:
        with pytest.raises(BadRequest, match="the diameter of the box"):
            require_radius_fits(ThreatModel(p, diameter * 1.001, box), shape)


def test_inputs_within_rounding_of_the_box_are_let_through_and_others_not() -> None:
    threat = ThreatModel("inf", 0.1)
    for inside in (0.0, 1.0, 1 + 2**-24, -(2.0**-24)):
        threat.check_input(torch.tensor([[0.5, inside]], dtype=torch.float64))
    for outside, remedy in ((1 + 2**-20, "roundings"), (-(2.0**-20), "roundings"), (1.5, "normal"), (-0.5, "normal")):
        with pytest.raises(BadRequest, match=rf"values in \[0, 1\].*{remedy}"):
            threat.check_input(torch.tensor([[0.5, outside]], dtype=torch.float64))
    for values, remedy in (([0.0, 9.0], "divide by 255"), ([-9.0, 9.0], "normalization")):
        with pytest.raises(BadRequest, match=remedy):
            threat.check_input(torch.tensor([values]))


@pytest.mark.parametrize("box", [(-123.68, 151.061), (-2.1179, 2.64), (0.0, 1e-3), (-1e4 / 3, 1e4 / 3)])
def test_an_edge_that_float32_does_not_have_is_inside(box: tuple[float, float]) -> None:
    """Images that were clamped to the box, as the refusal tells to, are taken; what lies clearly outside is not."""
    threat = ThreatModel("inf", 0.1 * (box[1] - box[0]), box)
    x = torch.tensor([[-1e9, 0.0, 1e9]]).clamp(*box)
    threat.check_input(x)
    found = PGD(threat, n_steps=2)(lambda v: v[:, 0] - v[:, 2], x, torch.tensor([1]))
    assert bool(threat.contains(found, x).all())
    width = box[1] - box[0]
    for outside in (box[1] + 1e-3 * width, box[0] - 1e-3 * width):
        with pytest.raises(BadRequest, match="inputs: expected values in"):
            threat.check_input(torch.tensor([[outside]]))


@pytest.mark.parametrize("p", ["inf", 2, 1])
def test_one_number_per_example_needs_an_axis(p: float | str) -> None:
    """Planted: an index error of torch from within the attack."""
    x, y = torch.linspace(0.1, 0.9, 5), torch.tensor([-1, -1, -1, 1, 1])
    attack = PGD(ThreatModel(p, 0.1), n_steps=2)
    for call in (lambda: attack(lambda v: v - 0.55, x, y), lambda: robust_error(lambda v: v - 0.55, x, y, attack)):
        with pytest.raises(
            BadRequest, match=r"inputs: expected \(B, \*S\), such as \(B, 1\), got \(B,\); use x\[:, None\]"
        ):
            call()
    assert robust_error(lambda v: v[:, 0] - 0.55, x[:, None], y, attack).wrong == 1
