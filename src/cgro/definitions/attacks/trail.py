"""The iterates of an ascent, compared many at a time."""

import torch
from torch import Tensor

from cgro.definitions.attacks.best import Best
from cgro.definitions.losses import margin

CHUNK = 16
"""Iterates that are remembered before they are compared. Affects speed and memory only; a choice."""


class Trail:
    """The point of lowest margin among the iterates of an ascent, per example, as `Best` would keep it.

    A comparison at every step is a dozen small operations, each of which a GPU waits for as long as for a large one.
    Here a step only remembers where it was, and a dozen operations compare up to `CHUNK` steps. The ascent writes its
    iterates into one piece of memory, of which the comparison copies none but the best ones.

    Args:
        like: (B, *S), of the shape and in the layout of the iterates; its values do not matter.
        y: (B,) labels.
        first: number of the first step.
        n: iterates that are expected; a bound on the memory.

    Example:
        >>> trail = Trail(torch.zeros(1, 1), torch.tensor([1]), first=5, n=4)
        >>> for value, score in ((1.0, 0.5), (2.0, -0.5), (3.0, -2.0), (4.0, 1.0)):
        ...     _ = trail.place().fill_(value)
        ...     trail.add(torch.tensor([score]))
        >>> found = trail.candidates()
        >>> found.x, found.margins, found.step
        (tensor([[3.]]), tensor([-2.]), tensor([6]))
    """

    def __init__(self, like: Tensor, y: Tensor, *, first: int, n: int) -> None:
        self._like = like
        self._y = y
        self._next = first
        self._n_left = n
        self._best: Best | None = None
        self._rows: Tensor | None = None  # the iterates as a matrix, and in the same memory as points
        self._room: Tensor | None = None
        self._outputs: list[Tensor] = []

    def place(self) -> Tensor:
        """Where the ascent writes its next iterate.

        Returns:
            (B, *S), without values; not to be written on once `add` was called.
        """
        n = len(self._y)
        if self._room is None:
            # A new piece for each chunk, as a network may have kept what it was given.
            n_rows = max(1, min(CHUNK, self._n_left)) * n
            self._rows = self._like.new_empty((n_rows, self._like[0].numel()))
            self._room = self._as_points(self._rows)
        at = len(self._outputs) * n
        return self._room[at : at + n]

    def add(self, outputs: Tensor) -> None:
        """Remember the iterate that was written last.

        Args:
            outputs: (B, C) or (B,), there. They are copied: a network may write its next ones in the same memory, as
                one that was captured as a graph does.
        """
        self._outputs.append(outputs.clone())
        self._n_left -= 1
        if len(self._outputs) == CHUNK:
            self._compare()

    def candidates(self) -> Best:
        """The points of lowest margin so far; the earliest of equals.

        Returns:
            Their `step` is the one at which an example was first wrong.
        """
        if self._outputs:
            self._compare()
        if self._best is None:
            return Best.nothing(self._like)
        return self._best

    def _compare(self) -> None:
        assert self._rows is not None
        n_steps = len(self._outputs)
        n = len(self._y)
        margins = margin(torch.cat(self._outputs), self._y.repeat(n_steps)).view(n_steps, n)
        # NaN is never lower; `min` would take it for the lowest.
        margins = torch.where(margins.isnan(), torch.inf, margins)
        lowest, at = margins.min(0)
        first_wrong = (margins <= 0).to(torch.uint8).argmax(0)
        # Rows as a whole, of a matrix: indexing with a tensor copies number by number, at five times the cost.
        points = self._as_points(self._rows.index_select(0, at * n + torch.arange(n, device=at.device)))
        steps = self._next + first_wrong
        if self._best is None:
            self._best = Best.found(points, lowest, steps)
        else:
            self._best.update(points, lowest, step=steps)
        self._next += n_steps
        self._rows = None
        self._room = None
        self._outputs = []

    def _as_points(self, rows: Tensor) -> Tensor:
        """Rows of the matrix of iterates, (n, D), as points in the layout of the iterates."""
        shape = self._like.shape[1:]
        if self._like.ndim == 4 and not self._like.is_contiguous():
            channels, height, width = shape
            return rows.view(len(rows), height, width, channels).permute(0, 3, 1, 2)
        return rows.view(len(rows), *shape)
