"""Square attack: random search without gradients (Andriushchenko et al., ECCV 2020)."""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from cgro._check import bad, count, number, one_of
from cgro.definitions.attacks.base import Attack
from cgro.definitions.attacks.best import per_example
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.precision import PRECISIONS, Precision
from cgro.definitions.draws import Draws
from cgro.definitions.losses import margin

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the area of the square is halved. Andriushchenko et al. (2020), Section 4.1, for 10,000."""
DRAW_AHEAD = 512
"""Random numbers drawn at once. Affects speed only; no source."""
COMPACT_EVERY = 50
"""Queries between two looks at which examples are still right. Affects speed only; no source."""


def window_area(query: int, first_share: float) -> float:
    """Share of the image that the square of a query covers.

    Args:
        query: number of the query, from 0.
        first_share: of the first query.

    Returns:
        `first_share`, halved once for each of `HALVINGS` that is passed.

    Example:
        >>> window_area(0, 0.8), window_area(60, 0.8)
        (0.8, 0.2)
    """
    n_halvings = sum(query > passed for passed in HALVINGS)
    return first_share / 2**n_halvings


@dataclass(frozen=True)
class Square(Attack):
    """Random search over squares: a change that lowers the margin is kept. No gradients, so it sees through masks.

    p = inf: from vertical stripes X +- radius; each query sets one square of random place to +radius or -radius, a
    sign per channel. p = 1, 2: from random signs; each query empties a second window and spends its budget, and what
    was unused, in the first, on a random bump. All points are projected onto ball and box. Inputs that are not
    (B, C, H, W) are taken as one column. It cannot prove that nothing is there either.

    Args:
        threat: where x_adv may lie.
        n_queries: forward passes.
        first_share: share of the image that the first squares cover.
        precision: of the queries. `auto` takes bfloat16 where it pays; what is found is evaluated in float32.

    Raises:
        BadRequest: no queries, a share outside (0, 1], an unknown precision.

    Example:
        >>> from cgro.definitions import ThreatModel
        >>> w = torch.tensor([[1.0, -2.0]])
        >>> attack = Square(ThreatModel("inf", 0.2), n_queries=50)
        >>> attack(lambda v: (v * w).sum(1), torch.tensor([[0.5, 0.5]]), torch.tensor([1]))
        tensor([[0.3000, 0.7000]])
    """

    _: KW_ONLY
    n_queries: int = 5000
    first_share: float = 0.8
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        count(self.n_queries, "n_queries")
        if number(self.first_share, "first_share", low=0.0, high=1.0) == 0:
            raise bad("first_share", expected="a share in (0, 1]", got=self.first_share)
        one_of(self.precision, "precision", PRECISIONS)

    @property
    def search_precision(self) -> Precision:
        """The precision of the queries."""
        return self.precision

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Make all queries.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams.
        """
        part = evaluator.remaining(first=True)
        if not len(part.x):
            return
        own = draws.copy() if part.rows is None else draws.rows(part.rows)
        walk = _Walk(self, part, own)
        for query in range(self.n_queries):
            if query % COMPACT_EVERY == 0 and not walk.compact(query):
                break
            walk.ask(query)
        walk.finish(self.n_queries)


def _signs(uniform: Tensor) -> Tensor:
    """Random signs from numbers that are uniform in [0, 1)."""
    return torch.where(uniform < 0.5, -1.0, 1.0)


def _unit(delta: Tensor, p: float) -> Tensor:
    """Each channel of each example scaled to l_p norm 1; zero stays zero."""
    size = torch.linalg.vector_norm(delta, ord=p, dim=(2, 3), keepdim=True)
    return delta / size.clamp_min(max(1e-12, torch.finfo(delta.dtype).tiny))


class _Walk:
    """The current point of each example and its margin, in the precision of the search.

    Points are (B, C, H, W) here; inputs of another shape are one channel of one column.
    """

    def __init__(self, attack: Square, evaluator: Evaluator, draws: Draws) -> None:
        self.attack = attack
        self.threat = attack.threat
        self.evaluator = evaluator
        self.draws = draws
        x = evaluator.x
        self.shape = x.shape[1:]
        if x.ndim != 4:
            x = x.reshape(len(x), 1, -1, 1)
        self.x = x
        self.current = self._start()
        self.margins = torch.full((len(x),), torch.inf, dtype=evaluator.best.margins.dtype, device=x.device)
        self.low_end = self.threat.project(x - self.threat.radius, x)
        self.high_end = self.threat.project(x + self.threat.radius, x)
        self.drawn = self.draws.uniform(0)
        self.used = 0
        self._consider(self.current, 0)

    def _start(self) -> Tensor:
        _, channels, _, width = self.x.shape
        if self.threat.p == float("inf"):
            signs = _signs(self.draws.uniform(channels * width))
            signs = signs.view(-1, channels, 1, width).expand_as(self.x)
        else:
            signs = _signs(self.draws.uniform(self.x[0].numel())).view_as(self.x)
        return self.threat.project(self.x + self.threat.steepest(signs.to(self.x)), self.x)

    def compact(self, step: int) -> bool:
        """Leave alone what is wrong, if this is an evaluation. False if nothing is left."""
        if not self.evaluator.best.until_wrong:
            return True
        if self.evaluator.dropping != "exact":
            self.finish(step)
        stays = self.evaluator.shrunk()
        if stays is not None:
            self.evaluator = self.evaluator.part(stays)
            self.draws = self.draws.rows(stays)
            for name in ("x", "current", "margins", "low_end", "high_end", "drawn"):
                setattr(self, name, getattr(self, name)[stays])
        return len(self.x) > 0

    def _next(self, n: int) -> Tensor:
        """The next n uniform numbers of each example, drawn many at a time."""
        if self.used + n > self.drawn.shape[1]:
            rest = self.drawn[:, self.used :]
            self.drawn = torch.cat([rest, self.draws.uniform(DRAW_AHEAD)], 1)
            self.used = 0
        self.used += n
        return self.drawn[:, self.used - n : self.used]

    def ask(self, query: int) -> None:
        """Make one query per example."""
        area = window_area(query, self.attack.first_share)
        move = self._shift
        if self.threat.p == float("inf"):
            move = self._flip
        self._consider(move(area), query + 1)

    def _windows(self, area: float) -> tuple[Tensor, int, int]:
        """A mask (B, 1, H, W) of one window of random place per example, and its sides."""
        _, _, height, width = self.x.shape
        wide = max(1, min(width, round((area * height * width) ** 0.5)))
        high = max(1, min(height, round(area * height * width / wide)))
        across, along = self._next(2).unbind(1)
        top = (across * (height - high + 1)).long()
        left = (along * (width - wide + 1)).long()
        i = torch.arange(height, device=self.x.device) - top[:, None]
        j = torch.arange(width, device=self.x.device) - left[:, None]
        in_rows = (i >= 0) & (i < high)
        in_columns = (j >= 0) & (j < wide)
        return in_rows[:, None, :, None] & in_columns[:, None, None, :], high, wide

    def _flip(self, area: float) -> Tensor:
        inside, _, _ = self._windows(area)
        signs = (self._next(self.x.shape[1]) < 0.5)[:, :, None, None]
        return torch.where(inside, torch.where(signs, self.low_end, self.high_end), self.current)

    def _shift(self, area: float) -> Tensor:
        """Mass of two windows and what is unused goes to the first, on its old direction plus a random bump."""
        p = self.threat.p
        into, high, wide = self._windows(area)
        out, _, _ = self._windows(area)
        delta = self.current - self.x
        mass = delta.abs() ** p
        unused = (self.threat.radius**p - mass.sum((1, 2, 3), keepdim=True)).clamp_min(0)
        n_channels = self.x.shape[1]
        available = ((mass * (into | out)).sum((2, 3), keepdim=True) + unused / n_channels) ** (1 / p)
        signs = _signs(self._next(n_channels)).to(self.x)[:, :, None, None]
        bump = _unit(signs * self._bump(into, high, wide), p) + _unit(delta * into, p)
        moved = torch.where(into, _unit(bump, p) * available, delta * ~(into | out))
        return self.threat.project(self.x + moved, self.x)

    def _bump(self, inside: Tensor, high: int, wide: int) -> Tensor:
        """Two halves of opposite sign, each highest in its middle; which way they lie is drawn."""
        upright = self._next(1)[:, :, None, None] < 0.5
        rows = inside.cumsum(2).to(self.x) * inside
        columns = inside.cumsum(3).to(self.x) * inside
        along = torch.where(upright, rows, columns)
        across = torch.where(upright, columns, rows)
        length = torch.where(upright, high, wide).to(self.x)
        breadth = torch.where(upright, wide, high).to(self.x)
        side = torch.where(along <= (length + 1).div(2, rounding_mode="floor"), 1.0, -1.0).to(self.x)
        middle = (length / 4 + 0.5) + (side < 0) * length / 2
        far = torch.maximum((along - middle).abs(), (across - (breadth + 1) / 2).abs())
        return inside * side / (1 + far).square()

    def _consider(self, candidate: Tensor, step: int) -> None:
        """Ask for the outputs at a point of each example, and go there where the margin is lower."""
        points = candidate.view(-1, *self.shape)
        outputs = self.evaluator.outputs(points)
        margins = margin(outputs, self.evaluator.y)
        lower = margins < self.margins
        self.current = torch.where(per_example(lower, candidate), candidate, self.current)
        self.margins = torch.where(lower, margins, self.margins)
        self.evaluator.propose(points, outputs, step, among=lower)

    def finish(self, step: int) -> None:
        """Evaluate where a search in bfloat16 arrived. In float32 every point was certain when it was proposed."""
        if self.evaluator.bfloat16 and len(self.x):
            self.evaluator.update(self.current.view(-1, *self.shape), step)
