"""Memorization values of a lookup table and of a rule; the subsets behind them."""

import pytest
import torch
from torch import Tensor

from cgro._check import BadRequest
from cgro.definitions import PGD, ThreatModel
from cgro.flatness import memorization_values, random_subsets


def test_memorization_values_are_one_for_a_lookup_table_and_zero_for_a_rule() -> None:
    x, y = torch.linspace(0.05, 0.95, 10)[:, None], torch.tensor([-1, 1] * 5)
    attack = PGD(ThreatModel("inf", 0.001), n_steps=2)

    def lookup(rows: Tensor, k: int):
        known, labels = x[rows], y[rows]
        return lambda v: ((((v - known.T).abs() < 0.02) * labels).sum(1) - 0.5).float() + 0 * v[:, 0]

    g = torch.Generator().manual_seed(0)
    found = memorization_values(lookup, x, y, attack, random_subsets(10, 30, g))
    assert bool((found[y == 1] == 1).all())
    assert bool((found[y == -1] == 0).all())
    rule = memorization_values(lambda rows, k: lambda v: v[:, 0] - 2, x, y, attack, random_subsets(10, 5, g))
    assert bool((rule.nan_to_num() == 0).all())


def test_an_example_that_was_never_left_out_has_no_value() -> None:
    """Three examples of which two are evaluated: the first is in every subset, the second in one of two."""
    x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([1, 1])
    seen: list[int] = []

    def fit(rows: Tensor, k: int):
        seen.append(k)
        right = 1.0 if 1 in rows.tolist() else -1.0
        return lambda v: right + 0 * v[:, 0]

    subsets = [torch.tensor([0, 1]), torch.tensor([2, 0])]
    found = memorization_values(fit, x, y, PGD(ThreatModel("inf", 0.01), n_steps=1), subsets)
    assert seen == [0, 1]
    assert found[0].isnan()
    assert found[1] == 1


def test_the_attack_is_made_in_batches_with_the_same_random_numbers() -> None:
    """All examples were once one batch, whose memory grew with their number."""
    x = torch.rand(23, 4, generator=torch.Generator().manual_seed(0))
    y = torch.where(x[:, 0] > 0.5, 1, -1)
    sizes: list[int] = []

    def score(v: Tensor) -> Tensor:
        sizes.append(len(v))
        return (v[:, 0] - 0.5) + 0.1 * (40 * v[:, 1]).sin()

    attack = PGD(ThreatModel("inf", 0.05), n_steps=1, step_size=0.001)
    subsets = random_subsets(23, 4, torch.Generator().manual_seed(1))
    whole = memorization_values(lambda rows, k: score, x, y, attack, subsets, batch=100)
    assert max(sizes) == 23
    sizes.clear()
    parts = memorization_values(lambda rows, k: score, x, y, attack, subsets, batch=5)
    assert max(sizes) == 5
    assert torch.equal(whole.nan_to_num(9.0), parts.nan_to_num(9.0))


def test_subsets_are_without_repetition_and_cover_all_examples() -> None:
    subsets = random_subsets(20, 50, torch.Generator().manual_seed(3), share=0.3)
    assert all(len(set(rows.tolist())) == 6 for rows in subsets)
    counts = torch.bincount(torch.cat(subsets), minlength=20)
    assert len(counts) == 20
    assert abs(float(counts.double().mean()) - 15) < 1e-9
    assert int(counts.min()) > 3  # 15 on average, standard deviation 3.2
    again = random_subsets(20, 50, torch.Generator().manual_seed(3), share=0.3)
    assert all(torch.equal(a, b) for a, b in zip(subsets, again, strict=True))


def test_bad_subsets() -> None:
    for n_models, share in ((1, 0.7), (5, 1.0), (5, 0.0)):
        with pytest.raises(BadRequest):
            random_subsets(10, n_models, torch.Generator(), share=share)


def test_what_is_taken_for_an_integer_is_one() -> None:
    expected = random_subsets(10, 3, torch.Generator().manual_seed(0), share=0.5)
    found = random_subsets(10.0, 3.0, torch.Generator().manual_seed(0), share="1/2")  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
