"""Square attack: random search without gradients (Andriushchenko et al., ECCV 2020)."""

import math
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from cgro._check import bad, count_field, number, one_of
from cgro.definitions.attacks.base import Attack
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.passes import image_layout
from cgro.definitions.attacks.precision import PRECISIONS, Precision
from cgro.definitions.draws import Draws
from cgro.definitions.losses import margin

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the area of the square is halved. Andriushchenko et al. (2020), Section 4.1, for 10,000."""
COMPACT_EVERY = 50
"""Queries between two looks at which examples are still right, whose random numbers are drawn at once. Affects speed
only; no source."""
SLACK = 1e-6
"""Share of radius^p that the walks for p = 1 and 2 leave unused: more than float32 sums of changes can be off between
two exact sums, so that no point has to be projected onto the ball again. A choice."""


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
    was unused, in the first, on a random bump. All points lie in ball and box. Inputs that are not (B, C, H, W) are
    taken as one column. It cannot prove that nothing is there either.

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
        count_field(self, "n_queries")
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
        kind = _Walk
        if self.threat.p == math.inf:
            kind = _SignWalk
        walk = kind(self, part, own)
        for first in range(0, self.n_queries, COMPACT_EVERY):
            if not walk.compact(first):
                return
            walk.ask(range(first, min(first + COMPACT_EVERY, self.n_queries)))
        walk.report(self.n_queries)


def window_sides(area: float, height: int, width: int) -> tuple[int, int]:
    """The sides of a window, nearly a square, that covers a share of an image.

    Args:
        area: share of the image.
        height: of the image.
        width: of the image.

    Returns:
        Its height and width, at least 1 each.

    Example:
        >>> window_sides(0.25, 8, 8), window_sides(0.25, 100, 1)
        ((4, 4), (25, 1))
    """
    wide = max(1, min(width, round((area * height * width) ** 0.5)))
    return max(1, min(height, round(area * height * width / wide))), wide


def _signs(uniform: Tensor) -> Tensor:
    """Random signs from numbers that are uniform in [0, 1)."""
    return torch.where(uniform < 0.5, -1.0, 1.0)


def _unit(delta: Tensor, p: float) -> Tensor:
    """Each channel of each example, (B, K, C), scaled to l_p norm 1; zero stays zero."""
    size = torch.linalg.vector_norm(delta, ord=p, dim=1, keepdim=True)
    return delta / size.clamp_min(max(1e-12, torch.finfo(delta.dtype).tiny))


def _bump(length: int, breadth: int, x: Tensor) -> Tensor:
    """Two halves of opposite sign, one behind the other, each highest in its middle: (length, breadth), as x."""
    along = torch.arange(1, length + 1, dtype=x.dtype, device=x.device)[:, None]
    across = torch.arange(1, breadth + 1, dtype=x.dtype, device=x.device)[None, :]
    # in the dtype of x, whatever torch's default is
    side = torch.where(along <= (length + 1) // 2, 1.0, -1.0).to(x.dtype)
    middle = (length / 4 + 0.5) + (side < 0).to(x.dtype) * (length / 2)
    far = torch.maximum((along - middle).abs(), (across - (breadth + 1) / 2).abs())
    return side / (1 + far).square()


class _Walk:
    """The current point of each example and its margin, in the precision of the search. As for p = 1, 2.

    A query changes windows only, so it costs what they cost and not what the images cost: `points` are written in
    place, and where the margin was not lowered, what was there is written back. Cells are the positions of an image
    with their channels, (B, H * W, C), a view of `points` in any memory layout. Inputs of another shape than images
    are one channel of one column.
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
        self.x = image_layout(x, evaluator.model)
        self.height, self.width = x.shape[2:]
        self.n_channels = x.shape[1]
        self.points = torch.empty_like(self.x).copy_(self._start())
        n = len(x)
        self.margins = torch.full((n,), torch.inf, dtype=evaluator.best.margins.dtype, device=x.device)
        self.fell = torch.zeros(n, dtype=torch.int64, device=x.device)
        self.mass = torch.zeros(n, dtype=torch.float64, device=x.device)
        self.windows: dict[tuple[int, int], _Window] = {}
        self.prepare()
        self._consider(0)

    @property
    def n_numbers(self) -> int:
        """Random numbers that a query takes: the places of two windows, signs, and which way the bump lies."""
        return 4 + self.n_channels + 1

    def _start(self) -> Tensor:
        signs = _signs(self.draws.uniform(self.x[0].numel())).view_as(self.x)
        size = self.threat.radius * (1 - SLACK)
        return self.threat.project(self.x + self.threat.steepest(signs.to(self.x), size=size), self.x)

    def prepare(self) -> None:
        """What the queries read beside the points; anew where examples were left out."""
        self.x_cells = self._cells(self.x)
        self.point_cells = self._cells(self.points)
        # Summed anew: between two such sums only the changes are added.
        delta = self.point_cells - self.x_cells
        self.mass = (delta.abs() ** self.threat.p).sum((1, 2), dtype=torch.float64)

    def _cells(self, images: Tensor) -> Tensor:
        """(B, H * W, C), a view of (B, C, H, W)."""
        n_cells = self.height * self.width
        if images.is_contiguous():
            return images.view(len(images), self.n_channels, n_cells).transpose(1, 2)
        return images.permute(0, 2, 3, 1).view(len(images), n_cells, self.n_channels)

    def compact(self, step: int) -> bool:
        """Leave alone what is wrong, if this is an evaluation. False if nothing is left."""
        if not self.evaluator.best.until_wrong:
            return True
        if not self.evaluator.bfloat16 or self.evaluator.dropping != "exact":
            self.report(step)
        stays = self.evaluator.shrunk()
        if stays is not None:
            self.evaluator = self.evaluator.part(stays)
            self.draws = self.draws.rows(stays)
            self.x = image_layout(self.x[stays], self.evaluator.model)
            self.points = torch.empty_like(self.x).copy_(self.points[stays])
            self.margins, self.fell = self.margins[stays], self.fell[stays]
        self.prepare()
        return len(self.x) > 0

    def ask(self, queries: range) -> None:
        """Make some queries per example, whose random numbers are drawn at once."""
        numbers = self.draws.uniform(len(queries) * self.n_numbers).view(len(self.x), len(queries), -1)
        for query, own in zip(queries, numbers.unbind(1), strict=True):
            area = window_area(query, self.attack.first_share)
            high, wide = window_sides(area, self.height, self.width)
            if (high, wide) not in self.windows:
                self.windows[high, wide] = _Window(high, wide, self.x)
            self.move(self.windows[high, wide], own, query + 1)

    def move(self, window: "_Window", numbers: Tensor, step: int) -> None:
        """One query: mass of two windows and what is unused goes to the first, on its old direction plus a bump."""
        p = self.threat.p
        into, out = window.corners(numbers[:, :2]), window.corners(numbers[:, 2:4])
        at_into, at_out = self._expanded(window.cells(into)), self._expanded(window.cells(out))
        x_into, old_into = self.x_cells.gather(1, at_into), self.point_cells.gather(1, at_into)
        x_out, old_out = self.x_cells.gather(1, at_out), self.point_cells.gather(1, at_out)
        delta = old_into - x_into
        emptied = (old_out - x_out).abs() ** p * window.outside(out, into)[:, :, None]
        freed = torch.cat([delta.abs() ** p, emptied], 1).sum(1, keepdim=True, dtype=torch.float64)
        # Where rounding used more than there is, this takes it back.
        unused = (self.threat.radius**p * (1 - SLACK) - self.mass)[:, None, None]
        available = (freed + unused / self.n_channels).clamp_min(0) ** (1 / p)
        signs = _signs(numbers[:, 4:-1]).to(delta)[:, None, :]
        bump = torch.where(numbers[:, -1:] < 0.5, window.upright, window.flat)[:, :, None]
        moved = _unit(_unit(signs * bump, p) + _unit(delta, p), p) * available.to(delta)
        # In the ball by its mass; cutting at the box only brings it closer to X.
        new_into = x_into + moved
        if self.threat.box is not None:
            new_into = new_into.clamp_(*self.threat.box)
        # The second window first: where the two overlap, the first counts.
        self.point_cells.scatter_(1, at_out, x_out)
        self.point_cells.scatter_(1, at_into, new_into)
        lower = self._consider(step)
        kept = lower[:, None, None]
        self.point_cells.scatter_(1, at_out, torch.where(kept, x_out, old_out))
        self.point_cells.scatter_(1, at_into, torch.where(kept, new_into, old_into))
        gained = ((new_into - x_into).abs() ** p).sum((1, 2), dtype=torch.float64) - freed.sum((1, 2))
        self.mass = torch.where(lower, self.mass + gained, self.mass)

    def _expanded(self, cells: Tensor) -> Tensor:
        return cells[:, :, None].expand(-1, -1, self.n_channels)

    def _consider(self, step: int) -> Tensor:
        """Ask for the outputs at the points. (B,) bool, where the margin is lower: there the walk goes on from them."""
        points = self.points.view(-1, *self.shape)
        outputs = self.evaluator.outputs(points)
        margins = margin(outputs, self.evaluator.y)
        lower = margins < self.margins
        if self.evaluator.bfloat16:
            self.evaluator.propose(points, outputs, step, among=lower)
        fell = lower
        if not self.evaluator.best.until_wrong:
            fell = (self.margins > 0) & ~(margins > 0)
        elif not self.evaluator.bfloat16:
            lower &= self.margins > 0  # the first wrong point is the one to report
        self.fell = torch.where(fell, step, self.fell)
        self.margins = torch.where(lower, margins, self.margins)
        return lower

    def report(self, step: int) -> None:
        """Hand over where the walks are. In float32 their margins are certain; in bfloat16 they are evaluated."""
        points = self.points.view(-1, *self.shape)
        if self.evaluator.bfloat16:
            self.evaluator.update(points, step)
            return
        best = self.evaluator.best
        best.update(points, self.margins, self.evaluator.rows, self.fell, among=self.evaluator.active)


class _SignWalk(_Walk):
    """p = inf: every pixel is at the lowest or highest value that it may have."""

    @property
    def n_numbers(self) -> int:
        """Random numbers that a query takes: the place of a window, and signs."""
        return 2 + self.n_channels

    def _start(self) -> Tensor:
        signs = _signs(self.draws.uniform(self.n_channels * self.width))
        signs = signs.view(-1, self.n_channels, 1, self.width).expand_as(self.x)
        return self.threat.project(self.x + self.threat.steepest(signs.to(self.x)), self.x)

    def prepare(self) -> None:
        self.point_cells = self._cells(self.points)
        low = self.threat.project(self.x - self.threat.radius, self.x)
        high = self.threat.project(self.x + self.threat.radius, self.x)
        # Behind one another, so that one look-up per query takes each channel from the one or the other.
        self.ends = torch.cat([self._cells(high), self._cells(low)], 1)

    def move(self, window: "_Window", numbers: Tensor, step: int) -> None:
        at = self._expanded(window.cells(window.corners(numbers)))
        to_low = (numbers[:, 2:] < 0.5).long() * (self.height * self.width)
        new = self.ends.gather(1, at + to_low[:, None, :])
        old = self.point_cells.gather(1, at)
        self.point_cells.scatter_(1, at, new)
        lower = self._consider(step)
        self.point_cells.scatter_(1, at, torch.where(lower[:, None, None], new, old))


class _Window:
    """A window of high x wide pixels, K in all, row by row; its corner is the upper left one.

    Args:
        high: rows.
        wide: columns.
        x: (B, C, H, W) images that it moves in.
    """

    def __init__(self, high: int, wide: int, x: Tensor) -> None:
        height, width = x.shape[2:]
        self.high = high
        self.wide = wide
        self.width = width
        rows = torch.arange(high, device=x.device).repeat_interleave(wide)
        columns = torch.arange(wide, device=x.device).repeat(high)
        self.places = torch.stack([rows, columns])
        self.offsets = rows * width + columns
        # Filled by operations of the device, which a CUDA graph can take.
        self.room = torch.ones(2, dtype=torch.int64, device=x.device)
        self.room[0] += height - high
        self.room[1] += width - wide
        self.upright = _bump(high, wide, x).flatten()
        self.flat = _bump(wide, high, x).T.flatten()

    def corners(self, numbers: Tensor) -> Tensor:
        """(B, 2) row and column of corners from uniform numbers, the first two of each example."""
        return (numbers[:, :2] * self.room).long()

    def cells(self, corner: Tensor) -> Tensor:
        """(B, K) positions in the image, of the windows with corners (B, 2)."""
        return (corner[:, :1] * self.width + corner[:, 1:]) + self.offsets

    def outside(self, corner: Tensor, other: Tensor) -> Tensor:
        """(B, K) bool, which pixels of the windows at `corner` are not in those at `other`."""
        apart = corner - other
        rows = apart[:, :1] + self.places[0]
        columns = apart[:, 1:] + self.places[1]
        return (rows < 0) | (rows >= self.high) | (columns < 0) | (columns >= self.wide)
