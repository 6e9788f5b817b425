"""Auto-PGD: gradient ascent whose step adapts to each example (Croce and Hein, ICML 2020 and ICML 2021)."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from cgro._check import bad, count_field
from cgro.definitions.attacks.ascents import Ascent, Halving, Sparse
from cgro.definitions.attacks.best import Best
from cgro.definitions.attacks.dropping import rows_at_once
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.gradient import GradientAttack
from cgro.definitions.attacks.passes import evaluated_outputs, image_layout
from cgro.definitions.draws import Draws
from cgro.definitions.losses import Loss, margin, most_likely_others, targeted_dlr
from cgro.definitions.threat import ThreatModel

TargetLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(outputs, y, targets) -> (B,)."""

RADII = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""p = 1: (factor of the radius, share of the steps), from wide to narrow. Croce and Hein (2021), Section 3.4."""
N_TARGETS = 9
"""Most likely wrong classes that APGD-T tries. Croce and Hein (2020), as in AutoAttack's standard version."""
CHUNK = 10
"""Steps of an evaluation on a GPU between two looks at which examples are wrong. Affects speed only; no source."""
COMPACT_SHARE = 0.125
"""The batch is cut to the examples that are right when this share of it is wrong. Affects speed only; no source."""


@dataclass(frozen=True)
class APGD(GradientAttack):
    """Auto-PGD: no step size to choose; the budget of steps alone decides when to explore and when to refine.

    For p = 2 and inf as Croce and Hein (ICML 2020), for p = 1 as "Mind the box" (ICML 2021): sparse steps, exact
    projection, and a radius that shrinks from 3 to 1 times the one asked for (points beyond it are not counted).
    With its default loss this is APGD-CE, with loss="dlr" APGD-DLR. What it does not find may still exist.

    Args:
        threat: where x_adv may lie.
        loss: increased by the search; see `GradientAttack`.
        precision: of the gradients; see `GradientAttack`.
        n_steps: gradient steps per restart.
        n_restarts: random starts; those after the first go on with the examples that are still correctly classified.

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
        count_field(self, "n_steps")
        count_field(self, "n_restarts")

    @property
    def name(self) -> str:
        """apgd, with the loss and the restarts where they are not the usual ones."""
        name = "apgd"
        if isinstance(self.loss, str):
            name += f"-{self.loss}"
        elif self.loss is not None:
            name += "-custom"
        if self.n_restarts > 1:
            name += f"x{self.n_restarts}"
        return name

    @property
    def n_gradients(self) -> int:
        """One per step and one at the last iterate, of each radius (three for p = 1) in each start."""
        return (self.n_steps + len(self._stages)) * self.n_starts

    @property
    def n_starts(self) -> int:
        """Ascents of an example that stands."""
        return self.n_restarts

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Run all restarts.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams, for the starts.
        """
        targets = evaluator.y[:, None].expand(-1, self.n_restarts)
        self.restarts(evaluator, draws, _Untargeted(self.objective), targets)

    def restarts(self, evaluator: Evaluator, draws: Draws, loss: TargetLoss, targets: Tensor) -> None:
        """All starts: the first alone, which breaks most of what can be broken, then as many at a time as pays.

        Side by side, an example has one row per start, and those behind a wrong one are left alone. Starts are drawn in
        the same order as one by one, visit the same points and give the same result, whatever fits into a batch. Only
        in an evaluation: training asks for the lowest margin.

        An evaluation whose search only proposes ends with the same starts by the network itself on examples so close to
        the boundary that the search cannot tell on which side the best point lies.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams, for the starts.
            loss: (outputs, y, targets) -> (B,), increased by the search.
            targets: (B, R) wrong classes of R starts, or anything that the loss takes for them.
        """
        begun = draws.copy()
        self._starts(evaluator, draws, loss, targets, 0)
        closer = evaluator.too_close_to_tell()
        if closer is None:
            return
        part, rows = closer
        with part.searching():
            self._starts(part, begun.rows(rows), loss, targets[rows], targets.shape[1])
        evaluator.best.update(part.best.x, part.best.margins, rows, part.best.step)

    def _starts(self, evaluator: Evaluator, draws: Draws, loss: TargetLoss, targets: Tensor, n_before: int) -> None:
        """The starts, by what the evaluator proposes with. `n_before` starts were made before these."""
        n = targets.shape[1]
        self.restart(evaluator, draws, n_before, loss, targets[:, 0])
        limit = rows_at_once(evaluator.x.device)
        number = 1
        while number < n:
            part = evaluator.remaining(first=False)
            if not len(part.x):
                return
            at_once = min(n - number, max(1, limit // len(part.x)))
            if at_once == 1 or not evaluator.best.until_wrong:
                self.restart(evaluator, draws, n_before + number, loss, targets[:, number])
                number += 1
                continue
            own = draws.rows(part.rows)
            theirs = targets[:, number : number + at_once]
            if part.rows is not None:
                theirs = theirs[part.rows]
            beside = part.side_by_side(at_once)
            center = image_layout(beside.x, beside.model)
            starts = [self._start(image_layout(part.x, part.model), own) for _ in range(at_once)]
            start = torch.stack(starts, 1).flatten(0, 1)
            draws.position = own.position
            numbers = n_before + torch.arange(number, number + at_once, device=center.device).repeat(len(part.x))
            self._climb(beside, center, start, loss, theirs.flatten(), numbers * (self.n_steps + 1))
            part.take_from(beside)
            number += at_once

    def restart(self, evaluator: Evaluator, draws: Draws, number: int, loss: TargetLoss, targets: Tensor) -> None:
        """One start, on the examples that it works on.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams, for the start.
            number: of the restart, from 0.
            loss: (outputs, y, targets) -> (B,), increased by the search.
            targets: (B,) wrong classes, or anything that the loss takes for them.
        """
        part = evaluator.remaining(first=number == 0)
        if not len(part.x):
            return
        own = draws.rows(part.rows)
        if part.rows is not None:
            targets = targets[part.rows]
        center = image_layout(part.x, part.model)
        start = self._start(center, own)
        draws.position = own.position
        self._climb(part, center, start, loss, targets, number * (self.n_steps + 1))

    @property
    def _stages(self) -> tuple[tuple[float, float], ...]:
        if self.threat.p == 1:
            return RADII
        return ((1.0, 1.0),)

    def _start(self, center: Tensor, draws: Draws) -> Tensor:
        return self.threat.at(self._stages[0][0] * self.threat.radius).sample(center, draws)

    def _climb(
        self, part: Evaluator, center: Tensor, start: Tensor, loss: TargetLoss, targets: Tensor, clock: int | Tensor
    ) -> None:
        """Ascend from one start per row, through all radii. `clock` is the number of the first step."""
        done = 0
        share_until = 0.0
        for factor, share in self._stages:
            share_until += share
            until = round(self.n_steps * share_until)
            threat = self.threat.at(factor * self.threat.radius)
            climb = _Climb(self, part, threat, loss, counts=factor == 1)
            start = climb.run(center, targets, threat.project(start, center), until - done, clock + done)
            done = until


@dataclass(frozen=True)
class _Untargeted:
    """A loss of outputs and labels, where one of outputs, labels and targets is asked for."""

    objective: Loss

    def __call__(self, outputs: Tensor, y: Tensor, targets: Tensor) -> Tensor:
        return self.objective(outputs, y)


@dataclass(frozen=True)
class _Climb:
    """One ascent at one radius. Unless it `counts`, its points only lead to the next radius."""

    attack: APGD
    evaluator: Evaluator
    threat: ThreatModel
    loss: TargetLoss
    counts: bool

    def run(self, center: Tensor, targets: Tensor, start: Tensor, n_steps: int, clock: int | Tensor) -> Tensor:
        """Ascend from `start`, propose every iterate, and return the points of highest loss.

        Where it counts, examples that are wrong are left out on the way, so that its points are those of the others.
        """
        kind = Halving
        if self.threat.p == 1:
            kind = Sparse
        ascent = kind(self.threat, center, start, n_steps)
        active = self.evaluator
        candidates = Best.nothing(ascent.x)
        for step in range(n_steps + 1):
            outputs, gradient = self._gradient(active, ascent.x, targets)
            active.watch.see_gradient(gradient)
            if self.counts:
                self._propose(active, candidates, ascent.x, outputs, clock + step)
            ascent.observe(self.loss(outputs, active.y, targets).detach(), gradient)
            if step == n_steps:
                break
            ascent.review(step)
            ascent.advance(step)
            stays = self._still_correct(active, candidates, step)
            if stays is not None:
                active = active.part(stays)
                targets, candidates = targets[stays], candidates.rows(stays)
                if isinstance(clock, Tensor):
                    clock = clock[stays]
                ascent.keep(stays)
                if not len(stays):
                    return ascent.top_x
        if self.counts:
            self._finish(candidates, active, ascent, clock + n_steps)
        return ascent.top_x

    def _gradient(self, active: Evaluator, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.loss, _Untargeted):
            return active.gradient(x, self.loss.objective)  # by itself, as the gradient of the usual one is known
        return active.gradient(x, lambda outputs, y: self.loss(outputs, y, targets))

    def _propose(self, active: Evaluator, candidates: Best, x: Tensor, outputs: Tensor, step: int | Tensor) -> None:
        """Where outputs are not certain, the lowest iterates are remembered, and looked at if in doubt."""
        if active.is_certain:
            active.propose(x, outputs, step)
            return
        margins = margin(outputs, active.y)
        # An iterate that is no lower than one before it says nothing new: most are not, near the boundary.
        active.propose(x, outputs, step, among=margins < candidates.margins)
        candidates.update(x, margins, step=step)

    def _still_correct(self, active: Evaluator, candidates: Best, step: int) -> Tensor | None:
        """Which examples to go on with, once enough of them are wrong; None for all."""
        if not self.counts or not active.best.until_wrong:
            return None
        if active.dropping != "exact":
            if (step + 1) % CHUNK:
                return None
            if not active.is_certain:
                active.settle(candidates, step)
        return active.shrunk(most=1 - COMPACT_SHARE)

    def _finish(self, candidates: Best, active: Evaluator, ascent: Ascent, step: int | Tensor) -> None:
        """Evaluate what was only proposed, and the step of infinite length."""
        if not active.is_certain:
            active.settle(candidates, step)
        vertex = self.attack.farthest(ascent.center, ascent.top_gradient)
        if vertex is not None:
            active.update(vertex, step)


@dataclass(frozen=True)
class TargetedAPGD(APGD):
    """APGD-T: APGD on the targeted DLR loss, one restart for each of the most likely wrong classes.

    For two classes and (B,) scores there is one target and the loss is the negative margin (see `losses.dlr`).

    Args:
        threat: where x_adv may lie.
        loss: None, its own.
        precision: of the gradients; see `GradientAttack`.
        n_steps: gradient steps per target.
        n_restarts: 1, one start per target.
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
            count_field(self, "n_targets")
        if self.loss is not None:
            raise bad("loss", expected="none for APGD-T, which has its own", got=self.loss, remedy="leave it out")
        if self.n_restarts != 1:
            raise bad("n_restarts", expected="1 for APGD-T, a start per target", got=self.n_restarts)

    @property
    def name(self) -> str:
        """apgd-t, with the number of targets if one was asked for."""
        if self.n_targets is None:
            return "apgd-t"
        return f"apgd-tx{self.n_targets}"

    @property
    def n_starts(self) -> int:
        """One per target; where all wrong classes are tried, nine."""
        if self.n_targets is None:
            return N_TARGETS
        return self.n_targets

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Try all targets, the most likely wrong class first.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams, for the starts.

        Raises:
            BadRequest: more targets than wrong classes, a gradient that is not finite.
        """
        outputs = evaluated_outputs(evaluator.model, evaluator.x)
        n_wrong = 1
        if outputs.ndim == 2:
            n_wrong = outputs.shape[1] - 1
        n = min(N_TARGETS, n_wrong) if self.n_targets is None else self.n_targets
        if n > n_wrong:
            raise bad("n_targets", expected=f"at most the {n_wrong} wrong classes", got=n)
        self.restarts(evaluator, draws, targeted_dlr, most_likely_others(outputs, evaluator.y, n))
