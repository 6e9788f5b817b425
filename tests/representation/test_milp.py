"""Theorem 4.4 checked by a mixed-integer program: against enumeration of all activation patterns, and a grid."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from cgro._check import BadRequest
from cgro.bounds import Layer, dense_layer, evaluate
from cgro.definitions import ThreatModel
from cgro.representation.milp import least_over_ball

F64 = torch.float64


def network(seed: int, n_inputs: int = 3, n_hidden: int = 5) -> list[Layer]:
    """Scaled so that its least values stay above the point at which the solver stops early."""
    g = torch.Generator().manual_seed(seed)
    hidden = dense_layer(torch.randn(n_hidden, n_inputs, generator=g), torch.randn(n_hidden, generator=g) / 2)
    return [hidden, dense_layer(0.1 * torch.randn(1, n_hidden, generator=g), torch.tensor([2.0]))]


def least_by_patterns(layers: list[Layer], center: torch.Tensor, threat: ThreatModel) -> float:
    """On each activation pattern the network is linear: a linear program each, in x and, for l_1, distances."""
    (w, b), (v, c) = ((layer.weight.to_dense().numpy(), layer.bias.numpy()) for layer in layers)
    n, x0, radius = len(center), center.numpy(), threat.radius
    least = np.inf
    for pattern in itertools.product((0, 1), repeat=len(b)):
        on = np.array(pattern)
        sign = (1 - 2 * on)[:, None]
        a_ub, b_ub = sign * w, -sign[:, 0] * b
        cost = (v[0] * on) @ w
        if threat.p == 1:
            a_ub = np.block([[a_ub, np.zeros((len(b), n))], [np.eye(n), -np.eye(n)], [-np.eye(n), -np.eye(n)],
                             [np.zeros((1, n)), np.ones((1, n))]])  # fmt: skip
            b_ub = np.concatenate([b_ub, x0, -x0, [radius]])
            bounds = [(0, 1)] * n + [(0, radius)] * n
            cost = np.concatenate([cost, np.zeros(n)])
        else:
            bounds = list(zip(np.maximum(x0 - radius, 0), np.minimum(x0 + radius, 1), strict=True))
        found = linprog(cost, A_ub=a_ub, b_ub=b_ub, bounds=bounds)
        if found.status == 0:
            least = min(least, found.fun + float((v[0] * on) @ b + c[0]))
    return least


@pytest.mark.parametrize("p", ["inf", "1"])
@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_that_of_all_patterns(p: str, seed: int) -> None:
    pytest.importorskip("highspy")
    layers, threat = network(seed), ThreatModel(p, 0.3)
    center = torch.tensor([0.4, 0.9, 0.2], dtype=F64)
    found = least_over_ball(layers, center, threat, torch.ones(1))
    assert found.value == pytest.approx(least_by_patterns(layers, center, threat), abs=1e-7)
    assert found.bound == pytest.approx(found.value, abs=1e-6)
    assert float(evaluate(layers, found.x[None])) == pytest.approx(found.value, abs=1e-6)
    assert bool(threat.contains(found.x[None], center[None]))


def test_some_neurons_are_left_to_the_solver() -> None:
    pytest.importorskip("highspy")
    center = torch.tensor([0.4, 0.9, 0.2], dtype=F64)
    assert any(least_over_ball(network(s), center, ThreatModel("inf", 0.3), torch.ones(1)).n_binaries for s in range(4))


def test_l2_balls_are_refused() -> None:
    with pytest.raises(BadRequest, match="p = 1 or inf"):
        least_over_ball(network(0), torch.zeros(3), ThreatModel(2, 0.1), torch.ones(1))


@pytest.mark.parametrize("p", ["inf", "1"])
def test_of_two_hidden_layers_the_optimum_is_that_of_a_grid(p: str) -> None:
    """Widths that differ, two outputs, and neurons that nothing depends on: never above a fine grid, and attained."""
    pytest.importorskip("highspy")
    g = torch.Generator().manual_seed(5)
    layers = [
        dense_layer(torch.randn(n_out, n_in, generator=g), 0.3 * torch.randn(n_out, generator=g))
        for n_in, n_out in ((2, 6), (6, 3), (3, 2))
    ]
    layers[-1] = dense_layer(0.1 * layers[-1].weight.to_dense(), torch.tensor([2.0, -1.0]))
    center, threat = torch.tensor([0.4, 0.9], dtype=F64), ThreatModel(p, 0.3)
    side = torch.linspace(-0.3, 0.3, 401, dtype=F64)
    grid = center + torch.cartesian_prod(side, side)
    grid = grid[threat.contains(grid, center.expand_as(grid))]
    for objective in (torch.tensor([1.0, 0.0]), torch.tensor([0.5, -0.5])):
        found = least_over_ball(layers, center, threat, objective)
        values = evaluate(layers, grid) @ objective.double()
        assert found.value <= float(values.min()) + 1e-7
        assert found.value == pytest.approx(float(values.min()), abs=5e-3)
        assert float(evaluate(layers, found.x[None]) @ objective.double()) == pytest.approx(found.value, abs=1e-6)
        assert bool(threat.contains(found.x[None], center[None]))


@pytest.mark.parametrize("seed", range(6))
def test_the_search_does_not_end_before_the_wrong_side_is_clear(seed: int) -> None:
    """Least values around 0: only below -0.1 is a counterexample enough, and its value no optimum."""
    pytest.importorskip("highspy")
    hidden, last = network(seed, n_hidden=8)
    layers = [hidden, dense_layer(0.5 * last.weight.to_dense(), torch.tensor([0.05]))]
    center, threat = torch.tensor([0.4, 0.6, 0.5], dtype=F64), ThreatModel("inf", 0.4)
    least = least_by_patterns(layers, center, threat)
    found = least_over_ball(layers, center, threat, torch.ones(1))
    if least > -0.1:
        assert found.value == pytest.approx(least, abs=1e-7)
    else:
        assert least - 1e-7 <= found.value <= -0.1 + 1e-7
    assert float(evaluate(layers, found.x[None])) == pytest.approx(found.value, abs=1e-6)
