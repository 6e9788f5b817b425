"""Where a search runs in bfloat16, and how far its margins may be off."""

import pytest
import torch
from tests.cases import busy_network, images, linear_logits

from cgro.definitions import margin
from cgro.definitions.attacks import precision
from cgro.definitions.attacks.precision import rounding_margin, uses_bfloat16


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bfloat16_where_the_device_has_it_and_the_network_is_large(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = images()[0]
    large, small = busy_network(), linear_logits(64)
    monkeypatch.setattr(precision, "bfloat16_pays", lambda device: native)
    assert uses_bfloat16("auto", large, x) is native
    assert uses_bfloat16("auto", linear_logits(2**18), x) is native
    assert uses_bfloat16("auto", lambda v: v, x) is native
    assert not uses_bfloat16("auto", small, x)
    assert not uses_bfloat16("auto", large, x.double())
    assert uses_bfloat16("bfloat16", small, x)
    assert not uses_bfloat16("bfloat16", small, x.double())
    assert not uses_bfloat16("float32", large, x)


@pytest.mark.parametrize("shape", [(500, 5), (500,)])
def test_rounding_of_outputs_moves_no_margin_by_more(shape: tuple[int, ...]) -> None:
    """The bound against what rounding to bfloat16 does, at many scales."""
    g = torch.Generator().manual_seed(0)
    outputs = torch.randn(shape, generator=g) * torch.logspace(-3, 3, 500).view(-1, *[1] * (len(shape) - 1))
    y = torch.ones(500, dtype=torch.long)
    off = (margin(outputs.bfloat16().float(), y) - margin(outputs, y)).abs()
    bound = rounding_margin(outputs.bfloat16().float())
    assert bool((off <= bound).all())
    assert bool((off > bound / 8).any())
