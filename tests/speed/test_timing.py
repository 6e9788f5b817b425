"""Turns: their order, the first that does not count, and waiting for the device inside the time."""

import pytest
import torch
from tests.speed.clocks import FakeClock

from cgro._check import BadRequest
from cgro.speed import Times, alternated, waiter


def test_calls_take_turns_and_the_first_repetition_does_not_count() -> None:
    clock = FakeClock()
    turns: list[str] = []
    calls = {"a": clock.work(9.0, 1.0, 2.0), "b": clock.work(8.0, 3.0, 4.0)}
    times = alternated(calls, 2, clock=clock, update=lambda n, name: turns.append(f"{n}{name}"))
    assert times == {"a": Times(9.0, (1.0, 2.0)), "b": Times(8.0, (3.0, 4.0))}
    assert turns == ["1a", "2b", "3a", "4b", "5a", "6b"]


def test_what_the_device_still_does_is_in_the_time_and_not_in_that_of_the_next() -> None:
    clock = FakeClock()
    queue: list[float] = []

    def wait() -> None:
        clock.now += sum(queue)
        queue.clear()

    calls = {"slow": lambda: queue.append(5.0), "quick": lambda: queue.append(1.0)}
    times = alternated(calls, 1, wait=wait, clock=clock)
    assert (times["slow"].seconds, times["quick"].seconds) == ((5.0,), (1.0,))


def test_no_repetition_is_refused() -> None:
    with pytest.raises(BadRequest, match="repeats: expected an integer >= 1, got 0"):
        alternated({}, 0)


def test_a_cpu_is_not_waited_for() -> None:
    assert waiter(torch.device("cpu"))() is None
