"""One evaluation by several processes: each takes a share of the examples, and counts are added, not rates averaged.

Beside `cgro.ranks`, which exchanges numbers, this says whether the processes share an evaluation at all: a monitor is
called from a loop that may have wrapped its network or not.
"""

from collections.abc import Sequence

import torch.distributed as dist
from torch import nn

from cgro._check import BadRequest
from cgro.definitions.examples import Sample
from cgro.definitions.metrics import NotFinite
from cgro.ranks import ALONE, together


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
    """

    def __init__(self, shared: bool) -> None:
        self._ranks = together() if shared else ALONE
        self.shared = self._ranks.shared

    def share(self, sample: Sample) -> Sample:
        """The examples of this process.

        Args:
            sample: all of a part.

        Returns:
            Every W-th of them, from the number of this process on; none if there are fewer than processes.
        """
        if not self.shared:
            return sample
        mine = slice(self._ranks.number, None, self._ranks.size)
        return Sample(sample.x[mine], sample.y[mine], sample.index[mine], sample.n_total)

    def agree(self, values: Sequence[int]) -> list[int]:
        """The numbers of process 0.

        Args:
            values: of this process; as many in each.

        Returns:
            Those of process 0.
        """
        return self._ranks.of_first(values)

    def total(self, counts: Sequence[int], failure: BaseException | None = None) -> list[int]:
        """Add the counts of all processes.

        Args:
            counts: of this process; as many in each.
            failure: what this process raised instead of counting. It is told to the others, who would wait in vain.

        Returns:
            The sums.

        Raises:
            NotFinite: in every process, where outputs were not finite in one and nothing else failed.
            BadRequest: another process failed. What failed here is raised as it is.
        """
        not_finite = isinstance(failure, NotFinite)
        broken = failure is not None and not not_finite
        *sums, n_not_finite, n_broken = self._ranks.sums([*counts, int(not_finite), int(broken)])
        if failure is not None and not (not_finite and n_broken):
            raise failure
        if n_broken:
            raise BadRequest(f"the evaluation failed in {n_broken} of {self._ranks.size} processes; see theirs")
        if n_not_finite:
            raise NotFinite(f"model output: not finite in {n_not_finite} of {self._ranks.size} processes")
        return sums

    def largest(self, value: int) -> int:
        """The largest of the processes' numbers.

        Args:
            value: of this process.

        Returns:
            The maximum.
        """
        (found,) = self._ranks.largest([value])
        return found

    def same_buffers(self, network: nn.Module) -> None:
        """Give every process the buffers of process 0, whose checkpoint is kept.

        Args:
            network: whose buffers are copies, see `undisturbed`; they are overwritten.
        """
        self._ranks.copy_first(network.buffers())
