"""Arithmetic on numbers per seed: paired, and never on seeds of the one alone."""

from collections.abc import Callable

import pytest

from cgro.experiments.seeds import percent, ratios, rises


def test_pairs_keep_their_seed() -> None:
    assert rises([1.0, 10.0, 100.0], [2.0, 12.0, 103.0]) == [1.0, 2.0, 3.0]
    assert ratios([2.0, 4.0], [4.0, 2.0]) == [2.0, 0.5]
    assert percent([0.5, 0.25]) == [50.0, 25.0]


@pytest.mark.parametrize("paired", [rises, ratios])
def test_a_missing_seed_is_an_error(paired: Callable) -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired([1.0, 2.0], [1.0])
