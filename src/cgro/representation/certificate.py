"""Certificates of the memorizer of Theorem 4.4: y F >= margin on every training ball, and what follows away from them.

Letters as in docs/representation.md. A: no support of another class meets the ball of a training point. A': any ramp,
the overlaps summed. B: points that are not memorized, by a certified bound on the clean model. C and D: any point.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.bounds import certified_margin
from cgro.definitions.inputs import as_inputs, as_labels
from cgro.definitions.losses import check_labels
from cgro.definitions.threat import ThreatModel
from cgro.representation.combination import ABOVE_ONE
from cgro.representation.memorizer import RobustMemorizer

ROUNDING = 1e-9
"""Subtracted from float64 margins: sums of D terms below 1, over a gap >= 1e-4, are off by less than D 1e-16 / 1e-4."""

BATCH = 512


@dataclass(frozen=True)
class Certificate:
    """What is certified of y F over every ball B_p(x_i, radius) of the training set.

    Args:
        margin: (N,) lower bounds of y F; for logits of half the margin, (F_y - max F_j) / 2, the same on balls.
        threat: norm, radius and box.
        n_parameters: non-zeros of the network; None if the clean model cannot be lowered.
        generic_parameters: the stated bound, of the indicators.
        method: letters and arithmetic.
        n_memorized: points that the network remembers.
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

    def to_dict(self) -> dict[str, object]:
        """Return plain values for `summary.json`.

        Returns:
            holds, min_margin, n (points), n_memorized, method.
        """
        return {
            "holds": self.holds,
            "min_margin": self.min_margin,
            "n": len(self.margin),
            "n_memorized": self.n_memorized,
            "method": self.method,
        }


def certify(
    memorizer: RobustMemorizer, *, threat: ThreatModel | None = None, exact: bool = False, batch: int = BATCH
) -> Certificate:
    """Bound y F from below over the training balls of Theorem 4.4 (certificates A, A' and B).

    margin_i = own_i - sum over other classes' k of ReLU(1 - zmin_ik / gap_k) - ReLU(1 - B own_i), own_i the least
    value of point i's own indicator on its ball (1 up to `inner`), zmin_ik the least excess of point k there. Where no
    other support meets the ball this is exactly 1, whatever f_clean is. Points that are not memorized take
    min(1, m_i) / B from a certified bound m_i on the clean model, and no overlap at all is allowed there.

    A ball on which the layers are not the network of the formula (it leaves the box that the network was made for), or
    f_clean may exceed its scale, has the margin -inf.

    It bounds the network of the formula and never reads written-out layers: those have rounded weights, and checks of
    their own (`verify.interval_check`, `verify.verify_balls`, `verify.sphere_check`, `export.export`).

    Args:
        memorizer: the network.
        threat: another radius of the same norm, to ask what still holds; None for its own.
        exact: decide in rational arithmetic on pixels k / 255 (rounded square roots for p = 2 go the safe way); else
            in float64 with 1e-9 subtracted where supports overlap.
        batch: points at a time.

    Returns:
        The bounds and how they were found.

    Raises:
        BadRequest: exact on data that are no pixels, another norm, small-margin points with a clean model that cannot
            be lowered.

    Example:
        >>> x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([-1, 1])
        >>> F = RobustMemorizer(lambda v: 0.3 - v[:, 0], x, y, ThreatModel("inf", 0.1))
        >>> certify(F).min_margin, certify(F, threat=ThreatModel("inf", 0.45)).holds
        (1.0, False)
    """
    m = memorizer
    threat = _same_norm(m, threat)
    if exact and m.pixels is None:
        raise bad("exact", expected="pixels k / 255", got="other floats", remedy="leave exact out")
    overlap = torch.zeros(len(m.y), dtype=torch.float64)
    met = torch.zeros(len(m.y), dtype=torch.bool)
    covered = torch.ones(len(m.y), dtype=torch.bool)
    for positions in torch.arange(len(m.y)).split(batch):
        rows, kept = _other_supports(m, m.points(positions), m.classes[positions], threat.radius)
        i = positions[rows]
        losses = _exact_losses if exact else _losses
        lost = losses(m, i, kept, threat.radius)
        overlap.index_add_(0, i, lost)
        met[i[lost > 0]] = True
        if _may_leave_range(m, threat) or (m.supports.unbounded and not m.binary):
            covered[positions] = m.supports.cover(m.points(positions), threat)
    own = _own_value(m, threat.radius)
    margin = own - overlap - (1 - ABOVE_ONE * own).clamp_min(0)
    if not exact:
        margin = margin - ROUNDING * met
    margin, letters = _with_unmemorized(m, margin, met, threat)
    margin = torch.where(covered, margin, -torch.inf)
    if bool(met.any()):
        letters += "'"
    arithmetic = "exact rational" if exact else "float64"
    count = m.parameters_of(measure=False)
    return Certificate(margin, threat, count.formula, count.generic, f"{letters}, {arithmetic}", m.n_memorized)


def _same_norm(m: RobustMemorizer, threat: ThreatModel | None) -> ThreatModel:
    """The threat to be asked about, of the network's own norm."""
    if threat is None:
        return m.threat
    if threat.p != m.threat.p:
        raise bad("threat", expected=f"p = {m.threat.p:g}", got=f"{threat.p:g}")
    return threat


def _may_leave_range(m: RobustMemorizer, threat: ThreatModel) -> bool:
    """Whether a threat reaches inputs outside of the box that the network was made for; without one all are inside."""
    return not m.supports.unbounded and threat.box != m.threat.box


def _other_supports(m: RobustMemorizer, x: Tensor, classes: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Pairs (row, memorized point of another class) whose support may meet the row's ball."""
    rows, kept = m.supports.near(x, radius)
    other = classes[rows] != m.kept_classes(kept)
    return rows[other], kept[other]


def _losses(m: RobustMemorizer, i: Tensor, kept: Tensor, radius: float) -> Tensor:
    """By how much memorized points of other classes can lower y F on the balls of points i; float64."""
    value = 1 - m.supports.least_excess(m.points(i), kept, radius) / m.supports.gap[kept]
    return torch.where(value > ROUNDING, value, 0.0)


def _exact_losses(m: RobustMemorizer, i: Tensor, kept: Tensor, radius: float) -> Tensor:
    """The same in rational arithmetic; the numbers of the network (inner, gap, threshold) are taken as they stand."""
    assert m.pixels is not None
    # Two images at a time become wide integers: all of them, for each batch again, took longer than the search.
    pixels = m.pixels.flatten(1)
    losses: list[float] = []
    for point, k in zip(i.tolist(), kept.tolist(), strict=True):
        delta = (pixels[point].long() - pixels[m.supports.memorized[k]].long()).abs()
        least = _exact_least_excess(m, delta, Fraction(radius))
        gap = Fraction(float(m.supports.gap[k]))
        losses.append(float(max(1 - least / gap, Fraction(0))))
    return torch.tensor(losses, dtype=torch.float64)


def _exact_least_excess(m: RobustMemorizer, delta: Tensor, radius: Fraction) -> Fraction:
    """zmin, as `Supports.least_excess`, from the integer pixel differences delta of two points."""
    inner = Fraction(m.supports.inner)
    none = Fraction(0)
    if m.threat.p == math.inf:
        values, counts = delta.unique(return_counts=True)
        total = none
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            total += max(Fraction(value, 255) - radius - inner, none) * count
        return total
    if m.threat.p == 1:
        return max(Fraction(int(delta.sum()), 255) - radius - inner, none)
    root = Fraction(math.isqrt(int((delta**2).sum()) << 80), 255 << 40)  # rounded down, to 40 binary places
    return max(max(root - radius, none) ** 2 - Fraction(m.supports.threshold), none)


def _own_value(m: RobustMemorizer, radius: float) -> Tensor:
    """The least value of each point's own indicator on its ball; 1 for points that are not memorized."""
    own = torch.ones(len(m.y), dtype=torch.float64)
    own[m.supports.memorized] = (1 - m.supports.largest_own_excess(radius) / m.supports.gap).clamp_min(0)
    return own


def _with_unmemorized(m: RobustMemorizer, margin: Tensor, met: Tensor, threat: ThreatModel) -> tuple[Tensor, str]:
    """Certificate B for the points that the network does not remember."""
    rest = torch.ones(len(m.y), dtype=torch.bool)
    rest[m.supports.memorized] = False
    if not bool(rest.any()):
        return margin, "A"
    positions = torch.nonzero(rest).squeeze(1)
    clean = clean_margin(m, m.points(positions), m.y[positions], threat)
    margin = margin.clone()
    margin[positions] = torch.where(met[positions], -torch.inf, clean.clamp_max(1.0) / ABOVE_ONE)
    return margin, "B" if m.n_memorized == 0 else "A+B"


def clean_margin(memorizer: RobustMemorizer, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """Bound the clean model's margin from below over the threat, in F's units.

    Args:
        memorizer: whose clean model.
        x: (B, *S) inputs.
        y: (B,) labels.
        threat: ball and box.

    Returns:
        (B,) bounds of y f for scores, of (f_y - max f_j) / (2 s) for logits.

    Raises:
        BadRequest: a clean model that cannot be lowered.
    """
    bound = certified_margin(memorizer.lowered_clean(), x, y, threat)
    return bound if memorizer.binary else bound / (2 * memorizer.combination.scale)


def small_margin_points(memorizer: RobustMemorizer) -> Tensor:
    """Find the points that must be memorized (v1: Theorem 3.3, Corollary 3.4): f_clean is not certified on their ball.

    With mu the share of such points, O~(mu N D) + poly(D) parameters suffice. The share found here is an upper bound of
    mu, as the certificate is not tight.

    Args:
        memorizer: supplies points, clean model and threat.

    Returns:
        (N,) bool.

    Raises:
        BadRequest: a clean model that cannot be lowered.
    """
    every = torch.arange(len(memorizer.y))
    return ~(clean_margin(memorizer, memorizer.points(every), memorizer.y, memorizer.threat) > 0)


def certified_robust(memorizer: RobustMemorizer, x: Tensor, y: Tensor, threat: ThreatModel | None = None) -> Tensor:
    """Find which examples are proved robust (certificates C and D).

    Either no support of another class meets the ball and f_clean is certified on it, with a margin above what rounding
    lets such supports take, or the ball lies in the core of a memorized point of its class. Where no support meets the
    ball at all, F is f_clean there, so nothing is lost by F beyond the bound on f_clean. The network may have been made
    without a box: all of this holds for any input then. If it has one, a ball that leaves it is not certified.

    Args:
        memorizer: the network.
        x: (B, *S) inputs.
        y: (B,) labels.
        threat: ball of the network's norm, and box; None for the network's own.

    Returns:
        (B,) bool.

    Raises:
        BadRequest: a clean model that cannot be lowered, another norm, labels that do not fit.
    """
    m = memorizer
    threat = _same_norm(m, threat)
    x = as_inputs(x)
    y = as_labels(y, x.device)
    outputs = torch.zeros(len(x), m.n_classes)
    if m.binary:
        outputs = outputs[:, 0]
    check_labels(outputs, y)
    flat = x.flatten(1).double()
    margins = [torch.zeros(0, dtype=torch.float64)]
    for rows in torch.arange(len(flat)).split(BATCH):
        margins.append(clean_margin(m, flat[rows], y[rows], threat))
    clean = torch.cat(margins)
    rows, kept = m.supports.near(flat, threat.radius)
    same = m.class_of(y)[rows] == m.kept_classes(kept)
    least = m.supports.least_excess(flat[rows], kept, threat.radius)
    value = (1 - least / m.supports.gap[kept] + ROUNDING).clamp_min(0)
    lost = torch.zeros(len(x), dtype=torch.float64)
    lost.index_add_(0, rows[~same], value[~same])
    in_core = same & (m.supports.distance(flat[rows], kept) + threat.radius <= m.supports.inner)
    core = torch.zeros(len(x), dtype=torch.bool)
    core[rows[in_core]] = True
    # Supports of other classes that sum to I lower y F by I, and the clean part by up to B I.
    free = (clean > 0) & (clean > (1 + ABOVE_ONE) * lost) & (lost <= 2 * ROUNDING)
    proved = free | (core & (lost < 1 - ROUNDING))
    if _may_leave_range(m, threat):
        proved &= m.supports.cover(flat, threat)
    return proved


def not_lowerable(memorizer: RobustMemorizer) -> str | None:
    """Say why the clean model cannot be written as affine layers.

    Args:
        memorizer: whose clean model.

    Returns:
        The reason in one line; None if it can.
    """
    try:
        memorizer.lowered_clean()
    except BadRequest as error:
        return str(error)
    return None
