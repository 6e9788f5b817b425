"""Projected gradient ascent."""

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import Tensor

from cgro._check import bad, count_field, number_field, one_of
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.gradient import GradientAttack, text_of
from cgro.definitions.attacks.passes import image_layout
from cgro.definitions.attacks.trail import Trail
from cgro.definitions.draws import Draws
from cgro.definitions.losses import loss_of_rows


@dataclass(frozen=True)
class PGD(GradientAttack):
    """Projected gradient ascent on the loss (Madry et al., 2018), best iterate kept unless the last one is asked for.

    X_(k+1) = Proj_(ball and box) ( X_k + step_size * direction(grad L(f(X_k), y)) ), from a uniform random point of
    the ball or from X. For p = 1 and 2, where steps of fixed length only creep towards the boundary's optimum, the last
    step is also tried at infinite length, X + argmax <grad, v>: so linear models are solved exactly. Restarts after the
    first go on with the examples that are still right. The result is a lower bound on the robust error: failing to find
    a point proves nothing.

    Args:
        threat: where x_adv may lie.
        loss: increased by the search; see `GradientAttack`.
        precision: of the gradients; see `GradientAttack`.
        n_steps: gradient steps per restart.
        step_size: in units of the input; None means 2.5 * radius / n_steps.
        n_restarts: number of starts.
        random_start: start at a random point of the ball; otherwise at X.
        keep: `best` returns, of all points visited and X, the one of lowest margin. `last` returns the last iterate,
            the point of highest loss that the ascent arrives at: it promises ball and box only, not to be as strong as
            X, and is not tried at infinite length. For losses other than the margin's, as in TRADES.
        start_std: start at Proj(X + start_std * N(0, I)) instead, in units of the input; None means not.

    Raises:
        BadRequest: no steps, no restarts, a negative step, several restarts from the same point or for the last
            iterate.

    Example:
        >>> from cgro.definitions import ThreatModel
        >>> w = torch.tensor([[1.0, -2.0]])
        >>> attack = PGD(ThreatModel(1, 0.2), n_steps=20)
        >>> attack(lambda v: (v * w).sum(1), torch.tensor([[0.5, 0.5]]), torch.tensor([1]))
        tensor([[0.5000, 0.7000]])
    """

    _: KW_ONLY
    n_steps: int
    step_size: float | None = None
    n_restarts: int = 1
    random_start: bool = True
    keep: Literal["best", "last"] = "best"
    start_std: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        count_field(self, "n_steps")
        count_field(self, "n_restarts")
        if self.step_size is not None:
            number_field(self, "step_size", low=0.0)
        one_of(self.keep, "keep", ("best", "last"))
        if self.start_std is not None:
            number_field(self, "start_std", low=0.0)
        if self.n_restarts > 1 and self.keep == "last":
            raise bad("n_restarts", expected="1 with keep='last'", got=self.n_restarts, remedy="keep the best")
        if self.n_restarts > 1 and self.start_std == 0:
            remedy = "leave start_std out, or raise it"
            raise bad("n_restarts", expected="1 with start_std=0", got=self.n_restarts, remedy=remedy)
        if self.n_restarts > 1 and not self.random_start:
            raise bad("n_restarts", expected="1 without a random start", got=self.n_restarts, remedy="set random_start")

    def __repr__(self) -> str:
        """Every parameter; `keep` and `start_std` where they are not the defaults: results store this text."""
        return text_of(self, ("keep", "start_std"))

    @property
    def step(self) -> float:
        """The step size in force, in units of the input."""
        if self.step_size is None:
            return 2.5 * self.threat.radius / self.n_steps
        return float(self.step_size)

    @property
    def name(self) -> str:
        """pgdK or pgdKxR."""
        if self.n_restarts > 1:
            return f"pgd{self.n_steps}x{self.n_restarts}"
        return f"pgd{self.n_steps}"

    @property
    def n_gradients(self) -> int:
        """One per step and restart."""
        return self.n_steps * self.n_restarts

    @property
    def keeps_clean(self) -> bool:
        """Not where the last iterate is asked for."""
        return self.keep == "best"

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Run all restarts. Those after the first go on with the examples that are still correctly classified.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams, for the starts.
        """
        for restart in range(self.n_restarts):
            part = evaluator.remaining(first=restart == 0)
            if not len(part.x):
                return
            own = draws.rows(part.rows)
            start = self._start(part.x, own)
            draws.position = own.position
            self._ascend(part, start, restart * (self.n_steps + 1))

    def _start(self, x: Tensor, draws: Draws) -> Tensor:
        if self.start_std is not None:
            noise = self.start_std * draws.normal(x[0].numel()).to(x).view_as(x)
            return self.threat.project(x + noise, x)
        if self.random_start:
            return self.threat.sample(x, draws)
        return x

    def _ascend(self, evaluator: Evaluator, start: Tensor, clock: int) -> None:
        """One restart. `clock` is the number of its first step, counted over all restarts."""
        x = image_layout(evaluator.x, evaluator.model)
        current = image_layout(start, evaluator.model)
        trail = None
        if self.keep == "best":
            trail = Trail(current, evaluator.y, first=clock, n=self.n_steps + 1)
            current = trail.place().copy_(current)
        loss = loss_of_rows(self.objective, evaluator.rows)
        gradient = current
        direction = None
        for _ in range(self.n_steps):
            outputs, gradient = evaluator.gradient(current, loss)
            evaluator.watch.see_gradient(gradient)
            direction = self.threat.direction(gradient, out=direction)
            moved = torch.add(current, direction, alpha=self.step, out=direction)
            place = None
            if trail is not None:
                trail.add(outputs)
                place = trail.place()
            current = self.threat.project(moved, x, out=place)
        end = clock + self.n_steps
        last = evaluator.margins(current)
        if trail is None:
            evaluator.best.replace(current, last, end, evaluator.rows, among=evaluator.active)
            return
        # The last iterate first: it is the strongest as a rule, and was evaluated in float32 in any case. The others
        # are candidates only where they may be lower, which saves a pass where outputs are not certain.
        found = trail.candidates()
        first_wrong = torch.where(found.step < 0, end, found.step)
        evaluator.best.update(current, last, evaluator.rows, first_wrong, among=evaluator.active)
        evaluator.settle(found, end, below=last)
        vertex = self.farthest(x, gradient)
        if vertex is not None:
            evaluator.update(vertex, end)
