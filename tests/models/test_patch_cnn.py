"""The two-layer network: its value by hand, its worst case by search."""

import numpy as np
import pytest
import torch

from cgro.models.patch_cnn import PatchCNN

FORMS = [("odd", 3.0), ("odd", 2.0), ("odd", 2.5), ("odd", 4.0), ("halves", 2.0), ("halves", 3.0)]


def network(activation, power, seed=0, m=6, d=4):
    g = torch.Generator().manual_seed(seed)
    return PatchCNN(d, m, activation_power=power, activation=activation, init_std=0.8, generator=g)


@pytest.mark.parametrize(("activation", "power"), FORMS)
def test_value_by_loops(activation, power):
    net = network(activation, power)
    x = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for value, example in zip(net(x), x, strict=True):
        total = 0.0
        for sign, w in zip(net.signs, net.filters.detach(), strict=True):
            for patch in example:
                z = float(w @ patch)
                total += abs(z) ** power * np.sign(z) if activation == "odd" else float(sign) * max(z, 0.0) ** power
        assert value.item() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize(("activation", "power"), FORMS)
@pytest.mark.parametrize("radius", [0.0, 0.7, 1.0, 1.9])
def test_worst_strength_is_the_minimum_of_a_fine_grid(activation, power, radius):
    w = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    for seed in range(6):
        net = network(activation, power, seed)
        for y, worst in zip((1.0, -1.0), net.worst_strength(w, 1.0, radius), strict=True):

            def margin(x, y=y, net=net):
                with torch.no_grad():
                    return y * net((x * y)[:, None, None] * w)  # one patch, strength x

            grid = torch.linspace(1 - radius, 1 + radius, 2001, dtype=torch.float64)
            found = float(margin(torch.tensor([worst], dtype=torch.float64)))
            assert found <= float(margin(grid).min()) + 1e-12
            assert abs(worst - 1.0) <= radius + 1e-12


def test_zero_is_a_candidate_for_halves_beyond_the_signal():
    """Both classes answered right on both sides of zero would need U_+ > 0 > U_-: then x = 0 is the worst point."""
    net = network("halves", 2.0, m=2)
    net.filters.data.zero_()
    net.filters.data[:, 0] = torch.tensor([1.0, -1.0])  # f = ReLU(x)^2 - ReLU(-x)^2 has none; flip the second sign
    net.signs[1] = 1.0
    assert net.worst_strength(torch.tensor([1.0, 0, 0, 0]), 1.0, 1.5)[0] == 0.0


def test_odd_power_is_halves_with_tied_filters():
    odd, halves = network("odd", 3.0, m=3), network("halves", 3.0, m=6)
    halves.filters.data = torch.cat([odd.filters.data, -odd.filters.data])
    x = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.allclose(odd(x), halves(x), rtol=1e-13)


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [({"activation_power": 1.5}, "activation_power"), ({"n_filters": 3, "activation": "halves"}, "even"),
     ({"activation": "tanh"}, "activation"), ({"n_filters": 0}, "n_filters")],
)  # fmt: skip
def test_bad_input_is_one_line(kwargs, word):
    with pytest.raises(ValueError, match=word):
        PatchCNN(4, **{"n_filters": 4, "generator": torch.Generator(), **kwargs})


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="x: expected shape"):
        network("odd", 3.0)(torch.zeros(2, 3))
