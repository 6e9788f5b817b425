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
    Here a step only remembers where it was, and a dozen operations compare up to `CHUNK` steps.

    Args:
        x: (B, *S) where the ascent starts.
        y: (B,) labels.
        first: number of the first step.

    Example:
        >>> trail = Trail(torch.zeros(1, 1), torch.tensor([1]), first=5)
        >>> for value, score in ((1.0, 0.5), (2.0, -0.5), (3.0, -2.0), (4.0, 1.0)):
        ...     trail.add(torch.tensor([[value]]), torch.tensor([score]))
        >>> found = trail.candidates()
        >>> found.x, found.margins, found.step
        (tensor([[3.]]), tensor([-2.]), tensor([6]))
    """

    def __init__(self, x: Tensor, y: Tensor, first: int) -> None:
        self._best = Best.nothing(x)
        self._y = y
        self._next = first
        self._points: list[Tensor] = []
        self._outputs: list[Tensor] = []

    def add(self, points: Tensor, outputs: Tensor) -> None:
        """Remember an iterate.

        Args:
            points: (B, *S); must not be written on afterwards.
            outputs: (B, C) or (B,), there.
        """
        self._points.append(points)
        self._outputs.append(outputs)
        if len(self._points) == CHUNK:
            self._compare()

    def candidates(self) -> Best:
        """The points of lowest margin so far; the earliest of equals.

        Returns:
            Their `step` is the one at which an example was first wrong.
        """
        if self._points:
            self._compare()
        return self._best

    def _compare(self) -> None:
        n_steps = len(self._points)
        n = len(self._y)
        margins = margin(torch.cat(self._outputs), self._y.repeat(n_steps)).view(n_steps, n)
        # NaN is never lower; `min` would take it for the lowest.
        margins = torch.where(margins.isnan(), torch.inf, margins)
        lowest, at = margins.min(0)
        first_wrong = (margins <= 0).to(torch.uint8).argmax(0)
        places = at * n + torch.arange(n, device=at.device)
        points = torch.cat(self._points)[places]
        self._best.update(points, lowest, step=self._next + first_wrong)
        self._next += n_steps
        self._points = []
        self._outputs = []
