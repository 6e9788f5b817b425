"""What a step of training has per example, whole or a piece of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cgro.definitions.draws import Draws
from cgro.ranks import piece_of

Streams = Callable[[str], Draws]
"""Purpose -> a stream of random numbers per example of the batch, in their order."""


@dataclass(frozen=True)
class Examples:
    """The examples of a step, or a contiguous piece of them, with all that belongs to single examples.

    Args:
        x: (B, *S) inputs.
        y: (B,) labels.
        streams: purpose -> random numbers of these examples.
        targets: (B, C) probabilities in place of the labels; None where there are none.
        crafted: (B, *S) each, what attacks have found for an objective.
        seen: x and (B, C) or (B,) outputs that were computed of it; None before.
        rows: of the examples of the step, those that these are.

    Example:
        >>> x = torch.arange(5.0)[:, None]
        >>> examples = Examples(x, torch.zeros(5), lambda purpose: Draws.of(0, purpose, torch.arange(5)))
        >>> [examples.piece(2, k).x[:, 0].tolist() for k in range(2)]
        [[0.0, 1.0, 2.0], [3.0, 4.0]]
    """

    x: Tensor
    y: Tensor
    streams: Streams
    targets: Tensor | None = None
    crafted: Sequence[Tensor] = ()
    seen: tuple[Tensor, Tensor] | None = None
    rows: slice = field(default_factory=lambda: slice(None))

    def piece(self, n_pieces: int, k: int) -> "Examples":
        """One of several pieces, as equal as can be.

        Args:
            n_pieces: how many.
            k: which, from 0.

        Returns:
            Views of its examples, the random numbers that they have in the whole.
        """
        rows = piece_of(len(self.y), n_pieces, k)
        places = torch.arange(rows.start, rows.stop, device=self.y.device)
        x = self.x[rows]
        targets = None
        if self.targets is not None:
            targets = self.targets[rows]
        seen = None
        if self.seen is not None and self.seen[0] is self.x:
            seen = (x, self.seen[1][rows])
        crafted = [values[rows] for values in self.crafted]

        def streams(purpose: str) -> Draws:
            return self.streams(purpose).rows(places)

        return Examples(x, self.y[rows], streams, targets, crafted, seen, rows)


def joined_crafted(pieces: Sequence[Examples]) -> list[Tensor]:
    """What attacks have found for a whole step.

    Args:
        pieces: of its examples, each attacked as often.

    Returns:
        (B, *S) each, in the order of the attacks.
    """
    each = [piece.crafted for piece in pieces]
    return [torch.cat(values) for values in zip(*each, strict=True)]


def joined_outputs(pieces: Sequence[Examples]) -> Tensor | None:
    """The outputs of a whole step.

    Args:
        pieces: of its examples.

    Returns:
        (B, C) or (B,); None where those of a piece are not known.
    """
    outputs = [piece.seen[1] for piece in pieces if piece.seen is not None]
    if len(outputs) < len(pieces):
        return None
    return torch.cat(outputs)
