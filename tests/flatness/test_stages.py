"""The order of the three stages on learning curves of a real network."""

import pytest

from cgro._check import BadRequest
from cgro.flatness import real_stages


def test_stages_are_in_order_on_memory_and_not_on_a_network_that_generalizes() -> None:
    epochs, clean = range(1, 9), [0.6, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    stalled, falling = [0.8, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    found = real_stages(list(epochs), clean, falling, stalled)
    assert found.ordered
    assert (found.clean_learned, found.generalized, found.memorized, found.parted) == (3, 3, 8, 5)
    assert not real_stages(list(epochs), clean, falling, falling).ordered
    with pytest.raises(BadRequest, match="curves"):
        real_stages([1], [0.1], [0.1], [0.1])


def test_the_gap_that_counts_can_be_chosen_and_must_last() -> None:
    clean, train = [0.5, 0.1, 0.1, 0.1], [0.6, 0.4, 0.3, 0.2]
    test = [0.9, 0.4, 0.45, 0.45]
    assert real_stages([2, 4, 6, 8], clean, train, test).parted == 6
    assert real_stages([2, 4, 6, 8], clean, train, test, min_gap=0.2).parted == 8
    assert real_stages([2, 4, 6, 8], clean, train, test, min_gap=0.5).parted is None


def test_curves_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadRequest, match="curves"):
        real_stages([1, 2], [0.1, 0.1], [0.1], [0.1, 0.1])
