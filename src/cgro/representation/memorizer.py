"""Theorem 4.4 and Lemma 4.5 as networks: from memory near the training points, as the clean model elsewhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cgro._check import BadRequest, bad, number, one_of
from cgro.definitions.losses import Model, check_labels
from cgro.definitions.metrics import require_eval
from cgro.definitions.threat import ThreatModel
from cgro.representation.indicators import (
    DEFAULT_VARIANT,
    LAYERS,
    NORM_OF,
    Balls,
    expected_count,
    generic_count,
    sawtooth_error,
    sawtooth_excess,
)
from cgro.representation.neighbours import Neighbours
from cgro.representation.network import (
    DENSE_LIMIT,
    Layer,
    dense_layer,
    lower,
    propagate_intervals,
    side_by_side,
    sparse_layer,
    then,
    to_sequential,
)
from cgro.representation.separation import Separation, as_pixels, separation

SLACK = 1e-6  # the indicator is 1 a little beyond the ball: float32 points overshoot it by 6e-8 a coordinate
ABOVE_ONE = 1 + 2.0**-10  # B: with any B > 1, rounding in the sum of indicators cannot let f_clean through
ROUNDED_DOWN = 1 - 2.0**-40  # of ramps, so that the exact inequality survives their own rounding


@dataclass(frozen=True)
class Parameters:
    """Non-zero parameters of the whole network.

    Args:
        total: measured in the layers; None where they would not fit into memory.
        formula: predicted from the data. generic: of the indicator layers alone, if no input were zero.
        memorizer: formula without the clean model. clean: non-zeros of the lowered clean model, counted once.
        dense: entries if every matrix were dense.
    """

    total: int | None
    formula: int | None
    generic: int
    memorizer: int
    clean: int
    dense: int | None


class RobustMemorizer(nn.Module):
    """The CGRO classifier of Theorem 4.4, an explicit ReLU network on the user's own data.

    Scores: F = ReLU(c - B I) - ReLU(-c - B I) + m_+ - m_-, with c = f_clean clipped to [-1, 1], m_+- the sums of the
    soft indicators of either label, I = m_+ + m_- and B = 1 + 2^-10. Logits, one against rest:
    F_k = ReLU(f_k / s - B I) - ReLU(-f_k / s - B I) + m_k - sum_(j != k) m_j, s a power of two >= |f| on the box.
    Outside the supports, F is f_clean (clipped, divided by s): the same prediction.

    `forward` evaluates it in structured form on the indicators that are not 0, which is exact. What it does NOT say:
    that it is robust anywhere but near the memorized points.

    Args:
        clean_model: (B, *S) -> (B,) scores or (B, C) logits. x: (N, *S) training points. y: (N,) labels.
        threat: norm, radius and box of Assumption 4.1.
        variant: `box` or `compact` for p = inf, `lean` for p = 1, `shared` for p = 2; None takes the norm's first.
        ramp: gamma, the width on which an indicator falls to 0; None takes, a point, what keeps other classes' balls
            free, at most the radius. A given one may be too wide: `certify` says so.
        memorize: (M,) positions or (N,) bool of the points to memorize; None for all.
        separation: of (x, y), if it is already known.

    Raises:
        BadRequest: (2 + slack) radius >= separation, equal points with different labels, data outside the box, labels
            that do not fit the outputs, a variant of another norm, a ramp that is not positive.

    Example:
        >>> x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([-1, 1])
        >>> wrong = lambda v: 0.3 - v[:, 0]                     # a clean model that errs on both points
        >>> F = RobustMemorizer(wrong, x, y, ThreatModel("inf", 0.1))
        >>> F(torch.tensor([[0.2], [0.29], [0.5], [0.8]])).tolist()
        [-1.0, -1.0, -0.19999998807907104, 1.0]
    """

    def __init__(
        self, clean_model: Model, x: Tensor, y: Tensor, threat: ThreatModel, *, variant: str | None = None,
        ramp: float | None = None, memorize: Tensor | None = None, separation: Separation | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        require_eval(clean_model)
        self.clean_model, self.threat, self.training = clean_model, threat, False
        self.variant = one_of(variant or DEFAULT_VARIANT[threat.p], "variant", LAYERS)
        if NORM_OF[self.variant] != threat.p:
            raise bad("variant", expected=f"one for p = {threat.p:g}", got=variant, remedy="leave it out")
        number(threat.radius, "radius", low=1e-9)
        self.shape, self.y = tuple(x.shape[1:]), y.cpu()
        self._require_task(x)
        self.pixels = as_pixels(x)
        self._flat = (x if self.pixels is None else self.pixels).flatten(1).cpu()
        self.separation = separation or _separation(x, y, threat.p)
        self.separation.require(threat.radius, SLACK)
        self.inner = threat.radius * (1 + SLACK)
        self.memorized = _positions(memorize, len(x))
        self._set_ramps(ramp)
        self.classes = self._classes(self.y)
        self._neighbours = Neighbours(self.centers(torch.arange(self.n_memorized)).float(), threat.p)
        self._lowered: list[Layer] | None = None
        self._expanded: list[Layer] | None = None
        self.scale = self._logit_scale() if self.n_classes > 2 or not self.binary else 1.0

    def _require_task(self, x: Tensor) -> None:
        if self.threat.box is not None and x.dtype != torch.uint8:
            self.threat.check_input(x)
        if len(x) != len(self.y):
            raise bad("labels", expected=f"{len(x)}, one a point", got=len(self.y))
        with torch.no_grad():
            outputs = self.clean_model(self.shaped(x[:2] / 255 if x.dtype == torch.uint8 else x[:2]))
        self.binary = outputs.ndim == 1
        self.n_classes = 2 if self.binary else outputs.shape[1]
        check_labels(outputs[:1].expand(len(self.y), *outputs.shape[1:]), self.y)

    def _classes(self, y: Tensor) -> Tensor:
        return ((y + 1) // 2 if self.binary else y).long()

    def _set_ramps(self, ramp: float | None) -> None:
        """gamma_i = min(d_i - radius - inner, radius), d_i the distance to the nearest point of another class."""
        radius, inner, kept = self.threat.radius, self.inner, self.memorized.numpy()
        room = torch.from_numpy(np.minimum(self.separation.nearest[kept] - radius - inner, radius)) * ROUNDED_DOWN
        self.ramp = room if ramp is None else torch.full_like(room, number(ramp, "ramp", low=1e-12))
        self.low, self.high = self.threat.box or self._range()
        self.depth = 0
        self.gap = self.ramp
        if self.variant == "shared":
            shell = (inner + self.ramp) ** 2 - inner**2
            self.depth = 2
            while self._error() > 0.5 * float(shell.min()):
                self.depth += 1
            self.gap = (shell - self._error()) * ROUNDED_DOWN

    def _range(self) -> tuple[float, float]:
        """The inputs that unbounded balls around the data can reach."""
        flat = self._flat.double() / (1 if self.pixels is None else 255)
        return float(flat.min()) - self.inner, float(flat.max()) + self.inner

    def _error(self) -> float:
        return sawtooth_error(self._flat.shape[1], self.low, self.high, self.depth)

    def _logit_scale(self) -> float:
        """A power of two above |f_clean|: over the box by intervals, or 64 times that on the data (then it clips)."""
        try:
            box = torch.full((1, self._flat.shape[1]), 1.0, dtype=torch.float64)
            low, high = propagate_intervals(self.lowered_clean(), self.low * box, self.high * box)[-1]
            top = max(float(-low.min()), float(high.max()))
        except BadRequest:
            with torch.no_grad():
                some = self.shaped(self.points(torch.arange(min(256, len(self.y)))))
                top = 64 * float(self.clean_model(some).abs().max())
        return 2.0 ** math.ceil(math.log2(max(top, 1.0)))

    @property
    def n_memorized(self) -> int:
        """Number of memorized points."""
        return len(self.memorized)

    @property
    def dim(self) -> int:
        """D, the number of inputs."""
        return self._flat.shape[1]

    @property
    def reach(self) -> Tensor:
        """(M,) radius of each support: outside it the indicator is 0."""
        return self.inner + self.ramp

    def shaped(self, x: Tensor) -> Tensor:
        """Inputs in the shape and precision of the clean model: (B, D) float64 -> (B, *S)."""
        model = self.clean_model
        first = next(iter(_parameters(model)), None)
        return x.to(torch.float32 if first is None else first.dtype).view(-1, *self.shape)

    def points(self, positions: Tensor) -> Tensor:
        """Training points as float64, (n, D)."""
        rows = self._flat[positions].double()
        return rows if self.pixels is None else rows / 255

    def centers(self, kept: Tensor) -> Tensor:
        """Memorized points as float64, (n, D)."""
        return self.points(self.memorized[kept])

    def balls(self) -> Balls:
        """All that the indicator layers are made from."""
        centers = self.centers(torch.arange(self.n_memorized))
        return Balls(centers, self.inner, self.gap, self.low, self.high, self.depth)

    def balls_threshold(self) -> float:
        """p = 2: the threshold t of the squared distance."""
        return self.inner**2 + self._error()

    def near(self, x: Tensor, margin: float = 0.0) -> tuple[Tensor, Tensor]:
        """Pairs (row of x, memorized point) that hold every one with distance < margin + inner + ramp: the active set.

        With margin r, all others have indicator 0 on the whole ball of radius r about the row.
        """
        rows, kept = self._neighbours.within(x, self.reach.numpy() + margin)
        return torch.from_numpy(rows), torch.from_numpy(kept)

    def excess(self, x: Tensor, rows: Tensor, kept: Tensor) -> Tensor:
        """z of the pairs (x[rows], memorized point kept), float64, differentiable in x."""
        flat = x.flatten(1).double()
        delta = flat[rows] - self.centers(kept)
        if self.threat.p == math.inf:
            return (delta.abs() - self.inner).clamp_min(0).sum(1)
        if self.threat.p == 1:
            return (delta.abs().sum(1) - self.inner).clamp_min(0)
        squares = sawtooth_excess(flat, self.low, self.high, self.depth)
        return ((delta**2).sum(1) + squares[rows] - self.balls_threshold()).clamp_min(0)

    def indicators(self, x: Tensor) -> Tensor:
        """All soft indicators, (B, M) float64: the full structured pass, which looks at every point."""
        everything = torch.arange(self.n_memorized)
        out = []
        for row in range(len(x)):
            for kept in everything.split(1024):
                z = self.excess(x[row : row + 1], torch.zeros(len(kept), dtype=torch.long), kept)
                out.append((1 - z / self.gap[kept]).clamp_min(0))
        return torch.cat(out).view(len(x), -1)

    def memory(self, x: Tensor) -> Tensor:
        """m_k, the sum of the indicators of class k, (B, C), by the active set."""
        with torch.no_grad():
            rows, kept = self.near(x)
        if not len(rows):
            return torch.zeros(len(x), self.n_classes, dtype=torch.float64)
        value = (1 - self.excess(x, rows, kept) / self.gap[kept]).clamp_min(0)
        cell = rows * self.n_classes + self.classes[self.memorized[kept]]
        flat = torch.zeros(len(x) * self.n_classes, dtype=torch.float64)
        return flat.index_add(0, cell, value).view(len(x), self.n_classes)

    def combine(self, outputs: Tensor, memory: Tensor) -> Tensor:
        """F from the outputs of the clean model and the sums of indicators."""
        memory = memory.to(outputs.dtype)
        total = memory.sum(1) if self.binary else memory.sum(1, keepdim=True)
        clipped = (outputs / self.scale).clamp(-1, 1)
        kept = (clipped - ABOVE_ONE * total).clamp_min(0) - (-clipped - ABOVE_ONE * total).clamp_min(0)
        return kept + (memory[:, 1] - memory[:, 0] if self.binary else 2 * memory - total)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *S) -> (B,) scores or (B, C) logits, by the active set."""
        return self.combine(self.clean_model(x), self.memory(x))

    def lowered_clean(self) -> list[Layer]:
        """The clean model as linear layers.

        Raises:
            BadRequest: it has a module that cannot be lowered (named), or is no module.
        """
        if self._lowered is None:
            if not isinstance(self.clean_model, nn.Module):
                raise bad("clean model", expected="an nn.Sequential", got=type(self.clean_model).__name__)
            self._lowered = lower(self.clean_model, self.shape)
        return self._lowered

    def expand(self, *, limit: int = 4 * DENSE_LIMIT) -> list[Layer]:
        """The network as sparse affine layers with ReLU between them, outputs (B, 1) or (B, C).

        Raises:
            BadRequest: more than `limit` non-zeros, or a clean model that cannot be lowered.
        """
        n_nonzero = generic_count(self.variant, self.n_memorized, self.dim, self.depth, self.low)
        if n_nonzero > limit:
            raise bad("network", expected=f"at most {limit:,} non-zeros to write out", got=f"{n_nonzero:,}",
                      remedy="memorize fewer points, or evaluate it in structured form")  # fmt: skip
        if self._expanded is not None:
            return self._expanded
        labels, each = self.classes[self.memorized], torch.arange(self.n_memorized)
        ones, none = torch.ones(self.n_memorized), torch.zeros(self.n_classes)
        memory = [*LAYERS[self.variant](self.balls()), sparse_layer(labels, each, ones, none, self.n_memorized)]
        clean = self.lowered_clean()
        tail = _score_tail() if self.binary else _logit_tail(self.n_classes)
        last = [then(clean[-1], tail.entry), *tail.before] if self.binary else [_rescaled(clean[-1], self.scale)]
        self._expanded = [*side_by_side([[*clean[:-1], *last], memory]), *tail.after]
        return self._expanded

    def to_sequential(self, *, limit: int = DENSE_LIMIT) -> nn.Sequential:
        """The expanded network from `nn.Linear` and `nn.ReLU`, float64, on flat inputs; small N only.

        Raises:
            BadRequest: the dense matrices would have more than `limit` entries.
        """
        n_dense = self._dense_estimate()
        if n_dense > limit:
            raise bad("network", expected=f"at most {limit:,} dense entries", got=f"about {n_dense:,}",
                      remedy="memorize fewer points, or use expand()")  # fmt: skip
        return to_sequential(self.expand(), limit=limit)

    def _dense_estimate(self) -> int:
        n, dim = self.n_memorized, self.dim
        hidden = {"box": 2 * n * dim, "compact": 2 * n * dim, "lean": n * dim, "shared": 3 * dim}[self.variant]
        return hidden * (dim + n) if self.variant != "shared" else hidden * (dim + self.depth * hidden) + n * dim

    def parameters_of(self, *, measure: bool = True) -> Parameters:
        """Parameter accounting: predicted from the data and, where it fits, counted in the layers."""
        balls = self.balls()
        branch = expected_count(self.variant, balls)
        generic = generic_count(self.variant, self.n_memorized, self.dim, self.depth, self.low)
        try:
            clean = self.lowered_clean()
        except BadRequest:
            n_clean = sum(q.numel() for q in _parameters(self.clean_model))
            return Parameters(None, None, generic, branch + self.n_memorized, n_clean, None)
        n_clean = sum(layer.n_nonzero for layer in clean)
        depth_clean = len(clean) - 1 + (2 if self.binary else 1)
        depth_memory = {"box": 2, "compact": 2, "lean": 3, "shared": self.depth + 3}[self.variant] + 1
        formula = branch + self.n_memorized + n_clean + self._tail_count(clean[-1], depth_clean, depth_memory)
        total = dense = None
        if measure and generic <= 4 * DENSE_LIMIT:
            layers = self.expand()
            total, dense = sum(a.n_nonzero for a in layers), sum(a.n_dense for a in layers)
        return Parameters(total, formula, generic, formula - n_clean, n_clean, dense)

    def _tail_count(self, last: Layer, depth_clean: int, depth_memory: int) -> int:
        c, wait_memory, wait_clean = self.n_classes, depth_clean - depth_memory, depth_memory - depth_clean
        if self.binary:
            changed = _entry_change(last, _score_tail().entry)
            return 16 + changed + 2 * max(0, wait_memory) + max(0, wait_clean)
        pads = c * max(0, wait_memory) + 2 * c * max(0, wait_clean)
        return last.n_nonzero + 2 * c * (1 + c) + c + c * (2 + c) + pads


def _parameters(model: object) -> list[Tensor]:
    """Those of a module; a plain function has none."""
    return list(model.parameters()) if isinstance(model, nn.Module) else []


def _entry_change(last: Layer, entry: Layer) -> int:
    """By how many non-zeros the last layer's count differs after 1 - f: its bias b becomes 1 - b."""
    return then(last, entry).n_nonzero - last.n_nonzero


def _separation(x: Tensor, y: Tensor, p: float) -> Separation:
    return separation(x, y, p)


def _positions(memorize: Tensor | None, n: int) -> Tensor:
    if memorize is None:
        return torch.arange(n)
    kept = torch.nonzero(memorize).squeeze(1) if memorize.dtype == torch.bool else memorize.long().sort().values
    if len(kept) and (kept[0] < 0 or kept[-1] >= n or len(kept.unique()) < len(kept)):
        raise bad("memorize", expected=f"different positions in 0 .. {n - 1}", got=kept.tolist()[:5])
    return kept


@dataclass(frozen=True)
class _Tail:
    """Layers that join the branches: `entry` is composed with the clean model's last layer."""

    entry: Layer
    before: Sequence[Layer]
    after: Sequence[Layer]


def _matrix(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _score_tail() -> _Tail:
    """c = ReLU(2 - ReLU(1 - f)) - 1; then F. In this nesting interval arithmetic keeps c in [-1, 1]."""
    b = ABOVE_ONE
    entry = dense_layer(_matrix([[-1.0]]), _matrix([[1.0]])[0])
    clip = dense_layer(_matrix([[-1.0]]), _matrix([[2.0]])[0])
    join = dense_layer(
        _matrix([[1, -b, -b], [-1, -b, -b], [0, 1, 0], [0, 0, 1]]), torch.tensor([-1.0, 1, 0, 0], dtype=torch.float64)
    )
    out = dense_layer(_matrix([[1, -1, -1, 1]]))
    return _Tail(entry, [clip], [join, out])


def _rescaled(last: Layer, scale: float) -> Layer:
    """The clean logits over `scale`, and their negatives: ReLU lets through the positive and the negative part."""
    eye = torch.eye(len(last.bias), dtype=torch.float64) / scale
    return then(last, dense_layer(torch.cat([eye, -eye])))


def _logit_tail(c: int) -> _Tail:
    """From (f+, f-, m): ReLU(+-f - B I), then F_k = . - . + m_k - sum_(j != k) m_j."""
    eye, ones = torch.eye(c, dtype=torch.float64), torch.ones(c, c, dtype=torch.float64)
    none = torch.zeros(c, c, dtype=torch.float64)
    # f+ enters only the first row block and f- only the second: the other part is 0 where a block can be positive.
    blocks = [[eye, none, -ABOVE_ONE * ones], [none, eye, -ABOVE_ONE * ones], [none, none, eye]]
    join = dense_layer(torch.cat([torch.cat(row, 1) for row in blocks]))
    return _Tail(join, [], [join, dense_layer(torch.cat([eye, -eye, 2 * eye - ones], 1))])


class HardMemorizer(nn.Module):
    """Lemma 4.5's classifier f_S itself, with hard indicators: the oracle of `RobustMemorizer`.

    f_S(X) = f_clean(X) (1 - 1{X in union of B_p(X_i, delta)}) + sum_i y_i 1{X in B_p(X_i, delta)}. Not a ReLU network,
    not continuous: a gradient finds nothing in it. For logits the sum is m_k - sum_(j != k) m_j.

    Args:
        memorizer: supplies data, norm, radius and clean model.
        radius: of the balls; None takes the threat's own, `memorizer.inner` the one that the network has.

    Example:
        >>> F = RobustMemorizer(lambda v: v[:, 0] - 0.5, torch.tensor([[0.2], [0.8]]), torch.tensor([1, -1]),
        ...                     ThreatModel("inf", 0.1))
        >>> HardMemorizer(F)(torch.tensor([[0.25], [0.4]])).tolist()
        [1.0, -0.09999999403953552]
    """

    def __init__(self, memorizer: RobustMemorizer, radius: float | None = None) -> None:
        super().__init__()
        self.training = False
        self.inner, self.radius = memorizer, memorizer.threat.radius if radius is None else radius

    def forward(self, x: Tensor) -> Tensor:
        """(B, *S) -> (B,) or (B, C)"""
        m = self.inner
        rows, kept = m.near(x, self.radius - m.inner)
        delta = x.flatten(1).double()[rows] - m.centers(kept)
        inside = torch.linalg.vector_norm(delta, ord=m.threat.p, dim=1) <= self.radius
        memory = torch.zeros(len(x), m.n_classes, dtype=torch.float64)
        memory.index_put_((rows[inside], m.classes[m.memorized[kept[inside]]]),
                          torch.ones(int(inside.sum()), dtype=torch.float64), accumulate=True)  # fmt: skip
        outputs = m.clean_model(x)
        memory, free = memory.to(outputs.dtype), (memory.sum(1) == 0).to(outputs.dtype)
        if m.binary:
            return outputs * free + memory[:, 1] - memory[:, 0]
        return outputs * free[:, None] + 2 * memory - memory.sum(1, keepdim=True)
