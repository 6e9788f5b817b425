"""Certificates of the memorizer: y F >= margin on every training ball, and what follows away from them.

Letters as in docs/representation.md. A: no support of another class meets the ball of a training point. A': any ramp,
the overlaps summed. B: points that are not memorized, by a certified bound on the clean model.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.definitions.threat import ThreatModel
from cgro.representation.linear_relaxation import certified_margin
from cgro.representation.memorizer import ABOVE_ONE, RobustMemorizer
from cgro.representation.network import propagate_intervals

ROUNDING = 1e-9
"""Taken off float64 margins: sums of D terms below 1, over a gap >= 1e-4, are off by less than D 1e-16 / 1e-4."""


@dataclass(frozen=True)
class Certificate:
    """What is certified of y F over every ball B_p(x_i, radius) of the training set.

    Args:
        margin: (N,) lower bounds of y F; for logits of half the margin, (F_y - max F_j) / 2, the same on balls.
        threat: norm, radius and box. n_parameters: non-zeros of the network. generic_parameters: the stated bound.
        method: letters and arithmetic. n_memorized: points that the network remembers.
    """

    margin: Tensor
    threat: ThreatModel
    n_parameters: int | None
    generic_parameters: int
    method: str
    n_memorized: int

    @property
    def holds(self) -> bool:
        """Whether every point is certified."""
        return bool((self.margin > 0).all())

    @property
    def min_margin(self) -> float:
        """The least certified y F."""
        return float(self.margin.min())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `summary.json`."""
        return {
            "holds": self.holds, "min_margin": self.min_margin, "n": len(self.margin),
            "n_memorized": self.n_memorized, "method": self.method,
        }  # fmt: skip


def certify(
    memorizer: RobustMemorizer, *, threat: ThreatModel | None = None, exact: bool = False, batch: int = 512
) -> Certificate:
    """Lower bounds of y F over the training balls (certificates A, A' and B).

    margin_i = own_i - sum over other classes' k of ReLU(1 - zmin_ik / gap_k) - ReLU(1 - B own_i), own_i the least
    value of point i's own indicator on its ball (1 up to `inner`), zmin_ik the least excess of point k there. Where no
    other support meets the ball this is exactly 1, whatever f_clean is. Points that are not memorized take
    min(1, m_i) / B from a certified bound m_i on the clean model, and no overlap at all is allowed there.

    Args:
        memorizer: the network. threat: another radius of the same norm, to ask what still holds; None for its own.
        exact: decide in rational arithmetic on pixels k / 255 (rounded square roots for p = 2 go the safe way); else
            in float64 with 1e-9 taken off where supports overlap.
        batch: points at a time.

    Raises:
        BadRequest: exact on data that are no pixels, another norm, small-margin points with a clean model that cannot
            be lowered.

    Example:
        >>> x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([-1, 1])
        >>> F = RobustMemorizer(lambda v: 0.3 - v[:, 0], x, y, ThreatModel("inf", 0.1))
        >>> certify(F).min_margin, certify(F, threat=ThreatModel("inf", 0.45)).holds
        (1.0, False)
    """
    threat = threat or memorizer.threat
    if threat.p != memorizer.threat.p:
        raise bad("threat", expected=f"p = {memorizer.threat.p:g}", got=f"{threat.p:g}")
    if exact and memorizer.pixels is None:
        raise bad("exact", expected="pixels k / 255", got="other floats", remedy="leave exact out")
    n = len(memorizer.y)
    overlap, met = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.bool)
    for first in range(0, n, batch):
        positions = torch.arange(first, min(first + batch, n))
        i, k = _other_supports(memorizer, memorizer.points(positions), memorizer.classes[positions], threat.radius)
        if exact:
            i, k, lost = _exact_losses(memorizer, positions[i], k, threat.radius)
        else:
            i, lost = positions[i], _losses(memorizer, positions[i], k, threat.radius)
        overlap.index_add_(0, i, lost)
        met[i[lost > 0]] = True
    own = _own_value(memorizer, threat.radius)
    margin = own - overlap - (1 - ABOVE_ONE * own).clamp_min(0) - (0.0 if exact else ROUNDING) * met
    margin, letters = _with_unmemorised(memorizer, margin, met, threat)
    method = f"{letters}{chr(39) if bool(met.any()) else ''}, {'exact rational' if exact else 'float64'}"
    count = memorizer.parameters_of(measure=False)
    return Certificate(margin, threat, count.formula, count.generic, method, memorizer.n_memorized)


def _other_supports(m: RobustMemorizer, x: Tensor, classes: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Pairs (row, memorized point of another class) whose support may meet the row's ball."""
    rows, kept = m.near(x, radius)
    other = classes[rows] != m.classes[m.memorized[kept]]
    return rows[other], kept[other]


def least_excess(m: RobustMemorizer, x: Tensor, kept: Tensor, radius: float) -> Tensor:
    """zmin: the least excess of memorized point kept[j] over the ball of radius `radius` about x[j], float64."""
    delta = (x - m.centers(kept)).abs()
    p = m.threat.p
    if p == math.inf:
        return (delta - radius - m.inner).clamp_min(0).sum(1)
    if p == 1:
        return (delta.sum(1) - radius - m.inner).clamp_min(0)
    distance = (delta**2).sum(1).sqrt()
    return ((distance - radius).clamp_min(0) ** 2 - m.balls_threshold()).clamp_min(0)


def _losses(m: RobustMemorizer, i: Tensor, kept: Tensor, radius: float) -> Tensor:
    value = 1 - least_excess(m, m.points(i), kept, radius) / m.gap[kept]
    return torch.where(value > ROUNDING, value, 0.0)


def _exact_losses(m: RobustMemorizer, i: Tensor, kept: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same in rational arithmetic; the numbers of the network (inner, gap, threshold) are taken as they stand."""
    assert m.pixels is not None
    radius_, inner, p = Fraction(radius), Fraction(m.inner), m.threat.p
    pixels = m.pixels.flatten(1)
    losses = []
    for a, b in zip(i.tolist(), kept.tolist(), strict=True):
        delta = (pixels[a].long() - pixels[m.memorized[b]].long()).abs()
        gap = Fraction(float(m.gap[b]))
        if p == math.inf:
            values, counts = delta.unique(return_counts=True)
            parts = (max(Fraction(v, 255) - radius_ - inner, Fraction(0)) * c
                     for v, c in zip(values.tolist(), counts.tolist(), strict=True))  # fmt: skip
            least = sum(parts, Fraction(0))
        elif p == 1:
            least = max(Fraction(int(delta.sum()), 255) - radius_ - inner, Fraction(0))
        else:
            root = Fraction(math.isqrt(int((delta**2).sum()) << 80), 255 << 40)  # rounded down
            least = max(max(root - radius_, Fraction(0)) ** 2 - Fraction(m.balls_threshold()), Fraction(0))
        losses.append(float(max(1 - least / gap, Fraction(0))))
    return i, kept, torch.tensor(losses, dtype=torch.float64)


def _own_value(m: RobustMemorizer, radius: float) -> Tensor:
    """The least value of each point's own indicator on its ball; nan-free 1 for points that are not memorized."""
    own = torch.ones(len(m.y), dtype=torch.float64)
    p, beyond = m.threat.p, max(0.0, radius - m.inner)
    if p == math.inf:
        beyond *= m.dim
    elif p == 2:
        # q exceeds |x|^2 by at most the sawtooth error, which the threshold already contains
        beyond = max(0.0, radius**2 - m.inner**2)
    own[m.memorized] = (1 - beyond / m.gap).clamp_min(0)
    return own


def _with_unmemorised(m: RobustMemorizer, margin: Tensor, met: Tensor, threat: ThreatModel) -> tuple[Tensor, str]:
    """Certificate B for the points that the network does not remember."""
    rest = torch.ones(len(m.y), dtype=torch.bool)
    rest[m.memorized] = False
    if not bool(rest.any()):
        return margin, "A"
    positions = torch.nonzero(rest).squeeze(1)
    clean = clean_margin(m, m.points(positions), m.y[positions], threat)
    margin = margin.clone()
    margin[positions] = torch.where(met[positions], -torch.inf, clean.clamp_max(1.0) / ABOVE_ONE)
    return margin, "B" if m.n_memorized == 0 else "A+B"


def clean_margin(m: RobustMemorizer, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """A certified lower bound of the clean margin in F's units: y f, or (f_y - max f_j) / (2 s) for logits."""
    bound = certified_margin(m.lowered_clean(), x, y, threat)
    return bound if m.binary else bound / (2 * m.scale)


def small_margin_points(memorizer: RobustMemorizer) -> Tensor:
    """Training points on whose ball the clean model is not certified right: those that must be memorized. (N,) bool.

    Their share is an upper bound of the mu of the mu N D statement, as the certificate is not tight.
    """
    every = torch.arange(len(memorizer.y))
    return ~(clean_margin(memorizer, memorizer.points(every), memorizer.y, memorizer.threat) > 0)


def interval_check(memorizer: RobustMemorizer, positions: Tensor | None = None, *, batch: int = 16) -> Tensor:
    """Certified y F on training balls by interval arithmetic through the expanded network, layer by layer. (n,)

    Independent of `certify`: it knows nothing of distances or supports. For `box` and `compact` exactly 1, unless
    supports of the same class add to it; for `lean` and `shared` intervals lose too much, and the result is no verdict.
    For logits it is half the difference of bounds, as in `Certificate`.
    """
    m = memorizer
    positions = torch.arange(len(m.y)) if positions is None else positions
    layers, out = m.expand(), []
    for part in positions.split(batch):
        x = m.points(part)
        low, high = (x - m.threat.radius), (x + m.threat.radius)
        if m.threat.box is not None:
            low, high = low.clamp_min(m.low), high.clamp_max(m.high)
        low, high = propagate_intervals(layers, low, high)[-1]
        if m.binary:
            out.append(torch.where(m.y[part] > 0, low[:, 0], -high[:, 0]))
        else:
            right = m.y[part][:, None]
            others = high.scatter(1, right, -torch.inf).amax(1)
            out.append((low.gather(1, right).squeeze(1) - others) / 2)
    return torch.cat(out)


def certified_robust(memorizer: RobustMemorizer, x: Tensor, y: Tensor, threat: ThreatModel | None = None) -> Tensor:
    """Which examples are proved robust (parts C and D): no support of another class meets the ball, and f_clean is
    certified on it, or the ball lies in the core of a memorized point of its class. (B,) bool.

    Where no support meets the ball at all, F is f_clean there, so nothing is lost by F beyond the bound on f_clean.

    Raises:
        BadRequest: a clean model that cannot be lowered.
    """
    m, threat = memorizer, threat or memorizer.threat
    flat, classes = x.flatten(1).double(), m._classes(y)
    robust = torch.cat([
        clean_margin(m, a, b, threat) > 0 for a, b in zip(flat.split(512), y.split(512), strict=True)
    ])  # fmt: skip
    rows, kept = m.near(flat, threat.radius)
    distance = torch.linalg.vector_norm(flat[rows] - m.centers(kept), ord=m.threat.p, dim=1)
    same = classes[rows] == m.classes[m.memorized[kept]]
    lost = torch.zeros(len(x), dtype=torch.float64)
    value = (1 - least_excess(m, flat[rows], kept, threat.radius) / m.gap[kept] + ROUNDING).clamp_min(0)
    lost.index_add_(0, rows[~same], value[~same])
    core = torch.zeros(len(x), dtype=torch.bool)
    core[rows[same & (distance + threat.radius <= m.inner)]] = True
    return (robust & (lost <= 2 * ROUNDING)) | (core & (lost < 1 - ROUNDING))


def require_lowerable(memorizer: RobustMemorizer) -> str | None:
    """None if the clean model can be written as linear layers, else the reason in one line."""
    try:
        memorizer.lowered_clean()
    except BadRequest as error:
        return str(error)
    return None
