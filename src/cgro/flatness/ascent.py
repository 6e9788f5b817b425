"""The search for the highest loss and the steepest point around each example of a batch, from radius to radius."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro._check import count_field
from cgro.definitions import Draws, Loss, Model, ThreatModel
from cgro.definitions.attacks import loss_gradient, per_example, require_finite

FIRST_STEP, MOMENTUM = 0.5, 0.5
WIDEST, NARROWEST = 1.0, 0.02
"""Of the ascent, in units of the radius: first step, and the distance of the two points whose gradients are compared,
from the first step to the last. Chosen on an MNIST LeNet and a CIFAR-10 PreActResNet (docs/flatness.md); no theory."""


@dataclass(frozen=True)
class Search:
    """How long to look, per radius and restart.

    Args:
        n_steps: of ascent on the gradient's norm, two gradients each.
        n_loss_steps: of ascent on the loss, one gradient each.
        n_restarts: the first starts where the smaller radius ended, the others at random points of the ball.

    Raises:
        BadRequest: a count below 1.

    Example:
        >>> Search().passes
        53
    """

    n_steps: int = 20
    n_loss_steps: int = 10
    n_restarts: int = 1

    def __post_init__(self) -> None:
        count_field(self, "n_steps")
        count_field(self, "n_loss_steps")
        count_field(self, "n_restarts")

    @property
    def passes(self) -> int:
        """Forward and backward passes for one example at one radius (one more for p = 1 and 2)."""
        return self.n_restarts * ((self.n_loss_steps + 1) + (2 * self.n_steps + 2))


class _Peak:
    """The highest value seen so far and its point, per example."""

    def __init__(self, x: Tensor, value: Tensor) -> None:
        self.x = x
        self.value = value

    def update(self, x: Tensor, value: Tensor) -> None:
        higher = value > self.value
        self.x = torch.where(per_example(higher, x), x, self.x)
        self.value = torch.where(higher, value, self.value)


class LossOf:
    """x -> L(f(x), y) of one batch and its gradient; remembers whether everything was finite.

    Args:
        model: (B, *S) -> (B, C) logits or (B,) scores.
        loss: (outputs, y) -> (B,), one number per example.
        y: (B,) labels.
    """

    def __init__(self, model: Model, loss: Loss, y: Tensor) -> None:
        self.model = model
        self.loss = loss
        self.y = y
        self.finite = torch.ones((), dtype=torch.bool, device=y.device)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (B,) and gradient (B, *S)."""
        outputs, gradient = loss_gradient(self.model, x, self.y, self.loss)
        value = self.loss(outputs, self.y)
        self.finite = self.finite & torch.isfinite(gradient).all() & torch.isfinite(value).all()
        return value, gradient


class Ascent:
    """The search on one batch: ascent on the loss, then on its gradient's norm.

    Args:
        loss: of the batch, with its gradient.
        x: (B, *S) the examples, in the box.
        threat: norm and box; its radius is not used.
        search: how long to look.
        draws: random numbers of the examples, for restarts.
    """

    clean: Tensor
    """(B,) the loss at x."""
    slope: Tensor
    """(B,) the dual norm of its gradient there."""

    def __init__(self, loss: LossOf, x: Tensor, threat: ThreatModel, search: Search, draws: Draws) -> None:
        self.loss_at = loss
        self.x = x
        self.threat = threat
        self.search = search
        self.draws = draws
        self.clean, gradient = loss(x)
        self.slope = threat.dual_norm(gradient)
        self.highest_loss = _Peak(x, self.clean)
        self.steepest = _Peak(x, self.slope)

    def over_radii(self, radii: tuple[float, ...]) -> tuple[Tensor, Tensor]:
        """Search one ball after the other, each from where the last one ended.

        Args:
            radii: R of them, increasing; at 0 the point itself is all there is.

        Returns:
            The largest gradient norm and the largest rise of the loss, (B, R) each.

        Raises:
            BadRequest: a loss or gradient that is not finite.
        """
        gradient, rise = [], []
        before = 0.0
        for radius in radii:
            if radius > 0:
                self._search_ball(self.threat.at(radius), before)
                before = radius
            require_finite(self.loss_at.finite)
            gradient.append(self.steepest.value)
            rise.append(self.highest_loss.value - self.clean)
        return torch.stack(gradient, 1), torch.stack(rise, 1)

    def _evaluate(self, x: Tensor, threat: ThreatModel) -> Tensor:
        """Update both peaks by a point of ball and box; return its gradient."""
        value, gradient = self.loss_at(x)
        self.highest_loss.update(x, value)
        self.steepest.update(x, threat.dual_norm(gradient))
        return gradient

    def _search_ball(self, threat: ThreatModel, before: float) -> None:
        """All restarts at one radius; `before` is the radius searched last, 0 at first."""
        for restart in range(self.search.n_restarts):
            if restart == 0:
                starts = self._grown(self.highest_loss, threat, before), self._grown(self.steepest, threat, before)
            else:
                starts = (threat.sample(self.x, self.draws),) * 2
            self._ascend_loss(starts[0], threat)
            self._ascend_gradient_norm(starts[1], threat)
        inside = threat.contains(self.highest_loss.x, self.x) & threat.contains(self.steepest.x, self.x)
        assert bool(inside.all()), "the search left ball and box"

    def _grown(self, peak: _Peak, threat: ThreatModel, before: float) -> Tensor:
        """A peak, moved as far out as the ball has grown; the point itself stays on as the value to beat."""
        factor = 1.0
        if before > 0:
            factor = threat.radius / before
        return threat.project(self.x + factor * (peak.x - self.x), self.x)

    def _ascend_loss(self, current: Tensor, threat: ThreatModel) -> None:
        n_steps = self.search.n_loss_steps
        push = torch.zeros_like(current)
        for step in range(n_steps):
            push = MOMENTUM * push + _scaled(self._evaluate(current, threat))
            current = self._moved(current, push, threat, step / n_steps)
        gradient = self._evaluate(current, threat)
        if threat.p != math.inf:  # steps of fixed length creep along these balls; one of infinite length does not
            self._evaluate(threat.project(self.x + threat.steepest(gradient, self.x), self.x), threat)

    def _ascend_gradient_norm(self, current: Tensor, threat: ThreatModel) -> None:
        """Two-point ascent, see `flatness`: the mean of both gradients stands for that at the point between them."""
        n_steps = self.search.n_steps
        mean = self._evaluate(current, threat)
        push = torch.zeros_like(current)
        for step in range(n_steps):
            width = threat.radius * WIDEST * (NARROWEST / WIDEST) ** (step / max(1, n_steps - 1))
            v = threat.steepest(mean, size=width)
            _, ahead = self.loss_at(current + v)
            _, behind = self.loss_at(current - v)
            mean = (ahead + behind) / 2
            push = MOMENTUM * push + _scaled(ahead - behind)
            current = self._moved(current, push, threat, step / n_steps)
        self._evaluate(current, threat)

    def _moved(self, current: Tensor, push: Tensor, threat: ThreatModel, done: float) -> Tensor:
        """One step along `push`, shorter the larger the share `done` of the ascent, back into ball and box."""
        step = FIRST_STEP * (1 - done) * threat.radius
        return threat.project(torch.add(current, threat.direction(push), alpha=step), self.x)


def _scaled(direction: Tensor) -> Tensor:
    """Of unit l_1 norm per example, so that momentum weighs steps equally."""
    total = direction.flatten(1).abs().sum(1).clamp_min(1e-30)
    return direction / per_example(total, direction)
