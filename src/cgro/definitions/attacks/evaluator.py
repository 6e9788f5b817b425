"""What a search may ask of a network: bfloat16 or a folded copy proposes, the network itself decides, in float32."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from cgro._check import bad
from cgro.definitions.attacks.best import Best, per_example
from cgro.definitions.attacks.dropping import Dropping, rows_to_keep
from cgro.definitions.attacks.float32 import full_float32
from cgro.definitions.attacks.folding import folded
from cgro.definitions.attacks.passes import evaluated_outputs, first_look, image_layout, loss_gradient, outputs_of
from cgro.definitions.attacks.precision import INNER_LAYERS, Precision, Proposing, proposing, rounding_margin
from cgro.definitions.attacks.reads import LabelRange, Watch
from cgro.definitions.inputs import shape_of
from cgro.definitions.losses import Loss, Model, check_labels, default_loss, margin


@dataclass(frozen=True)
class SearchOptions:
    """How to search a batch, and what is known of it.

    Args:
        until_wrong: see `Attack.find`.
        dropping: whether, and how, the search goes on with fewer examples once some are wrong.
        labels: their range, if it was read; None reads the labels.
        plain: search in float32 where the attack leaves the precision to us.
        reached: (B,) margins that other attacks reached on these examples; None if there were none.
    """

    until_wrong: bool = False
    dropping: Dropping = "never"
    labels: LabelRange | None = None
    plain: bool = False
    reached: Tensor | None = None


@dataclass(frozen=True)
class Evaluator:
    """A network and a batch of examples, as a search sees them, and the best points found so far.

    A simple attack needs two methods: `gradient`, to move, and `update`, which evaluates points in float32 and keeps
    those of lowest margin. `gradient` and `outputs` may run in bfloat16, or through a copy with BatchNorm folded, so
    their outputs say nothing certain. A search that does not want to pay a second pass per step calls `propose` with
    them instead of `update`, and `settle` once at its end; both do the right thing in any case.

    Nothing here reads a value on the host with `dropping="never"`, except `correct`.

    Args:
        model: (B, *S) -> (B, C) or (B,). It may be called on any number of examples.
        x: (B, *S) clean inputs, the centers of the balls.
        y: (B,) labels.
        best: of the whole batch; the result of the search.
        by: what `gradient` and `outputs` pass through.
        rows: (B,) int64, positions of these examples in `best`; None means that they are all of them.
        active: (B,) bool, the examples that count; None means all. The others are searched for nothing.
        dropping: how a search goes on with fewer examples.
        watch: takes note of what is checked after the search.
        plain: take float32 for `auto`.
        proposer: what `gradient` and `outputs` call: the network with BatchNorm folded; None means `model`.
        n_starts: rows per example, next to one another; those behind a wrong one are left alone.
        reached: (B,) margins that other attacks reached; None if there were none.

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
    by: Proposing = "exactly"
    rows: Tensor | None = None
    active: Tensor | None = None
    dropping: Dropping = "never"
    watch: Watch = field(default_factory=Watch)
    plain: bool = False
    proposer: Model | None = None
    n_starts: int = 1
    reached: Tensor | None = None

    @classmethod
    def begin(
        cls,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        precision: Precision = "float32",
        certain: bool = True,
        keep_clean: bool = True,
        options: SearchOptions | None = None,
    ) -> "Evaluator":
        """Take the first pass of a search, on the clean inputs.

        Args:
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) clean inputs.
            y: (B,) labels.
            precision: of `gradient` and `outputs`.
            certain: evaluate the clean inputs in float32 at once. Otherwise, where the search runs in bfloat16, they
                are looked at in bfloat16, and evaluated by `finish` where that still matters after the search.
            keep_clean: whether a clean input counts as a point that the search found.
            options: how to search; None means by masks, in training.

        Returns:
            An evaluator whose best points are the clean inputs. Whether their outputs are finite, and whether the
            network wrote on its input, is left to `watch`.

        Raises:
            BadRequest: labels that do not fit the outputs, outputs that are no tensor.
        """
        if options is None:
            options = SearchOptions()
        if options.plain and precision == "auto":
            precision = "float32"
        by = proposing(precision, model, x)
        quick = by == "bfloat16" and not certain
        laid_out = image_layout(x, model)
        clean, model, written = first_look(model, laid_out, bfloat16=quick)
        if quick:
            clean = clean.to(x.dtype)
        if options.labels is None:
            check_labels(clean, y)
        else:
            options.labels.check(clean, y)
        watch = Watch(written=written, outputs=[torch.isfinite(clean).all()])
        margins = margin(clean, y)
        lowest = None
        if quick and keep_clean:
            lowest = margins - INNER_LAYERS * rounding_margin(clean)
            margins = torch.full_like(margins, math.inf)
        best = Best(x, margins, until_wrong=options.until_wrong)
        best.lowest_clean = lowest
        begun = cls(model, x, y, best, by, dropping=options.dropping, watch=watch, plain=options.plain)
        return replace(begun, proposer=_proposer(model, by), reached=options.reached)

    def finish(self) -> None:
        """Evaluate the clean inputs that may be no stronger than what the search found."""
        lowest = self.best.lowest_clean
        if lowest is None:
            return
        self.best.lowest_clean = None
        doubtful = lowest <= self.best.margins
        if self.dropping != "exact":
            self.best.update(self.x, self.margins(self.x), among=doubtful)
            return
        rows = torch.nonzero(doubtful).squeeze(1)
        if len(rows):
            self.best.update(self.x[rows], margin(evaluated_outputs(self.model, self.x[rows]), self.y[rows]), rows)

    def remaining(self, *, first: bool) -> "Evaluator":
        """Restrict to the examples that a start of a search works on.

        Args:
            first: whether it is the first start. In training that one works on all examples.

        Returns:
            An evaluator for all examples, or for those still correctly classified: the others are left out, or only
            masked, as `dropping` says. Possibly of no examples.
        """
        if first and not self.best.until_wrong:
            return self
        right = self._known_margins() > 0
        if self.active is not None:
            right = right & self.active
        rows = rows_to_keep(right, self.dropping)
        part = self
        if rows is not None:
            part = self.part(rows)
            right = right[rows]
        if self.dropping == "exact" or self.best.until_wrong:
            return part  # `Best` itself takes nothing more for an example that is wrong
        return replace(part, active=right)

    def shrunk(self, *, most: float = 1.0, without: Tensor | None = None) -> Tensor | None:
        """The examples to go on with between two chunks of steps of an evaluation.

        Args:
            most: share of the examples; where more of them would be left, all go on.
            without: (B,) bool, examples to leave alone although they are right; None means none.

        Returns:
            (R,) int64, positions among the examples of this evaluator, for `part`; None to go on with all.
        """
        if not self.best.until_wrong:
            return None
        right = self._known_margins() > 0
        if without is not None:
            right = right & ~without
        return rows_to_keep(right, self.dropping, most=most)

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
        active, reached = self.active, self.reached
        if active is not None:
            active = active[rows]
        if reached is not None:
            reached = reached[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], rows=known, active=active, reached=reached)

    def apart(self, precision: Precision) -> "tuple[Evaluator, Tensor | None]":
        """Restrict to the examples still correctly classified, with best points of their own: for an attack that runs
        inside another.

        Args:
            precision: of the other attack.

        Returns:
            An evaluator whose best points begin at those found so far, possibly of no examples, and their positions
            in `best`; None if they are all.
        """
        right = self.best.margins > 0
        rows = rows_to_keep(right, self.dropping)
        x, y, known, margins = self.x, self.y, self.best.x, self.best.margins
        if rows is not None:
            x, y, known, margins, right = x[rows], y[rows], known[rows], margins[rows], right[rows]
        active = None
        if self.dropping != "exact" and not self.best.until_wrong:
            active = right
        best = Best(known, margins, until_wrong=self.best.until_wrong)
        if self.plain and precision == "auto":
            precision = "float32"
        by = proposing(precision, self.model, x)
        inner = replace(self, x=x, y=y, best=best, by=by, active=active, proposer=_proposer(self.model, by))
        return replace(inner, reached=margins), rows

    def too_close_to_tell(self) -> "tuple[Evaluator, Tensor] | None":
        """The examples left right by less than what proposes can tell: their best point is within its rounding.

        Only in an evaluation that drops examples; elsewhere their number is not to be read.

        Returns:
            An evaluator by the network itself, of these examples, at least one, with best points of their own, and
            (R,) int64, their positions in `best`; None if there are none.
        """
        if self.is_certain or not self.best.until_wrong or self.dropping == "never":
            return None
        margins, outputs = self.best.margins, evaluated_outputs(self.model, self.best.x)
        close = (margins > 0) & (margins <= rounding_margin(outputs, self.by))
        rows = rows_to_keep(close, self.dropping)
        if rows is None:
            rows = torch.arange(len(close), device=close.device)
        if not len(rows):
            return None
        best = Best(self.best.x[rows], margins[rows], until_wrong=True)
        part = replace(self, x=self.x[rows], y=self.y[rows], best=best, by="exactly", proposer=None, reached=None)
        return part, rows

    def side_by_side(self, n_starts: int) -> "Evaluator":
        """Lay several starts of each example beside one another, with best points of their own; see `take_from`.

        Args:
            n_starts: rows per example.

        Returns:
            An evaluator of n_starts * B rows, those of an example next to one another.
        """
        x, y = self.x.repeat_interleave(n_starts, 0), self.y.repeat_interleave(n_starts)
        known_x, margins, active = self.best.x, self.best.margins, self.active
        if self.rows is not None:
            known_x, margins = known_x[self.rows], margins[self.rows]
        if active is not None:
            active = active.repeat_interleave(n_starts)
        best = Best(known_x.repeat_interleave(n_starts, 0), margins.repeat_interleave(n_starts), until_wrong=True)
        return replace(self, x=x, y=y, best=best, rows=None, active=active, n_starts=n_starts, reached=None)

    def take_from(self, beside: "Evaluator") -> None:
        """Take over what starts side by side found: the first start's that is wrong, else the lowest.

        That is what they find one after another, so how many lie side by side changes no result.

        Args:
            beside: of `side_by_side`, after its search.
        """
        found = beside.best
        margins = found.margins.view(-1, beside.n_starts)
        wrong = ~(margins > 0)
        start = torch.where(wrong.any(1), wrong.to(torch.uint8).argmax(1), margins.argmin(1))
        rows = torch.arange(len(self.x), device=start.device) * beside.n_starts + start
        self.best.update(found.x[rows], found.margins[rows], self.rows, found.step[rows], among=self.active)

    @contextlib.contextmanager
    def searching(self) -> Iterator[None]:
        """Set the precision of `gradient` and `outputs`: bfloat16, or float32 without TF32, whose points are certain.

        One context around a whole search, not one per step: autocast then casts the weights once. `Attack.find` enters
        it, so a search need not.

        Returns:
            A context manager.
        """
        precision = contextlib.nullcontext() if self.bfloat16 else full_float32(self.x.device)
        with precision, torch.autocast(self.x.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            yield

    def gradient(self, points: Tensor, loss: Loss = default_loss) -> tuple[Tensor, Tensor]:
        """One forward and one backward pass, in the precision of the search.

        Args:
            points: (B, *S).
            loss: (outputs, y) -> (B,).

        Returns:
            Outputs, (B, C) or (B,), and the gradient of each example's loss with respect to its input, (B, *S).

        Raises:
            BadRequest: the output does not depend differentiably on the input; the loss is not one number per example.
        """
        return loss_gradient(self._searched, points, self.y, loss)

    def outputs(self, points: Tensor) -> Tensor:
        """One forward pass, in the precision of the search.

        Args:
            points: (B, *S). It is not copied; the network was seen not to write on its input.

        Returns:
            (B, C) or (B,).
        """
        outputs = outputs_of(self._searched, points, bfloat16=self.bfloat16)
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
        # Not on a copy: the network was seen not to write on its input, or is given copies by itself.
        with full_float32(points.device):
            margins = margin(outputs_of(self.model, points), self.y)
        self.watch.see_margins(margins)
        return margins

    def update(self, points: Tensor, step: int | Tensor = 0) -> None:
        """Evaluate points in float32 and keep those of lowest margin: one forward pass.

        Args:
            points: (B, *S), in ball and box.
            step: number of the step that found them, or (B,) one per example.

        Raises:
            BadRequest: not a point for each example.
        """
        if not isinstance(points, Tensor) or points.shape != self.x.shape:
            expected = f"a point for each example, shape {tuple(self.x.shape)}"
            raise bad("evaluator.update", expected=expected, got=shape_of(points))
        self.best.update(points, self.margins(points), self.rows, step, among=self.active)

    def propose(self, points: Tensor, outputs: Tensor, step: int | Tensor, *, among: Tensor | None = None) -> None:
        """Propose points with the outputs that the search has there.

        Where these are certain, the points of lowest margin are kept. Else an evaluation on a CPU evaluates those that
        may be wrong by the network itself, so that a search need not go on with them; elsewhere nothing happens before
        `settle`.

        Args:
            points: (B, *S), in ball and box.
            outputs: (B, C) or (B,), of `gradient` or `outputs` at these points.
            step: number of the step that found them, or (B,) one per example.
            among: (B,) bool, the examples that come into question; None means those that are still right.
        """
        margins = margin(outputs, self.y)
        if self.is_certain:
            self.watch.see_margins(margins)
            self.best.update(points, margins, self.rows, step, among=self.active)
            return
        if not self.best.until_wrong or self.dropping != "exact":
            return
        if among is None:
            among = self._known_margins() > 0
        suspects = torch.nonzero(among & ~(margins > rounding_margin(outputs, self.by))).squeeze(1)
        if len(suspects):
            if isinstance(step, Tensor):
                step = step[suspects]
            self.part(suspects).update(points[suspects], step)

    def settle(self, candidates: Best, step: int | Tensor, *, below: Tensor | None = None) -> None:
        """Decide on the best points by the margins of the search, which cost no pass where they are certain.

        Args:
            candidates: the points of lowest margin by the outputs of the search.
            step: number of the step for candidates that the search itself did not see wrong, or (B,) one per example.
            below: (B,) margins; where a candidate's is not lower, it is passed over. None means nowhere.
        """
        steps = torch.where(candidates.step < 0, step, candidates.step)
        if self.is_certain:
            self.best.update(candidates.x, candidates.margins, self.rows, steps, among=self.active)
        elif below is None:
            self.update(candidates.x, steps)
        elif self.dropping == "exact":
            rows = torch.nonzero(candidates.margins < below).squeeze(1)
            if len(rows):
                self.part(rows).update(candidates.x[rows], steps[rows])
        else:
            self._second_look(candidates, steps, below)

    def _second_look(self, candidates: Best, steps: Tensor, below: Tensor) -> None:
        """Evaluate the candidates and the clean inputs in doubt in one pass, an example's one or the other.

        The clean input where both come into question, so that the result is never weaker than it: there the search has
        hardly moved the margin, and its earlier iterates hardly more than its last.
        """
        points = candidates.x
        among = candidates.margins < below
        lowest = self.best.lowest_clean
        if lowest is not None and self.rows is None:
            doubtful = lowest <= self.best.margins
            points = torch.where(per_example(doubtful, points), self.x, points)
            steps = torch.where(doubtful, 0, steps)
            among = among | doubtful
            self.best.lowest_clean = None
        if self.active is not None:
            among = among & self.active
        self.best.update(points, self.margins(points), self.rows, steps, among=among)

    def correct(self) -> Tensor:
        """Find the examples that are still correctly classified.

        Returns:
            (R,) int64, their positions among the examples of this evaluator. Reads the number of them on the host.
        """
        return torch.nonzero(self._known_margins() > 0).squeeze(1)

    @property
    def is_certain(self) -> bool:
        """Whether outputs of `gradient` and `outputs` are those of the network itself, in float32."""
        return self.by == "exactly"

    @property
    def bfloat16(self) -> bool:
        """Whether `gradient` and `outputs` run in bfloat16."""
        return self.by == "bfloat16"

    @property
    def _searched(self) -> Model:
        """The network that proposes."""
        if self.proposer is None:
            return self.model
        return self.proposer

    def _known_margins(self) -> Tensor:
        margins = self.best.margins
        if self.n_starts > 1:
            margins = margins.view(-1, self.n_starts).cummin(1).values.flatten()
        if self.rows is None:
            return margins
        return margins[self.rows]


def _proposer(model: Model, by: Proposing) -> Model | None:
    return None if by == "exactly" else folded(model)
