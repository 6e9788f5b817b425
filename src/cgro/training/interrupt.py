"""Ctrl-C during training: a request that is met after the step, by all processes after the same one."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from cgro._interrupt import interrupt, stop_requests
from cgro.ranks import ALONE, Ranks


@dataclass
class StopRequest:
    """Whether somebody asked training to stop.

    Args:
        made: whether a request has come.
    """

    made: bool = False


@contextlib.contextmanager
def stop_after_step(ranks: Ranks = ALONE) -> Iterator[StopRequest]:
    """Within, Ctrl-C, and what a command takes for the same, is noted; a second one interrupts at once.

    Among several processes a second one changes nothing: torchrun passes a request on to all, and who hears it twice
    would leave the others waiting. It ends them itself if they do not stop.

    Args:
        ranks: the processes that train together.

    Yields:
        The request, to be looked at between two steps.
    """
    stop = StopRequest()

    def request() -> None:
        if stop.made and not ranks.shared:
            interrupt()
        stop.made = True

    with stop_requests(request):
        yield stop
