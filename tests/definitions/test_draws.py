"""Random streams: their distribution, and that they belong to examples."""

import numpy as np
import pytest
import torch
from tests.cases import images, linear_logits

from cgro.definitions import PGD, Draws, ThreatModel
from cgro.definitions.draws import base_of
from cgro.training.step import derive_seed


def test_draws_are_uniform_normal_and_belong_to_examples() -> None:
    draws = Draws.of(0, "test", torch.arange(200))
    u = draws.uniform(500)
    assert abs(float(u.mean()) - 0.5) < 5 * (1 / 12 / u.numel()) ** 0.5
    counts = torch.histc(u, 20, 0, 1)
    assert float(((counts - 5000) ** 2 / 5000).sum()) < 60
    assert abs(float(torch.corrcoef(u[:2])[0, 1])) < 0.25
    z = draws.normal(501)
    assert z.shape == (200, 501)
    assert abs(float(z.mean())) < 5 / z.numel() ** 0.5
    assert abs(float(z.var()) - 1) < 5 * (2 / z.numel()) ** 0.5
    k = draws.integers(3, 300)
    assert k.unique().tolist() == [0, 1, 2]
    assert not torch.equal(u, Draws.of(1, "test", torch.arange(200)).uniform(500))
    assert not torch.equal(u, Draws.of(0, "other", torch.arange(200)).uniform(500))


def test_a_generator_gives_the_same_streams_however_it_is_cut() -> None:
    whole = Draws.from_generator(torch.Generator().manual_seed(3), 40)
    g = torch.Generator().manual_seed(3)
    cut = [Draws.from_generator(g, n).keys for n in (1, 7, 20, 12)]
    assert torch.equal(whole.keys, torch.cat(cut))
    with pytest.raises(ValueError, match="one per example"):
        PGD(ThreatModel("inf", 0.02), n_steps=1)(linear_logits(64).eval(), *images(5), generator=whole)


def test_streams_of_some_or_of_all_examples_go_on_independently() -> None:
    draws = Draws.of(0, "test", torch.arange(3))
    some, all_of_them = draws.rows(torch.tensor([2, 0])), draws.rows(None)
    expected = draws.uniform(4)
    assert torch.equal(some.uniform(4), expected[[2, 0]])
    assert torch.equal(all_of_them.uniform(4), expected)


@pytest.mark.parametrize("seed", [0, 7, 2**62])
def test_streams_named_by_a_tensor_have_the_same_bits_and_follow_what_is_written(seed: int) -> None:
    """Also for names with the highest bit set, which are negative."""
    index = torch.tensor([0, 1, 5, 2**40])
    base = torch.zeros((), dtype=torch.int64)
    signs: set[bool] = set()
    for epoch in range(8):
        purpose = f"attack in epoch {epoch}"
        base.fill_(base_of(seed, purpose))
        signs.add(base.item() < 0)
        ours, expected = Draws.of_base(base, index), Draws.of(seed, purpose, index)
        assert torch.equal(ours.keys, expected.keys)
        assert torch.equal(ours.uniform(5), expected.uniform(5))
    assert signs == {True, False}


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), torch.tensor(3), 3.0])
def test_a_seed_of_another_type_names_the_same_numbers(seed: int) -> None:
    """A loop over `numpy.arange(3)` repeats what a loop over `range(3)` gave."""
    index = torch.arange(4)
    assert torch.equal(Draws.of(seed, "start", index).keys, Draws.of(3, "start", index).keys)
    assert derive_seed(seed, "order", 1) == derive_seed(3, "order", 1) != derive_seed(-3, "order", 1)


@pytest.mark.parametrize("seed", [None, True, "3", 0.5, float("nan")])
def test_what_is_no_integer_is_no_seed(seed: object) -> None:
    with pytest.raises(ValueError, match="seed: expected an integer"):
        base_of(seed, "start")
    with pytest.raises(ValueError, match="seed: expected an integer"):
        derive_seed(seed, "order")
