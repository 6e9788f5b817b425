"""A command in several processes that torchrun started: the first one has the run directory and speaks."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch

from cgro._check import BadRequest, CheckFailed
from cgro._exits import BAD_REQUEST, CHECK_FAILED, DONE, INTERRUPTED
from cgro._progress import told
from cgro.definitions.rounds import TOLD, alike, stopping_alike
from cgro.ranks import ALONE, Ranks, joined, launched
from cgro.runs import Run, Unsaved
from cgro.training import make_fabric

C = TypeVar("C")
T = TypeVar("T")


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
        BadRequest: what `begin` raises, in all processes.
    """
    with contextlib.ExitStack() as stack:
        run = None
        with alike(ranks):
            if ranks.writes:
                run = stack.enter_context(begin)
        yield run


def in_processes(
    config: C, body: Callable[[C, Ranks], Run | Unsaved], check: Callable[..., None] | None = None
) -> Run | Unsaved | Beside:
    """Run a command in the processes that a launcher started together, or in this one alone.

    All of them end with one exit code; the first speaks, the others only if they lost one another.

    Args:
        config: the options.
        body: the command. In every process it gives the result, in the first one that which is printed.
        check: holds the result against options that the caller made a condition; it is called beside the first process,
            where `cgro.cli` calls it.

    Returns:
        What `body` gives; beside the first process an exit code.

    Raises:
        BadRequest: what `body` raises.
        KeyboardInterrupt: the processes were asked to stop.
    """
    if launched() == 1:
        return body(config, ALONE)
    with joined() as ranks:
        if ranks.writes:
            with stopping_alike(ranks):
                return body(config, ranks)
        return beside(lambda: _ended(config, body, check, ranks))


def beside(work: Callable[[], T]) -> T | Beside:
    """Do what a process beside the first one has to do, without a word of what the first one tells.

    Args:
        work: is done.

    Returns:
        What it gives; an exit code where it ended as the first one did.

    Raises:
        BadRequest: what this process alone has met.
    """
    with told("quiet"):
        try:
            return work()
        except KeyboardInterrupt:
            return Beside(INTERRUPTED)
        except BadRequest as error:
            if TOLD not in getattr(error, "__notes__", ()):
                raise
            return Beside(BAD_REQUEST)


def _ended(
    config: C, body: Callable[[C, Ranks], Run | Unsaved], check: Callable[..., None] | None, ranks: Ranks
) -> Beside:
    """The end of a process beside the first, which is that of the first."""
    with stopping_alike(ranks):
        result = body(config, ranks).read()
    try:
        if check is not None:
            check(config, result)
    except CheckFailed:
        return Beside(CHECK_FAILED)
    except BadRequest:
        return Beside(BAD_REQUEST)
    return Beside(DONE)


def device_for(name: str, ranks: Ranks) -> torch.device:
    """Where a process computes.

    Args:
        name: of --device.
        ranks: the processes; on a machine with several GPUs each has one.

    Returns:
        The device, made the current one where there are several processes.

    Raises:
        BadRequest: see `make_fabric`.
    """
    device = make_fabric(name).device
    if ranks.shared and device.type == "cuda":
        torch.cuda.set_device(device)
    return device
