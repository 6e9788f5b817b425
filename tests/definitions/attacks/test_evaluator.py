"""bfloat16 proposes, float32 decides."""

import pytest
import torch
from tests.cases import busy_network, images
from torch import Tensor

from cgro.definitions import (
    APGD,
    PGD,
    ThreatModel,
    margin,
    robust_error,
)


@pytest.mark.parametrize("kind", [PGD, APGD])
def test_a_bfloat16_search_that_only_finds_stronger_points_returns_the_input(kind: type) -> None:
    """Clean inputs are first looked at in bfloat16; none may be lost to a point that is no weaker."""
    x, y = images(20)
    model = busy_network().eval()
    attack = kind(ThreatModel("inf", 0.1), n_steps=5, loss=margin, precision="bfloat16")
    with torch.no_grad():
        before, after = margin(model(x), y), margin(model(attack(model, x, y)), y)
    assert bool((after <= before).all())
    assert float((after == before).float().mean()) > 0.2


def test_crafting_in_bfloat16_is_judged_in_float32() -> None:
    """A model that is wrong only under autocast must not be counted as broken."""

    def model(v: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            return -v.sum(1) * 10
        return v.sum(1) * 0 + 1.0

    x, y = torch.rand(8, 3), torch.ones(8, dtype=torch.long)
    attack = PGD(ThreatModel("inf", 0.1), n_steps=3, precision="bfloat16")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert robust_error(model, x, y, attack).wrong == 0
