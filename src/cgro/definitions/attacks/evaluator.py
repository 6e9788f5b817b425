"""What a search may ask of a network: bfloat16 proposes, float32 decides."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cgro._check import bad
from cgro.definitions.attacks.best import Best
from cgro.definitions.attacks.passes import evaluated_outputs, first_pass, image_layout, loss_gradient, outputs_of
from cgro.definitions.attacks.precision import INNER_LAYERS, Precision, rounding_margin, uses_bfloat16
from cgro.definitions.losses import Loss, Model, check_labels, default_loss, margin


@dataclass(frozen=True)
class Evaluator:
    """A network and a batch of examples, as a search sees them, and the best points found so far.

    A simple attack needs two methods: `gradient`, to move, and `update`, which evaluates points in float32 and keeps
    those of lowest margin. `gradient` and `outputs` may run in bfloat16, so their outputs say nothing certain. A search
    that does not want to pay a second pass per step calls `propose` with them instead of `update`, and `settle` once
    at its end; both do the right thing in either precision.

    Args:
        model: (B, *S) -> (B, C) or (B,). It may be called on any number of examples.
        x: (B, *S) clean inputs, the centers of the balls.
        y: (B,) labels.
        best: of the whole batch; the result of the search.
        bfloat16: whether `gradient` and `outputs` run in bfloat16.
        rows: (B,) int64, positions of these examples in `best`; None means that they are all of them.

    Example:
        >>> x, y = torch.tensor([[0.5], [0.9]]), torch.tensor([1, 1])
        >>> evaluator = Evaluator.begin(lambda v: v[:, 0] - 0.4, x, y)
        >>> evaluator.update(x - 0.2)
        >>> evaluator.best.margins, evaluator.best.correct()
        (tensor([-0.1000,  0.3000]), tensor([1]))
    """

    model: Model
    x: Tensor
    y: Tensor
    best: Best
    bfloat16: bool = False
    rows: Tensor | None = None
    lowest_clean: Tensor | None = None

    @classmethod
    def begin(
        cls,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        precision: Precision = "float32",
        until_wrong: bool = False,
        certain: bool = True,
        keep_clean: bool = True,
    ) -> "Evaluator":
        """Take the first pass of a search, on the clean inputs.

        Args:
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) clean inputs.
            y: (B,) labels.
            precision: of `gradient` and `outputs`.
            until_wrong: see `Best`.
            certain: evaluate the clean inputs in float32 at once. Otherwise, where the search runs in bfloat16, they
                are looked at in bfloat16, and evaluated by `finish` where that still matters after the search.
            keep_clean: whether a clean input counts as a point that the search found.

        Returns:
            An evaluator whose best points are the clean inputs.

        Raises:
            BadRequest: labels that do not fit the outputs, outputs that are not finite or no tensor.
        """
        bfloat16 = uses_bfloat16(precision, model, x)
        quick = bfloat16 and not certain
        laid_out = image_layout(x, model)
        clean, model = first_pass(model, laid_out, lambda m, v: outputs_of(m, v, bfloat16=quick))
        if quick:
            clean = clean.to(x.dtype)
        check_labels(clean, y)
        if not bool(torch.isfinite(clean).all()):
            raise bad("model output", expected="finite values", got="NaN or inf", remedy="check the weights")
        margins = margin(clean, y)
        lowest = None
        if quick and keep_clean:
            lowest = margins - INNER_LAYERS * rounding_margin(clean)
            margins = torch.full_like(margins, math.inf)
        return cls(model, x, y, Best(x, margins, until_wrong=until_wrong), bfloat16, lowest_clean=lowest)

    def finish(self) -> None:
        """Evaluate the clean inputs that may be no stronger than what the search found."""
        if self.lowest_clean is None:
            return
        rows = torch.nonzero(self.lowest_clean <= self.best.margins).squeeze(1)
        if len(rows):
            self.best.update(self.x[rows], margin(evaluated_outputs(self.model, self.x[rows]), self.y[rows]), rows)

    def part(self, rows: Tensor) -> "Evaluator":
        """Restrict to some examples; what is found still goes to the same best points.

        Args:
            rows: (R,) int64, increasing positions among the examples of this evaluator.

        Returns:
            An evaluator for R examples; this one if they are all.
        """
        if len(rows) == len(self.x):
            return self
        known = rows
        if self.rows is not None:
            known = self.rows[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], rows=known, lowest_clean=None)

    def apart(self, rows: Tensor, precision: Precision) -> "Evaluator":
        """Restrict to some examples, with best points of their own: for an attack that runs inside another.

        Args:
            rows: (R,) int64, positions among the examples of this evaluator, which must be the whole batch.
            precision: of the other attack.

        Returns:
            An evaluator whose best points begin at those found so far.
        """
        x = self.x[rows]
        best = Best(self.best.x[rows], self.best.margins[rows], until_wrong=self.best.until_wrong)
        return Evaluator(self.model, x, self.y[rows], best, uses_bfloat16(precision, self.model, x))

    def searching(self) -> torch.autocast:
        """Set the precision of `gradient` and `outputs`.

        One context around a whole search, not one per step: autocast then casts the weights once. `Attack.find` enters
        it, so a search need not.

        Returns:
            A context manager.
        """
        return torch.autocast(self.x.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    def gradient(self, points: Tensor, loss: Loss = default_loss) -> tuple[Tensor, Tensor]:
        """One forward and one backward pass, in the precision of the search.

        Args:
            points: (B, *S).
            loss: (outputs, y) -> (B,).

        Returns:
            Outputs, (B, C) or (B,), and the gradient of each example's loss with respect to its input, (B, *S).

        Raises:
            BadRequest: the output does not depend differentiably on the input.
        """
        return loss_gradient(self.model, points, self.y, loss)

    def outputs(self, points: Tensor) -> Tensor:
        """One forward pass, in the precision of the search.

        Args:
            points: (B, *S). It is not copied; the network was seen not to write on its input.

        Returns:
            (B, C) or (B,).
        """
        outputs = outputs_of(self.model, points, bfloat16=self.bfloat16)
        if self.bfloat16:
            return outputs.to(points.dtype)
        return outputs

    def margins(self, points: Tensor) -> Tensor:
        """Evaluate points in float32: one forward pass.

        Args:
            points: (B, *S).

        Returns:
            (B,) margins, positive exactly where the network is right.
        """
        return margin(evaluated_outputs(self.model, points), self.y)

    def update(self, points: Tensor, step: int | Tensor = 0) -> None:
        """Evaluate points in float32 and keep those of lowest margin: one forward pass.

        Args:
            points: (B, *S), in ball and box.
            step: number of the step that found them, or (B,) one per example.
        """
        self.best.update(points, self.margins(points), self.rows, step)

    def propose(self, points: Tensor, outputs: Tensor, step: int, *, among: Tensor | None = None) -> None:
        """Propose points with the outputs that the search has there.

        In float32 these are certain, and the points of lowest margin are kept. In bfloat16 an evaluation evaluates in
        float32 those that may be wrong, so that a search need not go on with them; in training nothing happens before
        `settle`.

        Args:
            points: (B, *S), in ball and box.
            outputs: (B, C) or (B,), of `gradient` or `outputs` at these points.
            step: number of the step that found them.
            among: (B,) bool, the examples that come into question; None means those that are still right.
        """
        margins = margin(outputs, self.y)
        if not self.bfloat16:
            self.best.update(points, margins, self.rows, step)
            return
        if not self.best.until_wrong:
            return
        if among is None:
            among = self._known_margins() > 0
        suspects = torch.nonzero(among & ~(margins > rounding_margin(outputs))).squeeze(1)
        if len(suspects):
            self.part(suspects).update(points[suspects], step)

    def settle(self, candidates: Best, step: int, *, below: Tensor | None = None) -> None:
        """Decide on the best points by the margins of the search. In float32 these are certain and cost no pass.

        Args:
            candidates: the points of lowest margin in the precision of the search.
            step: number of the step for candidates that the search itself did not see wrong.
            below: (B,) margins; where a candidate's is not lower, it is passed over. None means nowhere.
        """
        steps = torch.where(candidates.step < 0, step, candidates.step)
        if not self.bfloat16:
            self.best.update(candidates.x, candidates.margins, self.rows, steps)
        elif below is None:
            self.update(candidates.x, steps)
        else:
            rows = torch.nonzero(candidates.margins < below).squeeze(1)
            if len(rows):
                self.part(rows).update(candidates.x[rows], steps[rows])

    def correct(self) -> Tensor:
        """Find the examples that are still correctly classified.

        Returns:
            (R,) int64, their positions among the examples of this evaluator. Reads the number of them on the host.
        """
        return torch.nonzero(self._known_margins() > 0).squeeze(1)

    def _known_margins(self) -> Tensor:
        if self.rows is None:
            return self.best.margins
        return self.best.margins[self.rows]


def require_finite(finite: Tensor) -> None:
    """Refuse gradients that were not finite. Called once per search, not per step: it reads a value on the host.

    Args:
        finite: () bool, whether all gradients were.

    Raises:
        BadRequest: they were not.
    """
    if not bool(finite):
        remedy = "the loss overflows or is singular here"
        raise bad("gradient", expected="finite values", got="NaN or inf", remedy=remedy)
