"""Which examples go on: exactly those that are right, or those and some others, in few sizes."""

import pytest
import torch

from cgro.definitions.attacks.dropping import dropping_on, padded_size, rows_to_keep


@pytest.mark.parametrize("n", [1, 2, 7, 64, 100])
def test_whoever_is_right_goes_on_and_the_sizes_are_few(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes: set[int] = set()
    for k in range(n + 1):
        right = torch.zeros(n, dtype=torch.bool)
        right[torch.randperm(n, generator=generator)[:k]] = True
        exact = rows_to_keep(right, "exact")
        assert (torch.arange(n) if exact is None else exact).tolist() == (
            torch.nonzero(right).squeeze(1).tolist() if exact is not None else list(range(n))
        )
        padded = rows_to_keep(right, "padded")
        kept = torch.arange(n) if padded is None else padded
        assert kept.tolist() == sorted(set(kept.tolist()))
        assert set(torch.nonzero(right).squeeze(1).tolist()) <= set(kept.tolist())
        assert len(kept) == padded_size(k, n) < max(2 * k, 2)
        sizes.add(len(kept))
    assert len(sizes) <= n.bit_length() + 2


def test_where_nothing_may_be_read_all_go_on() -> None:
    assert rows_to_keep(torch.tensor([True, False]), "never") is None


def test_few_wrong_ones_are_not_worth_a_smaller_batch() -> None:
    right = torch.arange(10) > 0
    assert rows_to_keep(right, "exact", most=0.8) is None
    assert rows_to_keep(right, "exact", most=0.9) is not None


def test_a_read_is_free_on_a_cpu_alone() -> None:
    assert dropping_on(torch.device("cpu")) == "exact"
    assert dropping_on(torch.device("cuda", 0)) == "padded"
