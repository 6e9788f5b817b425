"""Upper bounds lie above what the search finds; a planted fault does not."""

import math

import pytest
import torch
from tests.cases import busy_network, images

from cgro._check import BadRequest
from cgro.definitions import ThreatModel
from cgro.flatness import flatness, upper_bound
from cgro.models import build

RADII = (0.02, 0.05, 0.1, 0.2)


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_curves_never_fall_and_the_search_stays_below_the_upper_bound(p: float) -> None:
    model = build("mlp", (1, 3, 3), 3, width=8, seed=1).eval()
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(20, 1, 3, 3, generator=g), torch.randint(0, 3, (20,), generator=g)
    found = flatness(model, x, y, RADII, p=p)
    for values in (found.gradient, found.rise):
        assert bool((values.diff(dim=1) >= 0).all())
    assert bool((found.gradient >= found.slope[:, None]).all())
    for k, radius in enumerate(RADII):
        bound = upper_bound(model, x, y, ThreatModel(p, radius))
        assert bool((found.gradient[:, k] <= bound.gradient * (1 + 1e-5)).all())
        assert bool((found.rise[:, k] <= bound.rise + 1e-5).all())
    tiny = upper_bound(model, x, y, ThreatModel(p, 1e-7))
    torch.testing.assert_close(tiny.gradient, found.slope, rtol=0.05, atol=1e-4)


def test_an_upper_bound_that_forgets_half_of_its_slopes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: gates read as closed where they are open make the 'bound' fall below what was found."""
    from cgro.flatness import upper

    model = build("mlp", (1, 3, 3), 3, width=8, seed=1).eval()
    x, y = torch.rand(20, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(20, dtype=torch.long)
    found = flatness(model, x, y, [0.2])
    whole = upper._forward

    def faulty(*arguments):
        gates, last = whole(*arguments)
        return [(closed, closed) for closed, _ in gates], last

    monkeypatch.setattr(upper, "_forward", faulty)
    assert bool((found.gradient[:, 0] > upper_bound(model, x, y, ThreatModel("inf", 0.2)).gradient).any())


def test_other_layers_are_refused() -> None:
    with pytest.raises(BadRequest, match="Linear layers"):
        upper_bound(busy_network().eval(), *images(), ThreatModel("inf", 0.1))
