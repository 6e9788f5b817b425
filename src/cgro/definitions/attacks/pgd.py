"""Projected gradient ascent."""

from dataclasses import KW_ONLY, dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from cgro._check import bad, count, number, one_of
from cgro.definitions.attacks.base import Best
from cgro.definitions.attacks.gradient import GradientAttack, image_layout, loss_gradient, require_finite
from cgro.definitions.attacks.passes import judge, outputs_of
from cgro.definitions.draws import Draws
from cgro.definitions.losses import Model, loss_of_rows, margin


@dataclass(frozen=True)
class PGD(GradientAttack):
    """Projected gradient ascent on the loss (Madry et al., 2018), best iterate kept unless the last one is asked for.

    X_(k+1) = Proj_(ball and box) ( X_k + step_size * direction(grad L(f(X_k), y)) ), from a uniform random point of
    the ball or from X. For p = 1 and 2, where steps of fixed length only creep towards the boundary's optimum, the last
    step is also tried at infinite length, X + argmax <grad, v>: so linear models are solved exactly. Restarts after the
    first go on with the examples that still stand. The result is a lower bound on the robust error: failing to find
    a point proves nothing.

    Args:
        threat: where x_adv may lie.
        n_steps: gradient steps a restart.
        step_size: in units of the input; None means 2.5 * radius / n_steps.
        n_restarts: number of starts.
        random_start: start at a random point of the ball; otherwise at X.
        keep: `best` returns, of all points visited and X, the one of lowest margin. `last` returns the last iterate, the
            point of highest loss that the ascent arrives at: it promises ball and box only, not to be as strong as X, and
            is not tried at infinite length. For losses other than the margin's, as in TRADES.
        start_std: start at Proj(X + start_std * N(0, I)) instead, in units of the input; None means not.

    Raises:
        BadRequest: no steps, no restarts, a negative step, several restarts from the same point or for the last iterate.

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
        count(self.n_steps, "n_steps")
        count(self.n_restarts, "n_restarts")
        if self.step_size is not None:
            number(self.step_size, "step_size", low=0.0)
        one_of(self.keep, "keep", ("best", "last"))
        if self.start_std is not None:
            number(self.start_std, "start_std", low=0.0)
        if self.n_restarts > 1 and self.keep == "last":
            raise bad("n_restarts", expected="1 with keep='last'", got=self.n_restarts, remedy="keep the best")
        if self.n_restarts > 1 and not self.random_start:
            raise bad("n_restarts", expected="1 without a random start", got=self.n_restarts, remedy="set random_start")

    def __repr__(self) -> str:
        """Every parameter; `keep` and `start_std` where they are not the defaults: results store this text."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for f in fields(self):
            if f.name in ("keep", "start_std") and values[f.name] == f.default:
                del values[f.name]
        return f"{type(self).__qualname__}({', '.join(f'{k}={v!r}' for k, v in values.items())})"

    @property
    def step(self) -> float:
        """The step size in force, in units of the input."""
        return 2.5 * self.threat.radius / self.n_steps if self.step_size is None else float(self.step_size)

    @property
    def name(self) -> str:
        """pgdK or pgdKxR."""
        return f"pgd{self.n_steps}" + (f"x{self.n_restarts}" if self.n_restarts > 1 else "")

    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
        """All restarts. Restarts after the first go on with the examples that still stand."""
        for restart in range(self.n_restarts):
            rows = best.active(first=restart == 0)
            if not len(rows):
                return
            whole = len(rows) == len(x)
            part = (x, y) if whole else (x[rows], y[rows])
            own = draws.rows(rows)
            start = self._start(part[0], own)
            draws.position = own.position
            self._ascend(model, start, *part, best, None if whole else rows, restart * (self.n_steps + 1))

    def first_look(self, model: Model, x: Tensor, *, sure: bool) -> tuple[Tensor, Tensor | None]:
        """As of every gradient attack; where the last iterate is asked for, the clean inputs are no candidates."""
        if self.keep == "best":
            return super().first_look(model, x, sure=sure)
        return outputs_of(model, x, bfloat16=self.in_low_precision(model, x)).to(x.dtype), None

    def _start(self, x: Tensor, draws: Draws) -> Tensor:
        if self.start_std is not None:
            noise = self.start_std * draws.normal(x[0].numel()).to(x).view_as(x)
            return self.threat.project(x + noise, x)
        return self.threat.sample(x, draws) if self.random_start else x

    def _ascend(
        self, model: Model, start: Tensor, x: Tensor, y: Tensor, best: Best, rows: Tensor | None, clock: int
    ) -> None:
        x, current = image_layout(x, model), image_layout(start, model)
        crafted = Best(current, torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device))
        loss = loss_of_rows(self.objective, rows)
        gradient, finite = torch.zeros_like(current), torch.ones((), dtype=torch.bool, device=x.device)
        with self.crafting(model, x):
            for step in range(self.n_steps):
                outputs, gradient = loss_gradient(model, current, y, loss)
                if self.keep == "best":
                    crafted.offer(current, margin(outputs, y), None, step)
                finite = finite & torch.isfinite(gradient).all()
                moved = torch.add(current, self.threat.direction(gradient), alpha=self.step)
                current = self.threat.project(moved, x)
        require_finite(finite)
        last = margin(judge(model, current), y)
        if self.keep == "last":
            best.replace(current, last, clock + self.n_steps)
            return
        best.offer(current, last, rows, clock + self.n_steps)
        self._nominated(model, x, y, crafted, last, best, rows, clock)
        if (vertex := self.farthest(self.threat, x, gradient)) is not None:
            best.offer(vertex, margin(judge(model, vertex), y), rows, clock + self.n_steps)

    def _nominated(
        self, model: Model, x: Tensor, y: Tensor, crafted: Best, last: Tensor, best: Best, rows: Tensor | None, clock: int
    ) -> None:  # fmt: skip
        """Offer the lowest of the iterates before the last. bfloat16 margins only nominate it, where it may be lower."""
        if not self.in_low_precision(model, x):
            best.offer(crafted.x, crafted.margins, rows, clock + crafted.step)
            return
        mine = torch.nonzero(crafted.margins < last).squeeze(1)
        if len(mine):
            kept = mine if rows is None else rows[mine]
            best.offer(
                crafted.x[mine], margin(judge(model, crafted.x[mine]), y[mine]), kept, clock + crafted.step[mine]
            )
