"""Where a search runs in bfloat16, and how far its margins may be off."""

import pytest
import torch
from tests.cases import busy_network, images, linear_logits
from torch import nn

from cgro.definitions import APGD, PGD, Attack, Ensemble, ThreatModel, margin
from cgro.definitions.attacks import precision
from cgro.definitions.attacks.precision import bfloat16_pays, rounding_margin, uses_bfloat16

THREAT = ThreatModel("inf", 0.1)


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


def test_what_auto_takes_for_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches that do not overlap are no convolution to speak of; a 1x1 convolution is one; float16 stays what it is."""
    x = torch.zeros(2, 3, 8, 8)
    monkeypatch.setattr(precision, "bfloat16_pays", lambda device: True)
    patches = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(), nn.Linear(32, 3))
    assert not uses_bfloat16("auto", patches, x)
    for convolution in (nn.Conv2d(3, 8, 4, 2), nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 3, 1, 1)):
        assert uses_bfloat16("auto", nn.Sequential(patches[0], convolution), x)
    assert not uses_bfloat16("auto", busy_network().half(), x)
    assert uses_bfloat16("auto", nn.Sequential(nn.LazyConv2d(4, 3), nn.Conv2d(4, 4, 3)), x)


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_instructions_that_are_masked_do_not_pay(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    for allowed, pays in (("avx2", False), ("AVX512_CORE_BF16", False), ("AVX512_CORE_AMX", True), ("default", True)):
        monkeypatch.setenv(variable, allowed)
        assert bfloat16_pays(torch.device("cpu")) == pays, allowed


def test_vector_instructions_alone_do_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """avx512_bf16 without AMX, as on Cooper Lake or where a virtual machine hides it: float32 is as fast or faster."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert not bfloat16_pays(torch.device("cpu"))
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert not bfloat16_pays(torch.device("cpu"))


@pytest.mark.parametrize("attack", [
    PGD(THREAT, n_steps=2, precision="bfloat16"),
    Ensemble(THREAT, (APGD(THREAT, n_steps=2, precision="bfloat16"),)),
], ids=["pgd", "ensemble"])  # fmt: skip
@pytest.mark.parametrize("before", [False, True], ids=["attack first", "pass first"])
def test_a_training_in_float16_goes_on_after_a_search_in_bfloat16(attack: Attack, before: bool) -> None:
    """Its next pass met weights that autocast had cast for the search, and failed; so did a search after a pass."""
    model, x, y = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.rand(4, 3, 2, 2), torch.arange(4) % 3
    with torch.autocast("cpu", torch.float16):
        if before:
            model(x)
        points = attack(model, x, y)
        outputs = model(points)
    assert outputs.dtype == torch.float16
    outputs.float().sum().backward()
    assert model[1].weight.grad is not None
