"""Which examples of a batch a process has, and what all processes make of their gradients and statistics.

A batch of B examples is the same for any number of processes. It is cut into contiguous pieces, each process computes
the sum of its examples' losses over B, and gradients are added: the mean over the batch, also where the number of
processes does not divide B, where a mean of the processes' means would be another number.

Gradients are added by hand, in one exchange after the backward pass, and the network is not wrapped. So attacks run on
the bare module, an objective may pass the network as often as it likes before its backward pass (PyTorch issue 175024:
a wrapped network with BatchNorm may not, as its buffers are overwritten before the second pass), a gradient may be
differentiated again (GradAlign), and an extension may ask for the gradients several times in a step (AWP).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from cgro._check import BadRequest, bad
from cgro.ranks import ALONE, Ranks

LEAST = 2
"""Examples in a piece, at least: BatchNorm has no variance of one."""


@dataclass(frozen=True)
class Part:
    """The examples of a batch that one process has.

    Args:
        first: place of the first of them in the batch.
        n: examples of the whole batch; 0: as many as the step has.
        copies: how many processes have each example. More than one where a batch has too few for all: then every
            process takes the whole of it.
        ranks: the processes.

    Example:
        >>> [Part.of(9, Ranks(4, k)).rows for k in range(4)]
        [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None), slice(7, 9, None)]
        >>> Part.of(3, Ranks(4, 1)).rows
        slice(0, 3, None)
    """

    first: int = 0
    n: int = 0
    copies: int = 1
    ranks: Ranks = ALONE

    @classmethod
    def of(cls, n: int, ranks: Ranks) -> "Part":
        """What a process has of a batch.

        Args:
            n: examples of the batch.
            ranks: the processes.

        Returns:
            Its piece; the whole batch where the pieces would be smaller than `LEAST`.
        """
        if n < LEAST * ranks.size:
            return cls(0, n, ranks.size, ranks)
        return cls(ranks.piece(n).start, n, 1, ranks)

    @property
    def rows(self) -> slice:
        """Places of its examples in the batch."""
        if self.copies > 1 or not self.ranks.shared:
            return slice(0, self.n)
        return self.ranks.piece(self.n)

    def pieces(self, accumulate: int) -> int:
        """In how many pieces a process takes its examples one after another, the same number in all processes.

        Args:
            accumulate: that were asked for.

        Returns:
            At most so many, none smaller than `LEAST`.

        Example:
            >>> [Part(n=n).pieces(4) for n in (1, 2, 5, 8, 100)]
            [1, 1, 2, 4, 4]
        """
        smallest = self.n
        if self.copies == 1:
            smallest = self.n // self.ranks.size
        return max(1, min(accumulate, smallest // LEAST))

    def add(self, values: Tensor) -> Tensor:
        """The sum over the whole batch of what each process summed over its examples.

        Args:
            values: sums of this process.

        Returns:
            A new tensor, the same in all processes; `values` itself where there is one.
        """
        if not self.ranks.shared:
            return values
        whole = values.clone()
        self.ranks.add(whole)
        return whole / self.copies


WHOLE = Part()
"""A step that has all examples of its batch."""


def add_gradients(weights: Sequence[nn.Parameter], loss: Tensor, ranks: Ranks) -> Tensor:
    """Replace the gradients of the processes by their sums, in one exchange, and add their losses.

    A weight has a gradient afterwards if it had one in any process; where it has none in this one it counts as 0.

    Args:
        weights: that are trained, in the same order in all processes.
        loss: 0-dimensional, of this process.
        ranks: the processes.

    Returns:
        The sum of the losses.
    """
    if not ranks.shared:
        return loss
    dtype = torch.float32
    if any(weight.dtype == torch.float64 for weight in weights):
        dtype = torch.float64
    flags = [float(weight.grad is not None) for weight in weights]
    parts = [loss.detach().reshape(1).to(dtype), torch.tensor(flags, dtype=dtype, device=loss.device)]
    for weight in weights:
        gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
        parts.append(gradient.detach().reshape(-1).to(dtype))
    whole = torch.cat(parts)
    ranks.add(whole)
    sizes = [1, len(weights), *(weight.numel() for weight in weights)]
    total, present, *sums = whole.split(sizes)
    has = [True] * len(weights)
    if not all(flags):
        has = (present > 0).tolist()
    for weight, summed, some in zip(weights, sums, has, strict=True):
        if some:
            weight.grad = summed.reshape(weight.shape).to(weight.dtype)
    return total[0].to(loss.dtype)


def require_gradients(weights: Sequence[Tensor]) -> None:
    """Refuse a loss that none of the weights was in: the optimizer would pass them over, to the end of the training.

    That a loss is differentiable does not say in what. No value is read: a weight that was reached has a gradient.

    Args:
        weights: that are trained, after the backward passes of a step.

    Raises:
        BadRequest: none of them has a gradient.
    """
    if all(weight.grad is None for weight in weights):
        raise bad(
            "objective",
            expected="a loss that depends on the weights",
            got="one that reaches none of them",
            remedy="compute it by step.model(...), without detach",
        )


def statistics_of(network: nn.Module) -> list[Tensor]:
    """The running averages of normalization layers.

    Args:
        network: any.

    Returns:
        Buffers, in the order of the layers.
    """
    found: list[Tensor] = []
    for layer in network.modules():
        if isinstance(layer, _NormBase):
            found += [buffer for buffer in (layer.running_mean, layer.running_var) if buffer is not None]
    return found


@torch.no_grad()
def average_statistics(network: nn.Module, part: Part) -> None:
    """Replace the running averages of the processes by their mean, weighted by examples.

    Args:
        network: in training.
        part: of the step.
    """
    buffers = statistics_of(network)
    if not part.ranks.shared or not buffers:
        return
    rows = part.rows
    weight = (rows.stop - rows.start) / (part.n * part.copies)
    whole = torch.cat([buffer.reshape(-1).double() * weight for buffer in buffers])
    part.ranks.add(whole)
    for buffer, value in zip(buffers, whole.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(value.reshape(buffer.shape))


def require_same_weights(weights: Iterable[Tensor], ranks: Ranks) -> None:
    """Refuse to go on where the weights of the processes are not the same to the bit.

    They begin so, and are moved by the same gradients. Processors of other kinds may round otherwise.

    Args:
        weights: of the network.
        ranks: the processes.

    Raises:
        BadRequest: they have drifted apart.
    """
    if not ranks.shared:
        return
    words = [weight.detach().reshape(-1).contiguous().view(torch.uint8).sum(dtype=torch.int64) for weight in weights]
    sums = torch.stack(words).tolist()
    if ranks.smallest(sums) != ranks.largest(sums):
        raise BadRequest(
            f"the weights of the {ranks.size} processes are not the same any more: their machines round otherwise, or "
            "an extension or network does something else in each; train with processors of one kind"
        )
