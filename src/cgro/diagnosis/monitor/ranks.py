"""One evaluation by several processes: each takes a share of the examples, and counts are added, not rates averaged."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn

from cgro._check import BadRequest
from cgro.definitions.examples import Sample


def rank() -> int:
    """The number of this process.

    Returns:
        0 also where there is only one.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return 0


class Ranks:
    """The processes that share an evaluation.

    Args:
        shared: whether they do; otherwise this process is alone, and every method leaves its input as it is.
        device: of the network, where numbers are exchanged.
    """

    def __init__(self, shared: bool, device: torch.device) -> None:
        self.shared = shared and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.device = device

    def share(self, sample: Sample) -> Sample:
        """The examples of this process.

        Args:
            sample: all of a part.

        Returns:
            Every W-th of them, from the number of this process on; none if there are fewer than processes.
        """
        if not self.shared:
            return sample
        mine = slice(dist.get_rank(), None, dist.get_world_size())
        return Sample(sample.x[mine], sample.y[mine], sample.index[mine], sample.n_total)

    def agree(self, values: Sequence[int]) -> list[int]:
        """The numbers of process 0.

        Args:
            values: of this process; as many in each.

        Returns:
            Those of process 0.
        """
        if not self.shared:
            return list(values)
        told = torch.tensor(values, dtype=torch.int64, device=self.device)
        dist.broadcast(told, src=0)
        return told.tolist()

    def total(self, counts: Sequence[int], failure: BaseException | None = None) -> list[int]:
        """Add the counts of all processes.

        Args:
            counts: of this process; as many in each.
            failure: what this process raised instead of counting. It is told to the others, who would wait for ever.

        Returns:
            The sums.

        Raises:
            BadRequest: another process failed. What failed here is raised as it is.
        """
        if failure is not None and not self.shared:
            raise failure
        if not self.shared:
            return list(counts)
        told = torch.tensor([*counts, int(failure is not None)], dtype=torch.int64, device=self.device)
        dist.all_reduce(told)
        *sums, n_failed = told.tolist()
        if failure is not None:
            raise failure
        if n_failed:
            raise BadRequest(f"the evaluation failed in {n_failed} of {dist.get_world_size()} processes; see theirs")
        return sums

    def largest(self, value: int) -> int:
        """The largest of the processes' numbers.

        Args:
            value: of this process.

        Returns:
            The maximum.
        """
        if not self.shared:
            return value
        told = torch.tensor(value, dtype=torch.int64, device=self.device)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return int(told)

    def same_buffers(self, network: nn.Module) -> None:
        """Give every process the buffers of process 0, whose checkpoint is kept.

        Args:
            network: whose buffers are copies, see `undisturbed`; they are overwritten.
        """
        if not self.shared:
            return
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)
