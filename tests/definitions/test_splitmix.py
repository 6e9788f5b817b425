"""SplitMix64 on tensors, against integers of Python, and in blocks against all at once."""

import pytest
import torch

from cgro.definitions import splitmix
from cgro.definitions.splitmix import BLOCK, GAMMA, mix, uniform_numbers

WORD = 2**64


def by_hand(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def uniform_by_hand(key: int, k: int) -> float:
    return (by_hand((key + k * GAMMA) % WORD) >> 11) * 2.0**-53


KEYS = [0, 1, -1, 2**63 - 1, -(2**63), 0x123456789ABCDEF]


def test_mixing_is_that_of_integers() -> None:
    z = torch.tensor(KEYS)
    expected = [by_hand(key % WORD) for key in KEYS]
    assert [value % WORD for value in mix(z.clone()).tolist()] == expected
    assert [value % WORD for value in mix(z, torch.empty_like(z)).tolist()] == expected


@pytest.mark.parametrize("drawn", [0, 7])
def test_numbers_are_those_of_integers(drawn: int) -> None:
    found = uniform_numbers(torch.tensor(KEYS), drawn, 5)
    assert found.dtype == torch.float64
    assert found.tolist() == [[uniform_by_hand(key, drawn + k) for k in range(1, 6)] for key in KEYS]


@pytest.mark.parametrize("block", [1, 10, 11, 65, 10_000])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = torch.arange(13) * 7919
    whole = torch.cat([uniform_numbers(key[None], 3, 10) for key in keys])
    monkeypatch.setattr(splitmix, "BLOCK", block)
    assert torch.equal(uniform_numbers(keys, 3, 10), whole)


def test_of_no_stream_and_no_number_there_is_nothing() -> None:
    assert uniform_numbers(torch.arange(0), 0, 4).shape == (0, 4)
    assert uniform_numbers(torch.arange(3), 0, 0).shape == (3, 0)
    assert BLOCK > 0
