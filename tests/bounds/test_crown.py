"""The linear relaxation against attacks, and against the closed form of linear networks."""

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
