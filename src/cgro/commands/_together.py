"""A command in several processes that torchrun started: the first one has the run directory and speaks."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from cgro.ranks import Ranks
from cgro.runs import Run


@dataclass(frozen=True)
class Beside:
    """What a command returns in a process beside the first, which tells the result.

    Args:
        ended: exit code.
    """

    ended: int


@contextlib.contextmanager
def begun_by_first(begin: AbstractContextManager[Run], ranks: Ranks) -> Iterator[Run | None]:
    """The run of a command, held by the first process until the block ends.

    Args:
        begin: gives it; entered in the first process alone.
        ranks: the processes.

    Yields:
        The run; None in the others.

    Raises:
        BadRequest: what `begin` raises; the others say that the first one failed.
    """
    with contextlib.ExitStack() as stack:
        run = None
        with ranks.failing_together("the run directory"):
            if ranks.writes:
                run = stack.enter_context(begin)
        yield run
