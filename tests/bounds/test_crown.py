"""The linear relaxation against attacks, and against the closed form of linear networks."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cgro.bounds import certified_margin, dense_layer, to_layers
from cgro.definitions import PGD, ThreatModel, margin
from cgro.models import build


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("p", ["inf", "1", "2"])
def test_linear_relaxation_is_sound_and_exact_for_linear_networks(p, n_classes):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(60, 6, generator=g)
    net = build("mlp", (6,), n_classes, width=16, seed=1).eval()
    threat = ThreatModel(p, {"inf": 0.05, "1": 0.2, "2": 0.1}[p])
    y = net(x).sign().long() if n_classes == 1 else net(x).argmax(1)
    bound = certified_margin(to_layers(net, (6,)), x, y, threat)
    x_adv = PGD(threat, n_steps=40, n_restarts=4)(net, x, y)
    gap = margin(net(x_adv), y).double() - bound
    assert gap.min() > -1e-6
    assert gap.mean() < 0.1 * margin(net(x), y).abs().mean()
    w = torch.randn(1 if n_classes == 1 else 3, 6, generator=g)
    rows = w * y[:, None] if n_classes == 1 else w[y] - w[(y + 1) % 3]
    truth = (rows * (x + threat.steepest(-rows, x))).sum(1)
    if n_classes == 1:
        assert torch.allclose(certified_margin([dense_layer(w)], x, y, threat).float(), truth, atol=1e-5)
    else:
        assert (certified_margin([dense_layer(w)], x, y, threat).float() <= truth + 1e-5).all()


Matrices = list[tuple[np.ndarray, np.ndarray]]  # weight and bias of each layer


def least_by_hand(objective: np.ndarray, network: Matrices, bounds: list, x: np.ndarray, threat: ThreatModel) -> float:
    """A lower bound of <objective, last outputs> over the ball, neuron by neuron; `bounds` of all ReLUs before it."""
    constant, row = 0.0, objective
    for level in reversed(range(len(network))):
        weight, bias = network[level]
        constant, row = constant + row @ bias, row @ weight
        if level == 0:
            break
        for i, (low, high) in enumerate(bounds[level - 1]):
            if high <= 0:
                row[i] = 0.0
            elif low < 0:
                chord = high / (high - low)
                if row[i] < 0:
                    constant -= row[i] * chord * low
                    row[i] *= chord
                elif high <= -low:
                    row[i] = 0.0
    if threat.p == np.inf:
        low, high = np.maximum(x - threat.radius, 0), np.minimum(x + threat.radius, 1)
        return constant + np.minimum(row * low, row * high).sum()
    order = {1.0: np.inf, 2.0: 2}[threat.p]
    return constant + row @ x - threat.radius * np.linalg.norm(row, order)


def margin_by_hand(network: Matrices, x: np.ndarray, label: int, threat: ThreatModel) -> float:
    bounds: list = []
    for level in range(1, len(network)):
        part = network[:level]
        rows = np.eye(len(part[-1][1]))
        bounds.append([
            (least_by_hand(row, part, bounds, x, threat), -least_by_hand(-row, part, bounds, x, threat)) for row in rows
        ])  # fmt: skip
    n_classes = len(network[-1][1])
    if n_classes == 1:
        return least_by_hand(np.array([float(label)]), network, bounds, x, threat)
    rows = [np.eye(n_classes)[label] - np.eye(n_classes)[j] for j in range(n_classes) if j != label]
    return min(least_by_hand(row, network, bounds, x, threat) for row in rows)


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "radius"), [("inf", 0.3), ("1", 0.3), ("2", 0.15)])
def test_the_bound_is_that_of_a_second_implementation(p: str, radius: float, n_classes: int) -> None:
    """Two hidden layers with neurons of all kinds; for p = 1 and 2 the balls are inside the box, which says nothing."""
    rng = np.random.default_rng(3)
    sizes = (4, 7, 6, n_classes)
    network = [(rng.normal(size=(m, n)), 0.5 * rng.normal(size=m)) for n, m in pairwise(sizes)]
    layers = [dense_layer(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in network]
    x = 0.4 + 0.2 * rng.random((5, 4))
    y = rng.integers(0, n_classes, 5) if n_classes > 1 else rng.choice([-1, 1], 5)
    threat = ThreatModel(p, radius)
    expected = [margin_by_hand(network, *pair, threat) for pair in zip(x, y.tolist(), strict=True)]
    found = certified_margin(layers, torch.from_numpy(x), torch.from_numpy(y), threat, batch=2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)
    assert bool((found < torch.tensor(expected)).all())  # the rounding is on the safe side
