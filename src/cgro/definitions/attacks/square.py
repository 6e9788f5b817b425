"""Square attack: random search without gradients (Andriushchenko et al., ECCV 2020)."""

import math
from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import Tensor

from cgro._check import count_field, number, one_of
from cgro.definitions.attacks.base import Attack
from cgro.definitions.attacks.dropping import rows_at_once
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.folding import folded
from cgro.definitions.attacks.passes import image_layout
from cgro.definitions.attacks.precision import PRECISIONS, Precision
from cgro.definitions.attacks.windows import Window, window_area, window_sides
from cgro.definitions.draws import Draws
from cgro.definitions.losses import margin

COMPACT_EVERY = 50
"""Rounds between two looks at which examples are still right. Affects speed only; no source."""
SPOILED = 0.25
"""Share of the queries that may be asked in vain, because one before them lowered the margin. Affects speed only; a
choice."""
LOOK_EVERY = 250
"""Queries between two looks at which walks lead nowhere."""
FIRST_LOOK = 1000
"""Queries before the first of these looks decides. On two networks that mask gradients, on which it was chosen, looks
from 500 on lost 4 of 53 examples that Square breaks, from 1,000 on none; docs/evaluation.md has others."""
OPTIMISM = 1.5
"""A walk is given up if it would stay right at this multiple of its recent pace. A choice."""
SLACK = 1e-6
"""Share of radius^p that the walks for p = 1 and 2 leave unused: more than float32 sums of changes can be off between
two exact sums, so that no point has to be projected onto the ball again. A choice."""


@dataclass(frozen=True)
class Square(Attack):
    """Random search over squares: a change that lowers the margin is kept. Masked gradients do not stop it.

    p = inf: from vertical stripes X +- radius; each query sets one square of random place to +radius or -radius, a
    sign per channel. p = 1, 2: from random signs; each query empties a second window and spends its budget, and what
    was unused, in the first, on a random bump. All points lie in ball and box. Inputs that are not (B, C, H, W) are
    taken as one column. It cannot prove that nothing is there either.

    In an evaluation after other attacks, the search of an example is stopped if its margin is above the lowest that
    they reached and would stay positive at 1.5 times the pace of its last half; alone, it makes all of its queries.

    Args:
        threat: where x_adv may lie.
        n_queries: forward passes.
        first_share: share of the image that the first squares cover.
        precision: of the queries. `auto` is float32: the margin falls in small steps, which bfloat16 does not see.

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
        super().__post_init__()
        count_field(self, "n_queries")
        number(self.first_share, "first_share", above=0.0, high=1.0)
        one_of(self.precision, "precision", PRECISIONS)

    @property
    def most_images(self) -> int:
        """Images of an example that an evaluation looks at, those that were asked in vain included."""
        return self.n_queries + int(SPOILED * self.n_queries)

    @property
    def search_precision(self) -> Precision:
        """The precision of the queries."""
        if self.precision == "auto":
            return "float32"
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
        if part.is_certain:
            part = replace(part, proposer=folded(part.model, norms=False))
        own = draws.rows(part.rows)
        kind = _Walk
        if self.threat.p == math.inf:
            kind = _SignWalk
        walk = kind(self, part, own)
        first = 0
        while first < self.n_queries:
            if not walk.compact(first):
                return
            last = min(walk.block_end(first), self.n_queries)
            walk.ask(range(first, last))
            first = last
        walk.report(self.n_queries)


def _signs(uniform: Tensor) -> Tensor:
    """Random signs from numbers that are uniform in [0, 1)."""
    return torch.where(uniform < 0.5, -1.0, 1.0)


def _unit(delta: Tensor, p: float) -> Tensor:
    """Each channel of (..., K, C) scaled to l_p norm 1; zero stays zero."""
    size = torch.linalg.vector_norm(delta, ord=p, dim=-2, keepdim=True)
    return delta / size.clamp_min(max(1e-12, torch.finfo(delta.dtype).tiny))


@dataclass(frozen=True)
class _Change:
    """What a query would write.

    Args:
        windows: (at, new, old) each (B, R, K, C): positions of cells, and their values after and before. They are
            written one after another, so where windows overlap the last one counts.
        gained: (B, R) mass that the change adds; None where it is not counted.
    """

    windows: tuple[tuple[Tensor, Tensor, Tensor], ...]
    gained: Tensor | None = None


class _Walk:
    """The current point of each example and its margin, in the precision of the search. As for p = 1, 2.

    A query changes windows only, so it costs what they cost and not what the images cost: `points` are written in
    place, and where the margin was not lowered, what was there is written back. Cells are the positions of an image
    with their channels, (B, H * W, C), a view of `points` in any memory layout. Inputs of another shape than images
    are one channel of one column.

    A round asks the next R queries of each example side by side, each from the current point. The first of them that
    lowers the margin is taken and those behind it are asked again, so the walk is that of one query after another,
    whatever R is: queries are rarely taken, and few rows cost a pass nearly what many do.
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
        self.copies: Tensor | None = None
        n = len(x)
        self.margins = torch.full((n,), torch.inf, dtype=evaluator.best.margins.dtype, device=x.device)
        self.fell = torch.zeros(n, dtype=torch.int64, device=x.device)
        self.mass = torch.zeros(n, dtype=torch.float64, device=x.device)
        self.n_taken = torch.zeros(n, dtype=torch.int64, device=x.device)
        self.given_up: Tensor | None = None
        if evaluator.reached is not None and evaluator.best.until_wrong:
            self.given_up = torch.zeros(n, dtype=torch.bool, device=x.device)
        self.looks: list[Tensor] = []
        self.n_beside = 1
        self.n_asked = 0
        self.n_spare = int(SPOILED * attack.n_queries)
        self.windows: dict[tuple[int, int], Window] = {}
        self.prepare()
        self._consider(self.points, 0)

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
        """Leave alone what is wrong and what leads nowhere, if this is an evaluation. False if nothing is left."""
        if not self.evaluator.best.until_wrong:
            return True
        if self.evaluator.is_certain or self.evaluator.dropping != "exact":
            self.report(step)
        if step % LOOK_EVERY == 0:
            self._give_up(step)
        stays = self.evaluator.shrunk(without=self.given_up)
        if stays is not None:
            self._keep(stays)
        self.prepare()
        self._choose_beside()
        return len(self.x) > 0

    def _keep(self, stays: Tensor) -> None:
        self.evaluator = self.evaluator.part(stays)
        self.draws = self.draws.rows(stays)
        self.x = image_layout(self.x[stays], self.evaluator.model)
        self.points = torch.empty_like(self.x).copy_(self.points[stays])
        self.margins, self.fell, self.n_taken = self.margins[stays], self.fell[stays], self.n_taken[stays]
        if self.given_up is not None:
            self.given_up = self.given_up[stays]
        self.looks = [margins[stays] for margins in self.looks]

    def _give_up(self, step: int) -> None:
        """Mark the walks that lead nowhere.

        Square is there for what gradients do not show. A walk that is still above the margin that attacks with
        gradients reached, and would stay right if it went on at `OPTIMISM` times the pace of its last half, shows no
        sign of that: random search slows down as its windows shrink. On a network that masks gradients walks get below
        what gradients reached, or hold their pace, and go on.
        """
        if self.given_up is None or self.evaluator.reached is None:
            return
        self.looks.append(self.margins)
        if step < FIRST_LOOK:
            return
        half = step // LOOK_EVERY // 2
        pace = (self.looks[half] - self.margins) / (step - half * LOOK_EVERY)
        way = OPTIMISM * pace * (self.attack.n_queries - step)
        above = self.margins > self.evaluator.reached
        self.given_up = self.given_up | (above & (self.margins > way))

    def _choose_beside(self) -> None:
        """How many queries of an example the next rounds ask side by side, by how many of the last ones were taken."""
        self.n_beside = 1
        if self.n_asked and len(self.x) and self.evaluator.dropping != "never":
            taken = float(self.n_taken.sum()) / (self.n_asked * len(self.x))
            few = rows_at_once(self.x.device) // len(self.x)
            self.n_beside = max(1, min(few, int(SPOILED / max(taken, 1e-6))))
        self.n_taken = torch.zeros_like(self.n_taken)
        self.n_asked = 0

    def block_end(self, first: int) -> int:
        """Where the queries end that are asked between two looks at the examples, the first of them given."""
        return min(first + COMPACT_EVERY * self.n_beside, first - first % LOOK_EVERY + LOOK_EVERY)

    def ask(self, queries: range) -> None:
        """Make some queries per example, whose random numbers are drawn at once."""
        numbers = self.draws.uniform(len(queries) * self.n_numbers).view(len(self.x), len(queries), -1)
        first = queries.start
        for query in queries:
            window = self._window(query)
            if query + 1 < queries.stop and self._window(query + 1) is window:
                continue
            # All of one window, up to here.
            self._ask_of(window, numbers[:, first - queries.start : query + 1 - queries.start], first)
            first = query + 1
        self.n_asked = len(queries)

    def _window(self, query: int) -> Window:
        sides = window_sides(window_area(query, self.attack.first_share), self.height, self.width)
        if sides not in self.windows:
            self.windows[sides] = Window(*sides, self.x)
        return self.windows[sides]

    def _ask_of(self, window: Window, numbers: Tensor, first: int) -> None:
        """Make the queries of one window. `numbers` are (B, Q, N), and `first` is the number of the first query."""
        n_queries = numbers.shape[1]
        if self.n_beside == 1:
            for query, own in enumerate(numbers.split(1, 1)):
                self._round(window, own, first + query + 1)
            return
        answered = torch.zeros(len(self.x), dtype=torch.int64, device=self.x.device)
        beside = torch.arange(min(self.n_beside, n_queries), device=self.x.device)
        least = asked = 0
        while least < n_queries:
            # One at a time, the slowest example is answered as often as it is asked: no more is asked in vain.
            if asked - least + len(beside) > self.n_spare:
                beside = beside[:1]
            which = answered[:, None] + beside
            own = numbers.gather(1, which.clamp(max=n_queries - 1)[:, :, None].expand(-1, -1, numbers.shape[2]))
            answered += self._round(window, own, first + answered + 1, which < n_queries)
            asked += len(beside)
            # Read between two rounds: each example is asked on from where it is.
            least = int(answered.min())
        self.n_spare -= asked - n_queries

    def _round(self, window: Window, numbers: Tensor, step: int | Tensor, asked: Tensor | None = None) -> Tensor:
        """Ask R queries of each example from its current point, and go to the first that lowers the margin.

        Args:
            window: of the queries.
            numbers: (B, R, N) uniform.
            step: number of the first of the queries, or (B,) one per example.
            asked: (B, R) bool, the queries that count; None means all.

        Returns:
            (B,) int64, how many of the queries are answered: up to the one taken, or all.
        """
        n_beside = numbers.shape[1]
        change = self.change(window, numbers)
        images = self.points
        cells = self.point_cells[:, None]
        if n_beside > 1:
            images = self._copied(n_beside)
            cells = self._cells(images).unflatten(0, (-1, n_beside))
        for at, new, _ in change.windows:
            cells.scatter_(2, at, new)
        taken, slot = self._consider(images, step, asked)
        kept = taken[:, None, None]
        for written in change.windows:
            at, new, old = (_at(values, slot) for values in written)
            self.point_cells.scatter_(1, at, torch.where(kept, new, old))
        if change.gained is not None:
            self.mass = torch.where(taken, self.mass + _at(change.gained, slot), self.mass)
        if slot is None:
            return taken.new_ones(len(taken), dtype=torch.int64)
        return torch.where(taken, slot + 1, n_beside)

    def _copied(self, n_beside: int) -> Tensor:
        """(B * R, C, H, W): the current points, R times each, in memory that the next round takes again."""
        n = len(self.points)
        if self.copies is None or len(self.copies) != n * n_beside:
            empty = self.points.new_empty(n * n_beside, *self.points.shape[1:])
            self.copies = image_layout(empty, self.evaluator.model)
        self.copies.unflatten(0, (n, n_beside)).copy_(self.points[:, None])
        return self.copies

    def change(self, window: Window, numbers: Tensor) -> _Change:
        """A query: mass of two windows and what is unused goes to the first, on its old direction plus a bump."""
        p = self.threat.p
        into, out = window.corners(numbers), window.corners(numbers[..., 2:])
        at_into, at_out = self._expanded(window.cells(into)), self._expanded(window.cells(out))
        x_into, old_into = self._values(self.x_cells, at_into), self._values(self.point_cells, at_into)
        x_out, old_out = self._values(self.x_cells, at_out), self._values(self.point_cells, at_out)
        delta = old_into - x_into
        emptied = (old_out - x_out).abs() ** p * window.outside(out, into)[..., None]
        freed = torch.cat([delta.abs() ** p, emptied], -2).sum(-2, keepdim=True, dtype=torch.float64)
        # Where rounding used more than there is, this takes it back.
        unused = (self.threat.radius**p * (1 - SLACK) - self.mass)[:, None, None, None]
        available = (freed + unused / self.n_channels).clamp_min(0) ** (1 / p)
        signs = _signs(numbers[..., 4:-1]).to(delta)[..., None, :]
        bump = torch.where(numbers[..., -1:] < 0.5, window.upright, window.flat)[..., None]
        moved = _unit(_unit(signs * bump, p) + _unit(delta, p), p) * available.to(delta)
        # In the ball by its mass; cutting at the box only brings it closer to X.
        new_into = x_into + moved
        if self.threat.box is not None:
            new_into = new_into.clamp_(*self.threat.box)
        gained = ((new_into - x_into).abs() ** p).sum((-2, -1), dtype=torch.float64) - freed.sum((-2, -1))
        # The second window first: where the two overlap, the first counts.
        return _Change(((at_out, x_out, old_out), (at_into, new_into, old_into)), gained)

    def _expanded(self, cells: Tensor) -> Tensor:
        return cells[..., None].expand(*cells.shape, self.n_channels)

    @staticmethod
    def _values(cells: Tensor, at: Tensor) -> Tensor:
        """(B, R, K, C) values of (B, N, C) cells at the positions (B, R, K, C)."""
        return cells[:, None].expand(-1, at.shape[1], -1, -1).gather(2, at)

    def _consider(
        self, images: Tensor, step: int | Tensor, asked: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Ask for the outputs at (B * R) images, and take over the margins of the first that lowers an example's.

        Args:
            images: R of each example, next to one another.
            step: number of the first query, or (B,) one per example.
            asked: (B, R) bool, the queries that count; None means all.

        Returns:
            (B,) bool, where one lowers it, and (B,) int64, which; None for R = 1.
        """
        points = images.view(-1, *self.shape)
        outputs = self.evaluator.outputs(points)
        n_beside = len(images) // len(self.x)
        y = self.evaluator.y
        slot = None
        if n_beside > 1:
            y = y.repeat_interleave(n_beside)
        margins = margin(outputs, y)
        if self.evaluator.is_certain:
            self.evaluator.watch.see_margins(margins)
        lower = margins.view(-1, n_beside) < self.margins[:, None]
        if asked is not None:
            lower &= asked
        if self.given_up is not None:
            lower &= ~self.given_up[:, None]
        taken = lower.any(1)
        if n_beside > 1:
            slot = lower.to(torch.uint8).argmax(1)
            step = step + slot
            first = torch.arange(len(self.x), device=slot.device) * n_beside + slot
            points, outputs, margins = points[first], outputs[first], margins[first]
        if not self.evaluator.is_certain:
            self.evaluator.propose(points, outputs, step, among=taken)
        fell = taken
        if not self.evaluator.best.until_wrong:
            fell = (self.margins > 0) & ~(margins > 0)
        elif self.evaluator.is_certain:
            taken &= self.margins > 0  # the first wrong point is the one to report
        self.fell = torch.where(fell, step, self.fell)
        self.margins = torch.where(taken, margins, self.margins)
        self.n_taken += taken
        return taken, slot

    def report(self, step: int) -> None:
        """Hand over where the walks are; margins that are not certain are evaluated."""
        points = self.points.view(-1, *self.shape)
        if not self.evaluator.is_certain:
            self.evaluator.update(points, step)
            return
        best = self.evaluator.best
        best.update(points, self.margins, self.evaluator.rows, self.fell, among=self.evaluator.active)


def _at(values: Tensor, slot: Tensor | None) -> Tensor:
    """(B, ...) of (B, R, ...): one of the R for each example; None for the only one."""
    if slot is None:
        return values[:, 0]
    return values[torch.arange(len(slot), device=slot.device), slot]


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

    def change(self, window: Window, numbers: Tensor) -> _Change:
        at = self._expanded(window.cells(window.corners(numbers)))
        to_low = (numbers[..., 2:] < 0.5).long() * (self.height * self.width)
        new = self._values(self.ends, at + to_low[:, :, None, :])
        return _Change(((at, new, self._values(self.point_cells, at)),))
