"""Seconds of several calls that take turns, so that what slows the machine for a while slows all of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from cgro._check import count

Clock = Callable[[], float]
"""() -> seconds since some moment."""


@dataclass(frozen=True)
class Times:
    """What a call took.

    Args:
        first: seconds of the first call, which compiles, tunes and fills caches; not counted.
        seconds: of the others, one per repetition.
    """

    first: float
    seconds: tuple[float, ...]


def alternated(
    calls: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    wait: Callable[[], object] = lambda: None,
    clock: Clock = time.perf_counter,
    update: Callable[[int, str], object] = lambda n, name: None,
) -> dict[str, Times]:
    """Time every call once in each repetition, after one repetition that is not counted.

    Args:
        calls: by name, in the order of their turns.
        repeats: repetitions that count.
        wait: waits until what was called is done; see `waiter`.
        clock: gives the time.
        update: called after each turn with the number of turns so far and the name.

    Returns:
        Name -> times. The k-th seconds of all calls are of the same repetition.

    Raises:
        BadRequest: no repetition.

    Example:
        >>> now = iter(range(100))
        >>> alternated({"a": lambda: None}, 2, clock=lambda: float(next(now)))
        {'a': Times(first=1.0, seconds=(1.0, 1.0))}
    """
    count(repeats, "repeats")
    taken: dict[str, list[float]] = {name: [] for name in calls}
    n_turns = 0
    for _ in range(repeats + 1):
        for name, call in calls.items():
            wait()
            started = clock()
            call()
            wait()
            taken[name].append(clock() - started)
            n_turns += 1
            update(n_turns, name)
    return {name: Times(seconds[0], tuple(seconds[1:])) for name, seconds in taken.items()}


def waiter(device: torch.device) -> Callable[[], object]:
    """What waits for a device: calls on a GPU return before they are done.

    Args:
        device: on which is computed.

    Returns:
        A function without arguments; on a CPU it does nothing.
    """
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None
