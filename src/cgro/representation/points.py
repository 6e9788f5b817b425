"""The training set of a memorizer, kept as small as it came."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cgro.representation.separation import as_pixels


@dataclass(frozen=True)
class TrainingPoints:
    """Training inputs; what are pixels stays uint8, an eighth of float64.

    Args:
        inputs: (N, *S) floats, or uint8 pixels k that stand for k / 255.
        pixels: (N, *S) uint8, the same points if they are pixels; else None.
    """

    inputs: Tensor
    pixels: Tensor | None

    @classmethod
    def of(cls, x: Tensor) -> "TrainingPoints":
        """Take over a training set.

        Args:
            x: (N, *S) floats, or uint8 pixels; floats k / 255 are recognized as pixels.

        Returns:
            The points, on the CPU.
        """
        inputs = x.cpu()
        pixels = as_pixels(inputs)
        return cls(inputs if pixels is None else pixels, pixels)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def shape(self) -> tuple[int, ...]:
        """S, the shape of one input."""
        return tuple(self.inputs.shape[1:])

    @property
    def dim(self) -> int:
        """D, the number of coordinates."""
        return self.inputs[0].numel()

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest coordinate."""
        unit = 1 if self.pixels is None else 255
        values = self.inputs.double() / unit
        return float(values.min()), float(values.max())

    def at(self, positions: Tensor) -> Tensor:
        """Return some points.

        Args:
            positions: (n,) in 0 .. N - 1.

        Returns:
            (n, D) float64, pixels as k / 255.
        """
        rows = self.inputs[positions].flatten(1).double()
        if self.pixels is None:
            return rows
        return rows / 255


def evenly_spaced(n: int, total: int) -> Tensor:
    """Choose positions spread evenly over 0 .. total - 1, first and last included.

    Args:
        n: how many, at most.
        total: number of positions there are.

    Returns:
        Distinct positions in increasing order.

    Example:
        >>> evenly_spaced(3, 9).tolist(), evenly_spaced(5, 2).tolist()
        ([0, 4, 8], [0, 1])
    """
    return torch.linspace(0, total - 1, min(n, total)).long().unique()
