"""What two processes do that train with DistributedDataParallel; see tests/ranks.py."""

from pathlib import Path

from tests.cases import RaisesAt
from tests.diagnosis.monitor.cases import is_left_alone, loop, monitor_in
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cgro import Monitor
from cgro._check import BadRequest
from cgro.ranks import Ranks


def cases(ranks: Ranks, folder: Path) -> None:
    for case in (shared, plain, raises, refuses, overflows):
        case(ranks.number, monitor_in(folder / case.__name__, strong=("pgd3", 2)))


def shared(rank: int, monitor: Monitor) -> None:
    def watched(model: nn.Module, epoch: int) -> None:
        ddp = DistributedDataParallel(model)  # gives all processes the buffers of the first
        if rank:
            model[1].running_mean.add_(1.0)  # statistics of its own, which the kept checkpoint does not have
        row = []
        assert is_left_alone(model, lambda: row.append(monitor(ddp, epoch)))
        assert (row[0] is None) == bool(rank)
        if rank:
            model[1].running_mean.sub_(1.0)

    loop(watched, 3)
    assert (monitor.verdict() is None) == bool(rank)


def plain(rank: int, monitor: Monitor) -> None:
    """A module that is not wrapped: the first process does all of it."""
    loop(lambda model, epoch: monitor(model, epoch), 2)


def raises(rank: int, monitor: Monitor) -> None:
    """The network fails in one process; the other hears of it instead of waiting."""
    try:
        monitor(DistributedDataParallel(RaisesAt(4 if rank else 10_000)), 1)
    except BadRequest as error:
        assert not rank
        assert "1 of 2 processes" in str(error), error
    except RuntimeError as error:
        assert rank
        assert "half-way" in str(error), error
    else:
        raise AssertionError("nothing was raised")


def refuses(rank: int, monitor: Monitor) -> None:
    model = DistributedDataParallel(loop(None, 1))
    monitor(model, 5)
    try:
        monitor(model, 4)
    except BadRequest as error:
        assert ("process 0" in str(error)) == bool(rank), error
    else:
        raise AssertionError("nothing was refused")


def overflows(rank: int, monitor: Monitor) -> None:
    """Outputs that are not finite in one process alone: all leave the epoch out, and none ends."""
    model = loop(None, 1)
    ddp = DistributedDataParallel(model)
    hook = model.register_forward_hook(lambda module, inputs, outputs: outputs / 0 if rank else outputs)
    assert monitor(ddp, 1) is None
    hook.remove()
    assert (monitor(ddp, 2) is None) == bool(rank)
