"""Where the random numbers of an augmentation come from: one stream per example, or a generator."""

from typing import Protocol

import torch
from torch import Tensor


class Streams(Protocol):
    """One stream of random numbers per example, such as `cgro.definitions.draws.Draws`."""

    def integers(self, high: int, n: int) -> Tensor:
        """Draw the next numbers of each stream.

        Args:
            high: one above the largest number.
            n: numbers per example.

        Returns:
            (B, n) int64 in 0 .. high - 1.
        """
        ...

    def uniform(self, n: int) -> Tensor:
        """Draw the next numbers of each stream.

        Args:
            n: numbers per example.

        Returns:
            (B, n) float64 in [0, 1).
        """
        ...


def integers(source: torch.Generator | Streams, high: int, n: int, x: Tensor) -> Tensor:
    """Whole numbers for each example of a batch.

    Args:
        source: of the numbers.
        high: one above the largest.
        n: numbers per example.
        x: (B, ...) the batch.

    Returns:
        (B, n) int64 in 0 .. high - 1.
    """
    if isinstance(source, torch.Generator):
        # (n, B), transposed: the order in which a generator always gave its numbers to a batch.
        return torch.randint(high, (n, len(x)), generator=source, device=x.device).T
    return source.integers(high, n)


def uniforms(source: torch.Generator | Streams, n: int, x: Tensor) -> Tensor:
    """Numbers in [0, 1) for each example of a batch.

    Args:
        source: of the numbers.
        n: numbers per example.
        x: (B, ...) the batch.

    Returns:
        (B, n) float64.
    """
    if isinstance(source, torch.Generator):
        return torch.rand(n, len(x), generator=source, device=x.device, dtype=torch.float64).T
    return source.uniform(n)
