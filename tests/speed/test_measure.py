"""From seconds to rows: with a clock whose time the ways themselves make, every number is known."""

import pytest
from tests.speed.clocks import FakeClock
from tests.speed.subjects import subject

from cgro.results import Spread
from cgro.speed import Measurement, Way, measured, recipe_time
from cgro.training import Cost

STEADY = Spread(low=2.0, median=2.0, high=2.0)


class Ticking(FakeClock):
    """Each look at the time takes a second, so that a turn of which only its beginning and end look takes one."""

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_rates_floors_and_peers_are_those_of_the_clock() -> None:
    """A turn of 4 passes of 4 examples takes 1 s: 1/16 s an example and pass."""
    clock = Ticking()
    cost = Cost(n_forward=8, n_gradients=16)  # 24 passes: 1.5 s
    ours = Way("attack", "eager", True, 8, clock.work(2.0), cost)
    peer = Way("attack", "common loop", False, 8, clock.work(5.0), cost)
    other = Way("epoch", "eager", True, 8, clock.work(2.0), Cost(n_updates=16))
    found = measured(subject(), [ours, peer, other], 2, clock=clock)
    assert found.passes.gradient == Spread.over([1 / 16])
    first, second, third = found.rows
    assert (first.seconds.median, first.examples_per_second.median) == (3.0, pytest.approx(8 / 3))
    assert first.over_floor == STEADY
    assert first.faster_than == {"common loop": STEADY}
    assert second.over_floor.median == 4.0
    assert (second.faster_than, third.faster_than) == ({}, {})
    assert third.over_floor.median == 3.0


def test_a_recipe_takes_its_passes_times_what_the_epoch_takes_over_its_own() -> None:
    clock = Ticking()
    epoch = Way("epoch", "eager", True, 8, clock.work(2.0), Cost(n_updates=24))  # 3 s over 1.5 s
    found = measured(subject(), [epoch], 1, clock=clock)
    assert isinstance(found, Measurement)
    time = recipe_time(found, Cost(n_gradients=10, n_updates=1), recipe="mine", epochs=4, n_train=100)
    assert time.floor_seconds == pytest.approx(4 * 100 * 11 / 16)
    assert time.seconds.median == pytest.approx(2 * time.floor_seconds)
