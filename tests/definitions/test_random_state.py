"""The global generators come back, also when the block raises."""

import random

import numpy as np
import pytest
import torch

from cgro.definitions.random_state import preserve_random_state, random_states


def drawn(own: torch.Generator) -> tuple:
    return (
        random.random(),
        float(np.random.rand()),  # noqa: NPY002
        float(torch.rand(1)),
        float(torch.rand(1, generator=own)),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_every_generator_goes_on_where_it_was(fails: bool) -> None:
    own = torch.Generator().manual_seed(1)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
    expected = drawn(own)
    random.seed(0), np.random.seed(0), torch.manual_seed(0), own.manual_seed(1)  # noqa: NPY002
    try:
        with preserve_random_state(generators=[own]):
            assert drawn(own) == expected
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert drawn(own) == expected


def test_a_generator_that_is_not_named_moves() -> None:
    """The test above can fail."""
    own = torch.Generator().manual_seed(1)
    with preserve_random_state():
        first = float(torch.rand(1, generator=own))
    assert float(torch.rand(1, generator=own)) != first


@pytest.mark.parametrize(
    "draw",
    [random.random, lambda: np.random.rand(), lambda: torch.rand(1)],  # noqa: NPY002
    ids=["python", "numpy", "torch"],
)
def test_whoever_draws_is_seen(draw) -> None:
    cpu = torch.device("cpu")
    with preserve_random_state():
        before = random_states(cpu)
        assert random_states(cpu) == before
        draw()
        assert random_states(cpu) != before
    assert random_states(cpu) == before
