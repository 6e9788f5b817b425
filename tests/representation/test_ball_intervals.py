"""Bounds of the indicators over l_1 and l_2 balls, read off the layers: never exceeded, sharp, and blind to no fault."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from tests.representation.cases import case, narrow, pixel_case
from torch import Tensor

from cgro.bounds import Layer, dense_layer, evaluate
from cgro.representation import RobustMemorizer, certify, interval_check
from cgro.representation.ball_intervals import NotProvableError, has_ball_intervals, squares_of, vertex_bounds
from cgro.representation.indicators import shared_layers
from cgro.representation.sawtooth import sawtooth_error, sawtooth_excess

NORMS = [("1", "lean"), ("2", "shared")]


def random_net(seed: int, *, convex: bool = False) -> list[Layer]:
    g = torch.Generator().manual_seed(seed)
    sizes = [4, 30, 3]
    layers = []
    for n_in, n_out in pairwise(sizes):
        weight = torch.randn(n_out, n_in, generator=g, dtype=torch.float64)
        layers.append(dense_layer(weight, torch.randn(n_out, generator=g, dtype=torch.float64)))
    if convex:
        layers[1] = dense_layer(layers[1].weight.to_dense().abs(), layers[1].bias)
    return layers


def in_l1_ball(center: Tensor, radius: float, n: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    step = torch.randn(n, len(center), generator=g, dtype=torch.float64) ** 3
    return center + radius * step / step.abs().sum(1, keepdim=True)


def vertices(center: Tensor, radius: float) -> Tensor:
    eye = torch.eye(len(center), dtype=torch.float64)
    return center + radius * torch.cat([eye, -eye, 0 * eye[:1]])


@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_an_l1_ball_exceeds_the_bounds_at_vertices(seed: int) -> None:
    center = torch.linspace(-0.5, 0.5, 4, dtype=torch.float64)
    for radius in (0.1, 1.0):
        low, high = vertex_bounds(random_net(seed), center, radius)
        found = evaluate(
            random_net(seed), torch.cat([in_l1_ball(center, radius, 3000, seed), vertices(center, radius)])
        )
        assert (low <= found + 1e-12).all()
        assert (found <= high + 1e-12).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_value_of_a_convex_network_is_found(seed: int) -> None:
    center = torch.linspace(-0.5, 0.5, 4, dtype=torch.float64)
    layers = random_net(seed, convex=True)
    _, high = vertex_bounds(layers, center, 0.7)
    assert high[0] == pytest.approx(evaluate(layers, vertices(center, 0.7)).amax(0), abs=1e-11)


@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)])
def test_the_squares_deviate_as_the_sawtooth_does(box: tuple[float, float]) -> None:
    m, *_ = case("2", "shared", box=box)
    low, high = m.supports.low, m.supports.high
    squares = squares_of(shared_layers(m.supports.balls())[:-2], m.dim, (low, high))
    assert squares.low == pytest.approx(0.0, abs=1e-11)
    assert squares.high == pytest.approx(sawtooth_error(m.dim, low, high, m.supports.depth), rel=1e-9, abs=1e-11)
    x = low + (high - low) * torch.rand(2000, m.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    excess = sawtooth_excess(x, low, high, m.supports.depth)
    outputs = evaluate(shared_layers(m.supports.balls())[:-2], x)
    deviation = outputs[:, squares.place] - (x**2).sum(1)
    assert (deviation - excess).abs().max() < 1e-12 * max(1.0, high) ** 2 * 10


@pytest.mark.parametrize("box", [(0.0, 1.0), None])
@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "variant"), NORMS)
def test_every_ball_is_proved_from_the_layers(
    p: str, variant: str, n_classes: int, box: tuple[float, float] | None
) -> None:
    m, *_ = case(p, variant, n=20, dim=9, n_classes=n_classes, seed=1, box=box)
    assert interval_check(m) == pytest.approx(torch.ones(20), abs=1e-9)
    pixels = pixel_case(p)
    assert interval_check(pixels) == pytest.approx(torch.ones(30), abs=1e-9)


@pytest.mark.parametrize("face", [False, True])
@pytest.mark.parametrize(("p", "variant", "radius"), [("1", "lean", 1e-6), ("2", "shared", 1e-3)])
def test_small_radii_are_proved(p: str, variant: str, radius: float, face: bool) -> None:
    m = narrow(p, variant, radius, face=face)
    assert interval_check(m, torch.tensor([0, 1])) == pytest.approx(torch.ones(2), abs=1e-6)


@pytest.mark.parametrize(("p", "variant"), NORMS)
def test_a_margin_below_one_is_that_of_the_certificate(p: str, variant: str) -> None:
    m, x, y, _ = case(p, variant, n=6, dim=5)
    wide = RobustMemorizer(m.clean_model, x, y, m.threat, variant=variant, ramp=1.3 * m.threat.radius)
    margin = certify(wide).margin
    assert margin.min() < 0.99
    assert interval_check(wide) == pytest.approx(margin, abs=1e-6)


def edited(m: RobustMemorizer, number: int, edit: Callable[[Tensor, Tensor], None]) -> list[Layer]:
    """The layers with one of them changed in place; rows and columns of the memory lie behind those of the clean model."""
    layers = list(m.expand())
    weight, bias = layers[number].weight.to_dense(), layers[number].bias.clone()
    edit(weight, bias)
    layers[number] = Layer(weight.to_sparse().coalesce(), bias)
    return layers


def added(row: int, by: float) -> Callable[[Tensor, Tensor], None]:
    def edit(_: Tensor, bias: Tensor) -> None:
        bias[row] += by

    return edit


def reads_clean(weight: Tensor, _: Tensor) -> None:
    weight[-1, 0] = 0.25


FAULTS = [
    ("lean", 0, added(-2, 0.05)),  # a threshold
    ("lean", 1, added(-1, 0.05)),  # an inner radius
    ("lean", 1, reads_clean),
    ("shared", 0, added(-2, 0.01)),  # a tooth that bends elsewhere
    ("shared", 2, added(-1, -5.0)),  # a running sum that ReLU would cut
    ("shared", -4, added(-1, 0.05)),  # an inner radius
    ("shared", 3, reads_clean),
]


@pytest.mark.parametrize(("variant", "number", "edit"), FAULTS)
def test_faults_before_the_indicators_are_noticed(
    variant: str, number: int, edit: Callable[[Tensor, Tensor], None]
) -> None:
    m, *_ = case("1" if variant == "lean" else "2", variant, n=6, dim=5)
    if number < 0:
        number = m.supports.depth + 1  # the excess
    assert interval_check(m).min() == pytest.approx(1.0, abs=1e-9)
    assert interval_check(m, layers=edited(m, number, edit)).min() < 1 - 1e-3


@pytest.mark.parametrize("number", [0, 1])
def test_a_clamp_that_changes_inputs_of_the_range_is_noticed(number: int) -> None:
    m, *_ = case("2", "shared", n=6, dim=5, box=None)
    assert interval_check(m).min() == pytest.approx(1.0, abs=1e-9)
    assert interval_check(m, layers=edited(m, number, added(-1, -0.05))).min() < 1 - 1e-3


def test_what_is_not_of_the_form_is_not_bounded() -> None:
    with pytest.raises(NotProvableError, match="two layers"):
        vertex_bounds([*random_net(0), dense_layer(torch.eye(3, dtype=torch.float64))], torch.zeros(4), 0.1)
    dense = [*random_net(0)[:1], random_net(0)[1]]
    with pytest.raises(NotProvableError, match="may be negative|not exactly one"):
        squares_of(dense, 4, (0.0, 1.0))


def test_balls_that_intervals_cannot_prove_are_named() -> None:
    m, x, y, _ = case("2", "shared")
    assert has_ball_intervals(m)
    part = RobustMemorizer(m.clean_model, x, y, m.threat, memorize=torch.arange(6))
    assert not has_ball_intervals(part)
    assert not has_ball_intervals(narrow("2", "shared", 1e-6))
    assert has_ball_intervals(narrow("1", "lean", 1e-6))


@pytest.mark.parametrize(("signs", "bias", "least"), [(-1.0, 1.5, -0.5), (1.0, -0.5, -0.5), (-1.0, 2.0, 0.0)])
def test_a_sum_that_is_negative_at_an_end_of_the_grid_does_not_pass_relu(
    signs: float, bias: float, least: float
) -> None:
    """s = bias +- (x_1 + x_2) over [0, 1]: its least value is at a corner, the last or the first point of the grid."""
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [signs, signs]], dtype=torch.float64)
    layers = [dense_layer(first, torch.tensor([0.0, 0.0, bias])), dense_layer(torch.eye(3, dtype=torch.float64))]
    if least < 0:
        with pytest.raises(NotProvableError, match="may be negative"):
            squares_of(layers, 2, (0.0, 1.0))
        return
    squares = squares_of(layers, 2, (0.0, 1.0))
    assert squares.place == 2
    assert squares.slope[:2].tolist() == [1.0, 1.0]
    # s - x_1^2 - x_2^2 on cells of half a unit: from 2 - 2 - 2 at (1, 1) to 2 at (0, 0)
    assert (squares.low, squares.high) == pytest.approx((-2.0, 2.0))
