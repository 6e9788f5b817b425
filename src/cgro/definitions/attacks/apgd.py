"""Auto-PGD: gradient ascent whose step adapts to each example (Croce and Hein, ICML 2020 and ICML 2021)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from cgro._check import bad, count
from cgro.definitions.attacks.base import Best
from cgro.definitions.attacks.gradient import GradientAttack, image_layout, loss_gradient, require_finite
from cgro.definitions.attacks.passes import judge
from cgro.definitions.draws import Draws
from cgro.definitions.losses import Model, margin, most_likely_others, targeted_dlr
from cgro.definitions.threat import ThreatModel

TargetLoss = Callable[[Tensor, Tensor, Tensor], Tensor]

MOMENTUM = 0.75
"""alpha: share of the new step; the rest is the step before. Croce and Hein (2020), Section 3.1."""
MIN_RISES = 0.75
"""rho: a step size survives if the loss rose in more than this share of the steps. Croce and Hein (2020)."""
SHRINK = 1.5
"""Factor by which step and support shrink for p = 1. Croce and Hein (2021), Section 3.3."""
MIN_STEP = 0.1
"""Smallest step for p = 1, in radii. Croce and Hein (2021)."""
FIRST_SUPPORT = 0.2
"""Share of the coordinates that the first steps move for p = 1. Croce and Hein (2021)."""
RADII = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""p = 1: (factor of the radius, share of the steps), from wide to narrow. Croce and Hein (2021), Section 3.4."""
COMPACT_SHARE = 0.125
"""The batch is cut to the examples that stand when this share of it fell. Affects speed only; no source."""


class _Ascent:
    """Iterates, their loss and gradient, and the best of each, for all examples of a batch at once."""

    def __init__(self, threat: ThreatModel, center: Tensor, start: Tensor) -> None:
        n = len(start)
        self.threat, self.center = threat, center
        self.x = self.before = self.top_x = start
        self.gradient = self.top_gradient = torch.zeros_like(start)
        self.value = self.top_value = torch.full((n,), -math.inf, dtype=start.dtype, device=start.device)
        self.rises = torch.zeros(n, device=start.device)

    def observe(self, value: Tensor, gradient: Tensor) -> None:
        """Loss and gradient at x."""
        self.rises = self.rises + (value > self.value)
        higher = value > self.top_value
        self.value, self.gradient = value, gradient
        self.top_value = torch.where(higher, value, self.top_value)
        self.top_x = torch.where(self.spread(higher), self.x, self.top_x)
        self.top_gradient = torch.where(self.spread(higher), gradient, self.top_gradient)

    def spread(self, values: Tensor) -> Tensor:
        """(B,) -> (B, 1, ..., 1)"""
        return values.view(-1, *[1] * (self.x.ndim - 1))

    def back_to_top(self, rows: Tensor) -> None:
        """Go on from the best iterate, without momentum."""
        mask = self.spread(rows)
        self.x = torch.where(mask, self.top_x, self.x)
        self.before = torch.where(mask, self.top_x, self.before)
        self.gradient = torch.where(mask, self.top_gradient, self.gradient)

    def keep(self, rows: Tensor) -> None:
        """Forget the other examples."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rows])


class _Halving(_Ascent):
    """p = 2, inf: momentum, and a step that is halved at checkpoints where it no longer helps.

    Z = Proj(X_k + size * direction(grad)), X_(k+1) = Proj(X_k + alpha (Z - X_k) + (1 - alpha) (X_k - X_(k-1))).
    At a checkpoint the step is halved, and the search goes on from the best iterate, if the loss rose in fewer than
    a share rho of the steps since the last one, or if neither the step nor the best loss has changed since.
    """

    def __init__(self, threat: ThreatModel, center: Tensor, start: Tensor, n_steps: int) -> None:
        super().__init__(threat, center, start)
        self.size = torch.full_like(self.value, 2 * threat.radius)
        self.halved = torch.ones(len(start), dtype=torch.bool, device=start.device)
        self.last_top = self.top_value
        self.last, self.checkpoints = 0, set(_checkpoints(n_steps))

    def review(self, step: int) -> None:
        if step not in self.checkpoints:
            return
        stuck = ~self.halved & (self.top_value <= self.last_top)
        self.halved = (self.rises < MIN_RISES * (step - self.last)) | stuck
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.back_to_top(self.halved)
        self.last_top, self.last = self.top_value, step
        self.rises = torch.zeros_like(self.rises)

    def advance(self, step: int) -> None:
        z = self.threat.project(self.x + self.spread(self.size) * self.threat.direction(self.gradient), self.center)
        if step > 0:
            mixed = self.x + MOMENTUM * (z - self.x) + (1 - MOMENTUM) * (self.x - self.before)
            z = self.threat.project(mixed, self.center)
        self.x, self.before = z, self.x


class _Sparse(_Ascent):
    """p = 1: steps of l_1 length `size` along the signs of the largest entries of the gradient, as many as `support`.

    Every 4% of the steps the support becomes |{i : (top_x - X)_i != 0}| / 1.5. Where that is at least 95% of the
    last one, the step shrinks by 1.5; elsewhere it is set back to the radius and the search goes on from the best.
    """

    def __init__(self, threat: ThreatModel, center: Tensor, start: Tensor, n_steps: int) -> None:
        super().__init__(threat, center, start)
        self.size = torch.full_like(self.value, threat.radius)
        self.support = torch.full_like(self.value, FIRST_SUPPORT * start[0].numel()).clamp_min(1)
        if threat.radius and bool((start != center).any()):
            self.support = torch.minimum(self.support, self._moved(start)).clamp_min(1)
        self.period = max(1, math.ceil(0.04 * n_steps))

    def _moved(self, x: Tensor) -> Tensor:
        return (x != self.center).flatten(1).sum(1).to(self.value) / SHRINK

    def review(self, step: int) -> None:
        if step == 0 or step % self.period:
            return
        support = self._moved(self.top_x).clamp_min(1)
        shrunk = support < 0.95 * self.support
        narrower = (self.size / SHRINK).clamp_min(MIN_STEP * self.threat.radius)
        self.size = torch.where(shrunk, self.threat.radius, narrower)
        self.support = support
        self.back_to_top(shrunk)

    def advance(self, step: int) -> None:
        g = self.gradient.flatten(1)
        n = self.support.long().clamp(1, g.shape[1])
        ranked = g.abs().sort(dim=1, descending=True).values
        chosen = g.sign() * (g.abs() >= ranked.gather(1, n[:, None] - 1))
        move = chosen / chosen.abs().sum(1, keepdim=True).clamp_min(1) * self.size[:, None]
        self.x = self.threat.project(self.x + move.view_as(self.x), self.center)


def _checkpoints(n_steps: int) -> Iterator[int]:
    """Steps ceil(p_j n) with p = 0, 0.22 and intervals that shrink by 0.03 down to 0.06 (Croce and Hein, 2020).

    >>> list(_checkpoints(100))
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    position, length = 0.22, 0.22
    while position < 1:
        yield math.ceil(round(position * n_steps, 9))
        length = max(length - 0.03, 0.06)
        position += length


@dataclass(frozen=True)
class APGD(GradientAttack):
    """Auto-PGD: no step size to choose; the budget of steps alone decides when to explore and when to refine.

    For p = 2 and inf as Croce and Hein (ICML 2020), for p = 1 as "Mind the box" (ICML 2021): sparse steps, exact
    projection, and a radius that shrinks from 3 to 1 times the one asked for (points beyond it are not counted).
    With its default loss this is APGD-CE, with loss="dlr" APGD-DLR. What it does not find may still exist.

    Args:
        threat: where x_adv may lie.
        n_steps: gradient steps a restart.
        n_restarts: random starts; those after the first go on with the examples that still stand.

    Raises:
        BadRequest: no steps, no restarts, an unknown loss.

    Example:
        >>> from cgro.definitions import ThreatModel
        >>> w = torch.tensor([[1.0, -2.0]])
        >>> attack = APGD(ThreatModel("inf", 0.2))
        >>> attack(lambda v: (v * w).sum(1), torch.tensor([[0.5, 0.5]]), torch.tensor([1]))
        tensor([[0.3000, 0.7000]])
    """

    _: KW_ONLY
    n_steps: int = 100
    n_restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        count(self.n_steps, "n_steps")
        count(self.n_restarts, "n_restarts")

    @property
    def name(self) -> str:
        """apgd, with the loss and the restarts where they are not the usual ones."""
        loss = "" if self.loss is None else f"-{self.loss if isinstance(self.loss, str) else 'custom'}"
        return f"apgd{loss}" + (f"x{self.n_restarts}" if self.n_restarts > 1 else "")

    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
        """All restarts."""
        for restart in range(self.n_restarts):
            self.restart(model, x, y, draws, best, restart, lambda outputs, y, _: self.objective(outputs, y), y)

    def restart(
        self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best, number: int, loss: TargetLoss,
        targets: Tensor,
    ) -> None:  # fmt: skip
        """One start on the examples that it works on; `loss` is (outputs, y, targets) -> (B,)."""
        rows = best.active(first=number == 0)
        if not len(rows):
            return
        own, clock = draws.rows(rows), number * (self.n_steps + 1)
        center, labels = image_layout(x[rows], model), torch.stack([y, targets], 1)[rows]
        stages = RADII if self.threat.p == 1 else ((1.0, 1.0),)
        start = self.threat.at(stages[0][0] * self.threat.radius).sample(center, own)
        draws.position, done = own.position, 0
        for k, (factor, _) in enumerate(stages):
            until = round(self.n_steps * sum(share for _, share in stages[: k + 1]))
            threat = self.threat.at(factor * self.threat.radius)
            climb = _Climb(self, model, threat, best if factor == 1 else None, loss)
            start = climb.run(center, labels, rows, threat.project(start, center), until - done, clock + done)
            done = until


@dataclass(frozen=True)
class _Climb:
    """One ascent at one radius. Without `best` its points only lead to the next radius."""

    attack: APGD
    model: Model
    threat: ThreatModel
    best: Best | None
    loss: TargetLoss

    def run(self, center: Tensor, labels: Tensor, rows: Tensor, start: Tensor, n_steps: int, clock: int) -> Tensor:
        """Ascend from `start`, offer every iterate, and return the points of highest loss."""
        kind = _Sparse if self.threat.p == 1 else _Halving
        ascent = kind(self.threat, center, start, n_steps)
        here, reached = torch.arange(len(rows), device=rows.device), ascent.x.clone()
        nominees = Best(ascent.x, torch.full_like(ascent.value, math.inf))
        finite = torch.ones((), dtype=torch.bool, device=rows.device)
        low = self.attack.in_low_precision(self.model, center)
        with self.attack.crafting(self.model, center):
            for step in range(n_steps + 1):
                outputs, gradient = self._gradient(ascent.x, labels[here])
                finite = finite & torch.isfinite(gradient).all()
                self._offer(ascent.x, outputs, labels[here, 0], rows[here], clock + step)
                if low:
                    nominees.offer(ascent.x, margin(outputs, labels[here, 0]), here, clock + step)
                ascent.observe(self.loss(outputs, *labels[here].unbind(1)).detach(), gradient)
                if step == n_steps:
                    break
                ascent.review(step)
                ascent.advance(step)
                if (stays := self._standing(rows[here])) is not None:
                    reached[here], here = ascent.top_x, here[stays]
                    ascent.keep(stays)
                    if not len(here):
                        break
        require_finite(finite)
        reached[here] = ascent.top_x
        self._finish(center, labels[:, 0], rows, nominees, here, ascent.top_gradient, clock + n_steps)
        return reached

    def _gradient(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        y, targets = labels.unbind(1)
        return loss_gradient(self.model, x, y, lambda outputs, y: self.loss(outputs, y, targets))

    def _offer(self, x: Tensor, outputs: Tensor, y: Tensor, rows: Tensor, step: int) -> None:
        if self.best is not None:
            self.attack.admit(self.model, x, y, outputs, self.best, rows, step)

    def _standing(self, rows: Tensor) -> Tensor | None:
        """Which rows to go on with, once enough of them fell; None for all."""
        if self.best is None or not self.best.until_wrong:
            return None
        stands = self.best.margins[rows] > 0
        return stands if int(stands.sum()) <= (1 - COMPACT_SHARE) * len(rows) else None

    def _finish(
        self, center: Tensor, y: Tensor, rows: Tensor, nominees: Best, here: Tensor, gradient: Tensor, step: int
    ) -> None:
        """Judge what bfloat16 nominated, and the step of infinite length."""
        if self.best is None:
            return
        if self.attack.in_low_precision(self.model, center):
            self.best.offer(nominees.x, margin(judge(self.model, nominees.x), y), rows, nominees.step)
        if len(here) and (candidate := self.attack.farthest(self.threat, center[here], gradient)) is not None:
            self.best.offer(candidate, margin(judge(self.model, candidate), y[here]), rows[here], step)


@dataclass(frozen=True)
class TargetedAPGD(APGD):
    """APGD-T: APGD on the targeted DLR loss, one restart for each of the most likely wrong classes.

    For two classes and (B,) scores there is one target and the loss is the negative margin (see `losses.dlr`).

    Args:
        n_targets: classes tried, most likely first on the clean input; None means 9, or all if there are fewer.

    Raises:
        BadRequest: more targets than wrong classes, a loss or restarts of its own.

    Example:
        >>> from cgro.definitions import ThreatModel
        >>> model = lambda v: torch.stack([v[:, 0], v[:, 1], 0 * v[:, 0]], 1)
        >>> TargetedAPGD(ThreatModel("inf", 0.2))(model, torch.tensor([[0.6, 0.5]]), torch.tensor([0]))
        tensor([[0.4000, 0.7000]])
    """

    _: KW_ONLY
    n_targets: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_targets is not None:
            count(self.n_targets, "n_targets")
        if self.loss is not None or self.n_restarts != 1:
            raise bad("APGD-T", expected="its own loss and a restart a target", got=(self.loss, self.n_restarts))

    @property
    def name(self) -> str:
        """apgd-t."""
        return "apgd-t" + ("" if self.n_targets is None else f"x{self.n_targets}")

    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
        """All targets."""
        outputs = judge(model, x)
        n_wrong = outputs.shape[1] - 1 if outputs.ndim == 2 else 1
        n = min(9, n_wrong) if self.n_targets is None else self.n_targets
        if n > n_wrong:
            raise bad("n_targets", expected=f"at most the {n_wrong} wrong classes", got=n)
        targets = most_likely_others(outputs, y, n)
        for k in range(n):
            self.restart(model, x, y, draws, best, k, targeted_dlr, targets[:, k])
