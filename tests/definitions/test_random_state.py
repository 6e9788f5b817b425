"""The global generators come back, also when the block raises."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cgro.definitions.random_state import (
    generators_in,
    preserve_random_state,
    put_back_generators,
    random_states,
)


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


@pytest.mark.parametrize("make", [
    lambda: torch.Generator().manual_seed(1), lambda: np.random.default_rng(1), lambda: np.random.RandomState(1),
    lambda: random.Random(1),
], ids=["torch", "numpy", "numpy of old", "python"])  # fmt: skip
@pytest.mark.parametrize("hold", [
    lambda own: SimpleNamespace(rng=own), lambda own: {"transforms": [None, SimpleNamespace(crop=(own,))]},
    lambda own: SimpleNamespace(data=list(range(5000)), dataset=SimpleNamespace(rng=own, loop={"to": own})),
], ids=["attribute", "transforms", "dataset"])  # fmt: skip
def test_generators_are_found_where_an_object_holds_them(make, hold) -> None:
    def draw(generator: object) -> float:
        if isinstance(generator, torch.Generator):
            return float(torch.rand(1, generator=generator))
        return float(generator.uniform(0, 1))

    own = make()
    holder = hold(own)
    found = generators_in(holder)
    assert len(found) == 1
    assert found[0] is own
    with preserve_random_state(generators=found):
        draw(own)
    assert draw(own) == draw(make())


def test_what_holds_no_generator_with_a_state() -> None:
    """Data in long lists is not walked through, what refers to itself ends, and the system's numbers have no state."""
    ring = SimpleNamespace(system=random.SystemRandom(), data=[SimpleNamespace(rng=random.Random(0))] * 5000)
    ring.ring = ring
    found = generators_in(ring)
    assert found == [ring.system]
    assert put_back_generators(found) == []


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
