"""The supports of the soft indicators of Theorem 4.4: where each memorized point is remembered, and how much.

    ind_k(X) = ReLU(1 - z_k(X) / gap_k),     z_k(X) >= 0 the excess of ‖X - x_k‖_p over `inner`,

is 1 on B_p(x_k, inner) and 0 outside the support B_p(x_k, inner + ramp_k). This file evaluates it in structured form,
on the points in reach only, which is exact; `indicators` has the same function as ReLU layers.
"""

import math

import numpy as np
import torch
from torch import Tensor

from cgro._check import number
from cgro.bounds import enclosing_box
from cgro.definitions.threat import ThreatModel
from cgro.representation.indicators import Balls
from cgro.representation.neighbors import Neighbors
from cgro.representation.points import TrainingPoints
from cgro.representation.sawtooth import sawtooth_error, sawtooth_excess

SLACK = 1e-6
"""inner = radius (1 + SLACK): float32 points of the ball overshoot it by 6e-8 per coordinate."""

ROUNDED_DOWN = 1 - 2.0**-40
"""Factor on ramps, so that the exact inequality of certificate A survives their own rounding."""

LEAST_DEPTH = 2
"""Terms of the sawtooth that are always there (p = 2)."""


class Supports:
    """The supports of the memorized points of a training set.

    Args:
        points: the training set.
        memorized: (M,) positions of the memorized points.
        threat: norm, radius and box.
        nearest: (N,) distance of every training point to the nearest one of another class.
        ramp: width on which an indicator falls to 0; None takes per point what keeps the balls of other classes free,
            ramp_k = min(d_k - radius - inner, radius), d_k = nearest[k].

    Attributes:
        inner: radius on which an indicator is 1.
        ramp: (M,) widths.
        gap: (M,) excess at which an indicator reaches 0: the ramp itself for p = 1 and inf.
        low, high: range of the inputs: the box, or without one the coordinates that some support reaches.
        unbounded: whether inputs may lie outside of it, where every indicator is 0.
        depth: terms of the sawtooth for p = 2, else 0.

    Raises:
        BadRequest: a ramp that is not positive.
    """

    def __init__(
        self, points: TrainingPoints, memorized: Tensor, threat: ThreatModel, nearest: np.ndarray, ramp: float | None
    ) -> None:
        self.points = points
        self.memorized = memorized
        self.p = threat.p
        self.inner = threat.radius * (1 + SLACK)
        if ramp is None:
            room = np.minimum(nearest[memorized.numpy()] - threat.radius - self.inner, threat.radius)
            self.ramp = torch.from_numpy(room) * ROUNDED_DOWN
        else:
            width = number(ramp, "ramp", low=1e-12)
            self.ramp = torch.full((len(memorized),), width, dtype=torch.float64)
        self.unbounded = threat.box is None
        if threat.box is None:
            # A coordinate outside is alone farther from every point than its support reaches: all indicators are 0.
            least, largest = points.range
            widest = float(self.reach.max()) if len(memorized) else self.inner
            beyond = widest * (1 + SLACK)
            self.low, self.high = least - beyond, largest + beyond
        else:
            self.low, self.high = threat.box
        self.depth = 0
        self.gap = self.ramp
        if self.p == 2:
            # The squared distance has (inner + ramp)^2 - inner^2 for the ramp; the sawtooth may use half of the least.
            shell = (self.inner + self.ramp) ** 2 - self.inner**2
            self.depth = LEAST_DEPTH
            while len(shell) and self._error_of_squares() > 0.5 * float(shell.min()):
                self.depth += 1
            self.gap = (shell - self._error_of_squares()) * ROUNDED_DOWN
        self._neighbors = Neighbors(self.centers(torch.arange(len(self))).float(), self.p)

    def _error_of_squares(self) -> float:
        return sawtooth_error(self.points.dim, self.low, self.high, self.depth)

    def __len__(self) -> int:
        """M, the number of memorized points."""
        return len(self.memorized)

    @property
    def reach(self) -> Tensor:
        """(M,) radius of each support: outside it the indicator is 0."""
        return self.inner + self.ramp

    @property
    def threshold(self) -> float:
        """For p = 2 the threshold t of the squared distance: inner^2 plus the error of the squares."""
        return self.inner**2 + self._error_of_squares()

    def centers(self, kept: Tensor) -> Tensor:
        """Return memorized points.

        Args:
            kept: (n,) in 0 .. M - 1.

        Returns:
            (n, D) float64.
        """
        return self.points.at(self.memorized[kept])

    def balls(self) -> Balls:
        """Collect what the indicator layers are made from.

        Returns:
            All centers with their radii.
        """
        centers = self.centers(torch.arange(len(self)))
        return Balls(centers, self.inner, self.gap, self.low, self.high, self.depth, self.unbounded)

    def cover(self, x: Tensor, threat: ThreatModel) -> Tensor:
        """Find the balls on which the written-out layers are the network, and |f_clean| keeps to its scale.

        Args:
            x: (B, D) centers.
            threat: ball and box, which may be another than the one that the supports were made for.

        Returns:
            (B,) bool: the ball, cut at its box, lies in [low, high].
        """
        least, largest = enclosing_box(x, threat)
        return ((least >= self.low) & (largest <= self.high)).all(1)

    def near(self, x: Tensor, margin: float = 0.0) -> tuple[Tensor, Tensor]:
        """Find the active set: which supports can meet the ball of radius `margin` about each input.

        Args:
            x: (B, *S) inputs.
            margin: radius of the balls; 0 asks about the inputs themselves.

        Returns:
            Pairs (row of x, memorized point), which hold every one with distance < margin + reach. All other
            indicators are 0 on the whole ball.
        """
        rows, kept = self._neighbors.within(x, self.reach.numpy() + margin)
        return torch.from_numpy(rows), torch.from_numpy(kept)

    def distance(self, x: Tensor, kept: Tensor) -> Tensor:
        """Measure the distance of inputs to memorized points.

        Args:
            x: (n, D) inputs, float64.
            kept: (n,) a memorized point for each.

        Returns:
            (n,) ‖x_j - center_j‖_p.
        """
        return torch.linalg.vector_norm(x - self.centers(kept), ord=self.p, dim=1)

    def excess(self, x: Tensor, rows: Tensor, kept: Tensor) -> Tensor:
        """Evaluate z on pairs of an input and a memorized point; differentiable in x.

        p = inf: sum_j ReLU(|x_j - x_kj| - inner). p = 1: ReLU(‖x - x_k‖_1 - inner). p = 2: ReLU(‖x - x_k‖^2 +
        (q(x') - ‖x'‖^2) - t), q the sawtooth squares and x' = x clamped to [low, high].

        Args:
            x: (B, *S) inputs.
            rows: (n,) row of x of each pair.
            kept: (n,) memorized point of each pair.

        Returns:
            (n,) float64.
        """
        flat = x.flatten(1).double()
        delta = flat[rows] - self.centers(kept)
        if self.p == math.inf:
            return (delta.abs() - self.inner).clamp_min(0).sum(1)
        if self.p == 1:
            return (delta.abs().sum(1) - self.inner).clamp_min(0)
        # Outside of the range the sawtooth is below the square; clamped it adds to the distance, everywhere.
        squares = sawtooth_excess(flat.clamp(self.low, self.high), self.low, self.high, self.depth)
        return ((delta**2).sum(1) + squares[rows] - self.threshold).clamp_min(0)

    def least_excess(self, x: Tensor, kept: Tensor, radius: float) -> Tensor:
        """Evaluate zmin, the least excess over a ball about each input.

        p = inf: sum_j ReLU(|x_j - x_kj| - radius - inner). p = 1: ReLU(‖x - x_k‖_1 - radius - inner).
        p = 2: ReLU((‖x - x_k‖_2 - radius)_+^2 - t).

        Args:
            x: (n, D) centers of the balls, float64.
            kept: (n,) a memorized point for each.
            radius: of the balls.

        Returns:
            (n,) float64.
        """
        delta = (x - self.centers(kept)).abs()
        if self.p == math.inf:
            return (delta - radius - self.inner).clamp_min(0).sum(1)
        if self.p == 1:
            return (delta.sum(1) - radius - self.inner).clamp_min(0)
        distance = (delta**2).sum(1).sqrt()
        return ((distance - radius).clamp_min(0) ** 2 - self.threshold).clamp_min(0)

    def largest_own_excess(self, radius: float) -> float:
        """Bound the excess of every memorized point over the ball of a radius about itself.

        Args:
            radius: of the balls.

        Returns:
            0 up to `inner`; p = inf: D (radius - inner); p = 1: radius - inner; p = 2: radius^2 - inner^2, since the
            threshold already contains the error of the squares.
        """
        if self.p == 2:
            return max(0.0, radius**2 - self.inner**2)
        beyond = max(0.0, radius - self.inner)
        return beyond * self.points.dim if self.p == math.inf else beyond

    def values(self, x: Tensor, rows: Tensor, kept: Tensor) -> Tensor:
        """Evaluate the soft indicators on pairs, ReLU(1 - z / gap); differentiable in x.

        Args:
            x: (B, *S) inputs.
            rows: (n,) row of x of each pair.
            kept: (n,) memorized point of each pair.

        Returns:
            (n,) float64.
        """
        return (1 - self.excess(x, rows, kept) / self.gap[kept]).clamp_min(0)
