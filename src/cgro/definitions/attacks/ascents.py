"""The ascents of Auto-PGD: how far a step goes, and when it is made shorter (Croce and Hein, ICML 2020 and 2021)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from cgro.definitions.attacks.best import per_example
from cgro.definitions.threat import ThreatModel

MOMENTUM = 0.75
"""alpha: share of the new step; the rest is the step before. Croce and Hein (2020), Section 3.1."""
MIN_RISES = 0.75
"""rho: a step size survives if the loss rose in at least this share of the steps since the last checkpoint. Croce and
Hein (2020). The loss at the start counts as a rise of the first stretch, as it does in the code of AutoAttack."""
SHRINK = 1.5
"""Factor by which step and support shrink for p = 1. Croce and Hein (2021), Section 3.3."""
MIN_STEP = 0.1
"""Smallest step for p = 1, in radii. Croce and Hein (2021)."""
FIRST_SUPPORT = 0.2
"""Share of the coordinates that the first steps move for p = 1. Croce and Hein (2021)."""
PERIOD = 0.04
"""Share of the steps between two reviews for p = 1. Croce and Hein (2021)."""


class Ascent(ABC):
    """Iterates, their loss and gradient, and the best of each, for all examples of a batch at once.

    Args:
        threat: ball and box.
        center: (B, *S) the examples, in the box.
        start: (B, *S) the first iterates.
    """

    def __init__(self, threat: ThreatModel, center: Tensor, start: Tensor) -> None:
        n = len(start)
        self.threat = threat
        self.center = center
        self.x = start
        self.before = start
        self.top_x = start
        self.gradient = torch.zeros_like(start)
        self.top_gradient = self.gradient
        self.value = torch.full((n,), -math.inf, dtype=start.dtype, device=start.device)
        self.top_value = self.value
        self.rises = torch.zeros(n, device=start.device)

    def observe(self, value: Tensor, gradient: Tensor) -> None:
        """Take note of the loss and the gradient at x.

        Args:
            value: (B,) of the loss.
            gradient: (B, *S) of it.
        """
        self.rises = self.rises + (value > self.value)
        higher = value > self.top_value
        self.value = value
        self.gradient = gradient
        self.top_value = torch.where(higher, value, self.top_value)
        self.top_x = torch.where(per_example(higher, self.x), self.x, self.top_x)
        self.top_gradient = torch.where(per_example(higher, self.x), gradient, self.top_gradient)

    @abstractmethod
    def review(self, step: int) -> None:
        """Adapt the size of the step.

        Args:
            step: from 0.
        """

    @abstractmethod
    def advance(self, step: int) -> None:
        """Go to the next iterate.

        Args:
            step: from 0.
        """

    def back_to_top(self, rows: Tensor) -> None:
        """Go on from the best iterate, without momentum.

        Args:
            rows: (B,) bool, the examples that do.
        """
        mask = per_example(rows, self.x)
        self.x = torch.where(mask, self.top_x, self.x)
        self.before = torch.where(mask, self.top_x, self.before)
        self.gradient = torch.where(mask, self.top_gradient, self.gradient)

    def keep(self, rows: Tensor) -> None:
        """Forget the other examples. Every tensor here has one row per example.

        Args:
            rows: (K,) positions of those that stay.
        """
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rows])


class Halving(Ascent):
    """p = 2, inf: momentum, and a step that is halved at checkpoints where it no longer helps.

    Z = Proj(X_k + size * direction(grad)), X_(k+1) = Proj(X_k + alpha (Z - X_k) + (1 - alpha) (X_k - X_(k-1))).
    At a checkpoint the step is halved, and the search goes on from the best iterate, if the loss rose in fewer than
    a share rho of the steps since the last one, or if neither the step nor the best loss has changed since.

    Args:
        threat: ball and box.
        center: (B, *S) the examples, in the box.
        start: (B, *S) the first iterates.
        n_steps: of the whole ascent.
    """

    def __init__(self, threat: ThreatModel, center: Tensor, start: Tensor, n_steps: int) -> None:
        super().__init__(threat, center, start)
        self.size = torch.full_like(self.value, 2 * threat.radius)
        self.halved = torch.ones(len(start), dtype=torch.bool, device=start.device)
        self.last_top = self.top_value
        self.last = 0
        self.checkpoints = set(checkpoints(n_steps))

    def review(self, step: int) -> None:
        """Halve the step at a checkpoint where it no longer helps.

        Args:
            step: from 0.
        """
        if step not in self.checkpoints:
            return
        stuck = ~self.halved & (self.top_value <= self.last_top)
        self.halved = (self.rises < MIN_RISES * (step - self.last)) | stuck
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.back_to_top(self.halved)
        self.last_top = self.top_value
        self.last = step
        self.rises = torch.zeros_like(self.rises)

    def advance(self, step: int) -> None:
        """A step along the gradient, with momentum from the second on.

        Args:
            step: from 0.
        """
        length = per_example(self.size, self.x)
        # In place on what was made here: memory that is taken anew costs a CPU more than the arithmetic.
        z = self.threat.pull_in(self.threat.direction(self.gradient).mul_(length).add_(self.x), self.center)
        if step > 0:
            mixed = z.sub_(self.x).mul_(MOMENTUM).add_(self.x)
            mixed += (self.x - self.before).mul_(1 - MOMENTUM)
            z = self.threat.pull_in(mixed, self.center)
        self.before = self.x
        self.x = z


class Sparse(Ascent):
    """p = 1: steps of l_1 length `size` along the signs of the largest entries of the gradient, as many as `support`.

    Every 4% of the steps the support becomes |{i : (top_x - X)_i != 0}| / 1.5. Where that is at least 95% of the
    last one, the step shrinks by 1.5; elsewhere it is set back to the radius and the search goes on from the best.

    Args:
        threat: ball and box.
        center: (B, *S) the examples, in the box.
        start: (B, *S) the first iterates.
        n_steps: of the whole ascent.
    """

    def __init__(self, threat: ThreatModel, center: Tensor, start: Tensor, n_steps: int) -> None:
        super().__init__(threat, center, start)
        self.size = torch.full_like(self.value, threat.radius)
        self.support = torch.full_like(self.value, FIRST_SUPPORT * start[0].numel()).clamp_min(1)
        # A start away from X says by itself how many coordinates are of use. By a mask: nothing is read on the host.
        moved = (start != center).any() & (threat.radius > 0)
        self.support = torch.where(moved, torch.minimum(self.support, self._moved(start)).clamp_min(1), self.support)
        self.period = math.ceil(PERIOD * n_steps)  # 0 only without steps, which have no review

    def _moved(self, x: Tensor) -> Tensor:
        return (x != self.center).flatten(1).sum(1).to(self.value) / SHRINK

    def review(self, step: int) -> None:
        """Fit the support to what the best iterates moved, and the step to the support.

        Args:
            step: from 0.
        """
        if step == 0 or step % self.period:
            return
        support = self._moved(self.top_x).clamp_min(1)
        shrunk = support < 0.95 * self.support
        narrower = (self.size / SHRINK).clamp_min(MIN_STEP * self.threat.radius)
        self.size = torch.where(shrunk, self.threat.radius, narrower)
        self.support = support
        self.back_to_top(shrunk)

    def advance(self, step: int) -> None:
        """A step along the signs of the largest entries of the gradient.

        Args:
            step: from 0.
        """
        g = self.gradient.flatten(1)
        n = self.support.long().clamp(1, g.shape[1])
        ranked = g.abs().sort(dim=1, descending=True).values
        chosen = g.sign() * (g.abs() >= ranked.gather(1, n[:, None] - 1))
        move = chosen / chosen.abs().sum(1, keepdim=True).clamp_min(1) * self.size[:, None]
        self.x = self.threat.project(self.x + move.view_as(self.x), self.center)


def checkpoints(n_steps: int) -> Iterator[int]:
    """Steps ceil(p_j n) with p = 0, 0.22 and intervals that shrink by 0.03 down to 0.06 (Croce and Hein, 2020).

    Args:
        n_steps: n.

    Returns:
        The steps, increasing; without 0.

    Example:
        >>> list(checkpoints(100))
        [22, 41, 57, 70, 80, 87, 93, 99]
    """
    position = 0.22
    length = 0.22
    while position < 1:
        # Rounded first: 0.41 * 100 is 41.000000000000004 in floating point.
        yield math.ceil(round(position * n_steps, 9))
        length = max(length - 0.03, 0.06)
        position += length
