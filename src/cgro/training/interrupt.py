"""Ctrl-C during training: a request that is met after the step."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from cgro._interrupt import interrupt, stop_requests


@dataclass
class StopRequest:
    """Whether somebody asked training to stop.

    Args:
        made: whether a request has come.
    """

    made: bool = False


@contextlib.contextmanager
def stop_after_step() -> Iterator[StopRequest]:
    """Within, Ctrl-C, and what a command takes for the same, is noted; a second one interrupts at once.

    Yields:
        The request, to be looked at between two steps.
    """
    stop = StopRequest()

    def request() -> None:
        if stop.made:
            interrupt()
        stop.made = True

    with stop_requests(request):
        yield stop
