"""The best point of a search so far: where an example's margin was lowest, and when it was first wrong."""

from numbers import Integral

import torch
from torch import Tensor

from cgro._check import bad
from cgro.definitions.inputs import describe


class Best:
    """The point of lowest margin that a search has seen, per example.

    Nothing here reads a value on the host: rows that are not improved are kept by masks.

    Args:
        x: (B, *S) the points to begin with; copied.
        margins: (B,) their margins.
        until_wrong: evaluation: take nothing more for an example that is wrong already.

    Attributes:
        x: (B, *S) the points of lowest margin.
        margins: (B,) the margins there.
        step: (B,) int64, the step at which an example was first wrong; -1 for one that is still right.
        until_wrong: as given.
        lowest_clean: (B,) how low the margins of the clean inputs may be that were only looked at in bfloat16; None
            once nothing of them is in doubt. See `Evaluator.finish`.

    Example:
        >>> best = Best(torch.zeros(2, 1), torch.tensor([0.5, 0.5]))
        >>> best.update(torch.ones(2, 1), torch.tensor([0.7, -0.1]), step=3)
        >>> best.margins, best.step
        (tensor([ 0.5000, -0.1000]), tensor([-1,  3]))
    """

    def __init__(self, x: Tensor, margins: Tensor, *, until_wrong: bool = False) -> None:
        self.x = x.detach().clone()
        self.margins = margins.detach().clone()
        self.until_wrong = until_wrong
        self.step = torch.where(self.margins > 0, -1, 0)
        self.lowest_clean: Tensor | None = None

    @classmethod
    def nothing(cls, x: Tensor) -> "Best":
        """Begin where no margin is known, so that the first update is taken.

        Args:
            x: (B, *S) points; their values do not matter.

        Returns:
            The points with infinite margins.
        """
        return cls(x, torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device))

    @classmethod
    def found(cls, x: Tensor, margins: Tensor, step: Tensor) -> "Best":
        """As the first update of `nothing`, but without a copy.

        Args:
            x: (B, *S) points, given away.
            margins: (B,) their margins, none of them NaN; given away.
            step: (B,) int64, the step at which an example was first wrong, where its margin is not positive.

        Returns:
            The points.
        """
        best = cls.__new__(cls)
        best.x = x
        best.margins = margins
        best.until_wrong = False
        best.step = torch.where(margins > 0, -1, step)
        best.lowest_clean = None
        return best

    def rows(self, rows: Tensor) -> "Best":
        """What is known of some examples.

        Args:
            rows: (R,) int64.

        Returns:
            The best points of R examples, which go on independently of these.
        """
        part = Best(self.x[rows], self.margins[rows], until_wrong=self.until_wrong)
        part.step = self.step[rows]
        return part

    def update(
        self,
        x: Tensor,
        margins: Tensor,
        rows: Tensor | None = None,
        step: int | Tensor = 0,
        *,
        among: Tensor | None = None,
    ) -> None:
        """Take over the points whose margin is lower than the lowest so far.

        Args:
            x: (R, *S) points.
            margins: (R,) their margins. NaN is never lower.
            rows: (R,) int64, the examples that they belong to, each once; None means all.
            step: number of the step that found them, or (R,) one per example.
            among: (R,) bool, the examples that come into question; None means all.

        Raises:
            BadRequest: a step that is no integer.
        """
        _require_step(step)
        # A network may answer in another precision than that of its input.
        margins = margins.to(self.margins)
        known_x = self.x
        known = self.margins
        known_step = self.step
        if rows is not None:
            known_x, known, known_step = known_x[rows], known[rows], known_step[rows]
        better = margins < known
        if self.until_wrong:
            better &= known > 0
        if among is not None:
            better &= among
        newly_wrong = better & (known_step < 0) & ~(margins > 0)
        new_x = torch.where(per_example(better, x), x, known_x)
        self._store(new_x, torch.where(better, margins, known), torch.where(newly_wrong, step, known_step), rows)

    def replace(
        self, x: Tensor, margins: Tensor, step: int, rows: Tensor | None = None, *, among: Tensor | None = None
    ) -> None:
        """Take over all points, whatever their margins: for an attack that is asked for its last iterate.

        Args:
            x: (R, *S), in ball and box.
            margins: (R,) their margins.
            step: number of the step that found them.
            rows: (R,) int64, the examples that they belong to, each once; None means all.
            among: (R,) bool, the examples that come into question; None means all.
        """
        margins = margins.to(self.margins)
        steps = torch.where(margins > 0, -1, step)
        if among is not None or self.until_wrong:
            known_x, known, known_step = self.x, self.margins, self.step
            if rows is not None:
                known_x, known, known_step = known_x[rows], known[rows], known_step[rows]
            taken = torch.ones_like(known, dtype=torch.bool) if among is None else among
            if self.until_wrong:
                taken = taken & (known > 0)
            x = torch.where(per_example(taken, x), x, known_x)
            margins = torch.where(taken, margins, known)
            steps = torch.where(taken, steps, known_step)
        self._store(x, margins, steps, rows)

    def _store(self, x: Tensor, margins: Tensor, step: Tensor, rows: Tensor | None) -> None:
        if rows is None:
            self.x, self.margins, self.step = x, margins, step
            return
        self.x[rows] = x
        self.margins[rows] = margins
        self.step[rows] = step

    def correct(self) -> Tensor:
        """Find the examples that are still correctly classified.

        Returns:
            (R,) int64, their rows. Reads the number of them on the host.
        """
        return torch.nonzero(self.margins > 0).squeeze(1)


def _require_step(step: object) -> None:
    """Refuse what is no number of a step: attacks of others name theirs."""
    whole = isinstance(step, Tensor) and not step.is_floating_point()
    if not whole and not isinstance(step, Integral):
        expected = "the number of the step that found the points, an integer, or one per example"
        got = describe(step)
        if isinstance(step, Tensor):
            got = "floating point"
        raise bad("step", expected=expected, got=got)


def per_example(values: Tensor, x: Tensor) -> Tensor:
    """Give one value per example the axes of the examples, to be broadcast against them.

    Args:
        values: (B,).
        x: (B, *S).

    Returns:
        (B, 1, ..., 1), with as many axes as x.

    Example:
        >>> per_example(torch.arange(4), torch.zeros(4, 3, 8, 8)).shape
        torch.Size([4, 1, 1, 1])
    """
    return values.view(-1, *[1] * (x.ndim - 1))
