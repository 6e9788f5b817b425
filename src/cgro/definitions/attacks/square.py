"""Square attack: random search without gradients (Andriushchenko et al., ECCV 2020)."""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from cgro._check import bad, count, number, one_of
from cgro.definitions.attacks.base import Attack, Best
from cgro.definitions.attacks.gradient import Precision, doubt, low_precision
from cgro.definitions.attacks.passes import judge, outputs_of
from cgro.definitions.draws import Draws
from cgro.definitions.losses import Model, margin

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the area of the square is halved. Andriushchenko et al. (2020), Section 4.1, for 10,000."""
DRAW_AHEAD = 512
"""Random numbers drawn at once. Affects speed only; no source."""
COMPACT_EVERY = 50
"""Queries between two looks at who still stands. Affects speed only; no source."""


def window_area(query: int, first_share: float) -> float:
    """Share of the image that the square of a query covers.

    >>> window_area(0, 0.8), window_area(60, 0.8)
    (0.8, 0.2)
    """
    return first_share / 2 ** sum(query > h for h in HALVINGS)


@dataclass(frozen=True)
class Square(Attack):
    """Random search over squares: a change that lowers the margin is kept. No gradients, so it sees through masks.

    p = inf: from vertical stripes X +- radius; each query sets one square of random place to +radius or -radius, a
    sign a channel. p = 1, 2: from random signs; each query empties a second window and spends its budget, and what
    was unused, in the first, on a random bump. All points are projected onto ball and box. Inputs that are not
    (B, C, H, W) are taken as one column. It cannot prove that nothing is there either.

    Args:
        threat: where x_adv may lie.
        n_queries: forward passes.
        first_share: share of the image that the first squares cover.
        precision: of the queries. `auto` takes bfloat16 where it pays; what is found is judged in float32.

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
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        count(self.n_queries, "n_queries")
        if number(self.first_share, "first_share", low=0.0, high=1.0) == 0:
            raise bad("first_share", expected="a share in (0, 1]", got=self.first_share)
        one_of(self.precision, "precision", ("float32", "bfloat16", "auto"))

    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
        """All queries, on images."""
        if not len(best.active(first=True)):  # all wrong already
            return
        walk = _Walk(self, model, best, x, y, draws)
        for query in range(self.n_queries):
            if query % COMPACT_EVERY == 0 and not walk.compact():
                break
            walk.ask(query)
        walk.finish(self.n_queries)


def _unit(delta: Tensor, p: float) -> Tensor:
    """Each channel of each example scaled to l_p norm 1; zero stays zero."""
    size = torch.linalg.vector_norm(delta, ord=p, dim=(2, 3), keepdim=True)
    return delta / size.clamp_min(max(1e-12, torch.finfo(delta.dtype).tiny))


class _Walk:
    """The current point of each example and its margin."""

    def __init__(self, attack: Square, model: Model, best: Best, x: Tensor, y: Tensor, draws: Draws) -> None:
        self.attack, self.model, self.best, self.threat = attack, model, best, attack.threat
        self.shape, self.low_bits = x.shape[1:], low_precision(attack.precision, model, x)
        self.x = x if x.ndim == 4 else x.reshape(len(x), 1, -1, 1)
        self.rows = best.active(first=True)
        self.x, self.y, self.draws = self.x[self.rows], y[self.rows], draws.rows(self.rows)
        self.current, self.margins = self._start(), torch.full_like(best.margins[self.rows], torch.inf)
        self.low_end, self.high_end = (self.threat.project(self.x + s * self.threat.radius, self.x) for s in (-1, 1))
        self.drawn, self.used = self.draws.uniform(0), 0
        self._consider(self.current, 0)

    def _start(self) -> Tensor:
        _, channels, _, width = self.x.shape
        if self.threat.p == float("inf"):
            signs = torch.where(self.draws.uniform(channels * width) < 0.5, -1.0, 1.0)
            signs = signs.view(-1, channels, 1, width).expand_as(self.x)
        else:
            signs = torch.where(self.draws.uniform(self.x[0].numel()) < 0.5, -1.0, 1.0).view_as(self.x)
        return self.threat.project(self.x + self.threat.steepest(signs.to(self.x)), self.x)

    def compact(self) -> bool:
        """Leave alone what is wrong, if this is an evaluation. False if nothing is left."""
        if self.best.until_wrong:
            stays = self.best.margins[self.rows] > 0
            if not bool(stays.all()):
                self.rows, self.x, self.y = self.rows[stays], self.x[stays], self.y[stays]
                self.current, self.margins = self.current[stays], self.margins[stays]
                self.low_end, self.high_end = self.low_end[stays], self.high_end[stays]
                self.draws, self.drawn = self.draws.rows(torch.nonzero(stays).squeeze(1)), self.drawn[stays]
        return len(self.rows) > 0

    def _next(self, n: int) -> Tensor:
        """The next n uniform numbers of each example, drawn many at a time."""
        if self.used + n > self.drawn.shape[1]:
            rest = self.drawn[:, self.used :]
            self.drawn, self.used = torch.cat([rest, self.draws.uniform(DRAW_AHEAD)], 1), 0
        self.used += n
        return self.drawn[:, self.used - n : self.used]

    def ask(self, query: int) -> None:
        """One query an example."""
        area = window_area(query, self.attack.first_share)
        move = self._flip if self.threat.p == float("inf") else self._shift
        self._consider(move(area), query + 1)

    def _windows(self, area: float) -> tuple[Tensor, int, int]:
        """A mask (B, 1, H, W) of one window of random place an example, and its sides."""
        _, _, height, width = self.x.shape
        wide = max(1, min(width, round((area * height * width) ** 0.5)))
        high = max(1, min(height, round(area * height * width / wide)))
        place = self._next(2) * torch.tensor([height - high + 1, width - wide + 1], device=self.x.device)
        top, left = place.long().unbind(1)
        i = torch.arange(height, device=self.x.device) - top[:, None]
        j = torch.arange(width, device=self.x.device) - left[:, None]
        inside = ((i >= 0) & (i < high))[:, None, :, None] & ((j >= 0) & (j < wide))[:, None, None, :]
        return inside, high, wide

    def _flip(self, area: float) -> Tensor:
        inside, _, _ = self._windows(area)
        signs = (self._next(self.x.shape[1]) < 0.5)[:, :, None, None]
        return torch.where(inside, torch.where(signs, self.low_end, self.high_end), self.current)

    def _shift(self, area: float) -> Tensor:
        """Mass of two windows and what is unused goes to the first, on its old direction plus a random bump."""
        p, radius = self.threat.p, self.threat.radius
        (into, high, wide), (out, _, _) = self._windows(area), self._windows(area)
        delta = self.current - self.x
        mass = delta.abs() ** p
        unused = (radius**p - mass.sum((1, 2, 3), keepdim=True)).clamp_min(0)
        n_channels = self.x.shape[1]
        available = ((mass * (into | out)).sum((2, 3), keepdim=True) + unused / n_channels) ** (1 / p)
        signs = torch.where(self._next(n_channels) < 0.5, -1.0, 1.0).to(self.x)[:, :, None, None]
        bump = _unit(signs * self._bump(into, high, wide), p) + _unit(delta * into, p)
        return self.threat.project(
            self.x + torch.where(into, _unit(bump, p) * available, delta * ~(into | out)), self.x
        )

    def _bump(self, inside: Tensor, high: int, wide: int) -> Tensor:
        """Two halves of opposite sign, each highest in its middle; which way they lie is drawn."""
        upright = self._next(1)[:, :, None, None] < 0.5
        rows = inside.cumsum(2).to(self.x) * inside
        columns = inside.cumsum(3).to(self.x) * inside
        along, across = torch.where(upright, rows, columns), torch.where(upright, columns, rows)
        length = torch.where(upright, high, wide).to(self.x)
        breadth = torch.where(upright, wide, high).to(self.x)
        side = torch.where(along <= (length + 1).div(2, rounding_mode="floor"), 1.0, -1.0).to(self.x)
        middle = (length / 4 + 0.5) + (side < 0) * length / 2
        far = torch.maximum((along - middle).abs(), (across - (breadth + 1) / 2).abs())
        return inside * side / (1 + far).square()

    def _consider(self, candidate: Tensor, step: int) -> None:
        """Keep what lowers the margin; judge in float32 what bfloat16 calls wrong."""
        points = candidate.view(-1, *self.shape)
        outputs = self._query(points)
        margins = margin(outputs, self.y)
        lower = margins < self.margins
        self.current = torch.where(lower.view(-1, 1, 1, 1), candidate, self.current)
        self.margins = torch.where(lower, margins, self.margins)
        if not self.low_bits:
            self.best.offer(points, margins, self.rows, step)
        elif self.best.until_wrong:
            self._confirm(torch.nonzero(lower & ~(margins > doubt(outputs))).squeeze(1), step)

    def _query(self, points: Tensor) -> Tensor:
        outputs = outputs_of(self.model, points, bfloat16=self.low_bits)
        return outputs.to(points.dtype) if self.low_bits else outputs

    def _confirm(self, which: Tensor, step: int) -> None:
        if len(which):
            points = self.current[which].view(-1, *self.shape)
            self.best.offer(points, margin(judge(self.model, points), self.y[which]), self.rows[which], step)

    def finish(self, step: int) -> None:
        """Judge where bfloat16 arrived."""
        if self.low_bits:
            self._confirm(torch.arange(len(self.rows), device=self.x.device), step)
