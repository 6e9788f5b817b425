"""The threat model: which perturbed inputs X' the adversary may choose, and the projection onto their set.

Balls, projections, samples and steepest steps of the norms are written here, once. Elsewhere the norm is only asked for
by name where a published rule differs by norm: the steps of APGD and Square, certificates, and the separation.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cgro._check import FEWER_BITS, WHITE, WHITE_OF_16_BITS, BadRequest, apart, bad, number, white_of
from cgro.definitions.draws import Draws, draws_for
from cgro.definitions.inputs import conversion_of
from cgro.definitions.projections import fill_largest, scale_to_sphere, shrink_to_simplex

_EPS32 = 2.0**-23
_ROUNDED_AWAY = 1e-4
"""How far normalizing an image and back may move it: some roundings of values around 2. A choice."""
ROUNDS = 4
"""Rounds of `ThreatModel.pull_in`. On images of MNIST at radius 1.5 the norm is then within 1e-3 of the radius."""
_BYTES = (16.0, 255.0)
"""Between these lies the largest value of images in 0..255, unless they are nearly black. A choice."""


def parse_p(p: float | str) -> float:
    """Read the order of the norm.

    Args:
        p: 1, 2 or inf, also as a string.

    Returns:
        The number.

    Raises:
        BadRequest: anything else.

    Example:
        >>> parse_p("inf")
        inf
    """
    try:
        value = float(p)
    except (TypeError, ValueError):
        value = math.nan
    if value not in (1.0, 2.0, math.inf):
        raise bad("p", expected="1, 2 or inf", got=repr(p))
    return value


@dataclass(frozen=True)
class ThreatModel:
    """The set {X' : ‖X' - X‖_p <= radius} ∩ box (the paper's delta is `radius`).

    Args:
        p: order of the norm: 1, 2 or inf (also the strings).
        radius: >= 0, in units of the input; "8/255" is read as a fraction.
        box: (low, high), the range of valid inputs; None for unbounded inputs (this also switches the range check off).

    Raises:
        BadRequest: p is none of the three, radius is negative or wider than the box (8 where 8/255 was meant).

    Example:
        >>> t = ThreatModel("inf", "8/255")
        >>> t.project(torch.tensor([[1.2, 0.5]]), torch.tensor([[0.99, 0.5]]))
        tensor([[1.0000, 0.5000]])
    """

    p: float
    radius: float
    box: tuple[float, float] | None = (0.0, 1.0)

    if TYPE_CHECKING:  # what the constructor reads; the fields are numbers

        def __init__(
            self, p: float | str, radius: float | str, box: tuple[float, float] | None = (0.0, 1.0)
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", parse_p(self.p))
        if isinstance(self.radius, bool):
            raise bad("radius", expected="a number such as 0.1 or 8/255", got=self.radius)
        object.__setattr__(self, "radius", number(self.radius, "radius", low=0.0))
        if self.box is None:
            return
        try:
            low, high = (float(b) for b in self.box)
        except (TypeError, ValueError):  # three numbers, a word, None in it
            raise bad("box", expected="(low, high) with low < high", got=self.box) from None
        if not low < high:
            raise bad("box", expected="(low, high) with low < high", got=self.box)
        object.__setattr__(self, "box", (low, high))
        if self.p == math.inf and self.radius > high - low:
            hint = "give it in units of the input"
            if self.radius < 256:  # 8 where 8/255 was meant
                hint = f"did you mean {self.radius:g}/255?"
            width, came = apart(high - low, self.radius)
            raise bad("radius", expected=f"at most the width of the box, {width}", got=came, remedy=hint)

    def at(self, radius: float) -> "ThreatModel":
        """The same threat with another radius.

        Args:
            radius: in units of the input.

        Returns:
            A new threat model.
        """
        return replace(self, radius=radius)

    def to_dict(self) -> dict[str, object]:
        """Write it for `summary.json`.

        Returns:
            Plain values of p ("inf" as text), radius and box.
        """
        p = "inf" if self.p == math.inf else int(self.p)
        return {"p": p, "radius": self.radius, "box": self.box}

    def distance(self, x: Tensor, center: Tensor) -> Tensor:
        """‖x - center‖_p per example.

        Args:
            x: (B, *S).
            center: (B, *S).

        Returns:
            (B,) float64.
        """
        delta = (x.double() - center.double()).flatten(1)
        return torch.linalg.vector_norm(delta, ord=self.p, dim=1)

    @property
    def rounding(self) -> float:
        """How far float32 may round an edge of the box outwards: 151.061, which it lacks, becomes 151.061005."""
        low, high = self.box or (0.0, 0.0)
        return _EPS32 * max(1.0, abs(low), abs(high))

    def check_input(self, x: Tensor) -> None:
        """Refuse inputs that are not finite or not in the box.

        Args:
            x: (B, *S). Reads its smallest and largest value on the host.

        Raises:
            BadRequest: says the range that came and which conversion was probably forgotten.
        """
        if not x.is_floating_point():
            raise bad("inputs", expected="floating point", got=x.dtype, remedy=conversion_of(x))
        if not x.numel():
            return
        low, high = (float(v) for v in torch.aminmax(x))
        self.check_range(low, high)

    def check_range(self, low: float, high: float) -> None:
        """Refuse a range of inputs that is not finite or not in the box. Reads no tensor.

        Args:
            low: smallest value; NaN if there is one.
            high: largest value.

        Raises:
            BadRequest: see `check_input`.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            got = f"values in [{low:g}, {high:g}]"
            raise bad("inputs", expected="finite values", got=got, remedy="remove NaN and inf")
        if self.box is None or (low >= self.box[0] - self.rounding and high <= self.box[1] + self.rounding):
            return
        first, last, least, largest = apart(*self.box, low, high, digits=3)
        expected = f"values in [{first}, {last}]"
        remedy = "move the normalization into the model, or give another box"
        got = f"[{least}, {largest}]"
        if low >= 0 and high > 2:  # images in 0..255, or of more bits
            remedy = f"divide by the value of white and by nothing else: {WHITE_OF_16_BITS} of 16 bits; {FEWER_BITS}"
            if white_of(low, high) == WHITE:
                remedy = f"divide by {WHITE}"
        elif max(self.box[0] - low, high - self.box[1]) < _ROUNDED_AWAY:
            got = f"[{low:.9g}, {high:.9g}]"
            remedy = f"these are roundings; use x.clamp({self.box[0]:g}, {self.box[1]:g})"
        raise bad("inputs", expected=expected, got=got, remedy=remedy)

    def contains(self, x: Tensor, center: Tensor) -> Tensor:
        """Whether each x is in the ball and the box, up to the rounding of float32 storage.

        Forming center + delta rounds every coordinate by at most 2^-24 of its size; the tolerance is twice that, in the
        p-norm over the coordinates. It is a bound on rounding, not a margin to spend.

        Args:
            x: (B, *S) points.
            center: (B, *S).

        Returns:
            (B,) bool.
        """
        if not len(center):
            return torch.ones(0, dtype=torch.bool, device=x.device)
        # Neither read on the host, where a GPU would wait, nor made there, which a CUDA graph cannot capture.
        size = center.new_full((), self.radius, dtype=torch.float64)
        if center.numel():
            size = size + center.abs().max()
        unit = _EPS32 * size.clamp(min=1e-30)
        # n^(1/p) is the p-norm of a vector of n ones; for p = inf it is 1.
        rounding = unit * center[0].numel() ** (1 / self.p)
        inside = self.distance(x, center) <= self.radius * (1 + _EPS32) + rounding
        if self.box is not None:
            flat = x.flatten(1)
            inside &= ((flat >= self.box[0] - unit) & (flat <= self.box[1] + unit)).all(1)
        return inside

    def _room(self, center: Tensor) -> tuple[Tensor, Tensor]:
        """How far each coordinate may go down and up before it leaves the box, both >= 0, (B, D)."""
        flat = center.flatten(1)
        if self.box is None:
            return torch.full_like(flat, math.inf), torch.full_like(flat, math.inf)
        return (flat - self.box[0]).clamp_min_(0), (self.box[1] - flat).clamp_min_(0)

    def project(self, x: Tensor, center: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The exact Euclidean projection onto ball and box together.

        argmin_z ‖z - x‖_2 subject to ‖z - center‖_p <= radius and z in the box; `center` must lie in the box.
        p = inf: two clamps. p = 2: z - center = clip(s v, -down, up), v = x - center, with the one s in (0, 1] that
        puts it on the sphere. p = 1: |z - center| = clip(|v| - t, 0, room), with the one t >= 0. Both roots are exact:
        the left sides are piecewise quadratic and linear, and the breakpoints are sorted.

        Args:
            x: (B, *S) points.
            center: (B, *S), in the box.
            out: (B, *S), written and returned; may be x. None means new memory, which costs a CPU more than the
                arithmetic of p = inf.

        Returns:
            (B, *S), in the dtype of x.

        Example:
            >>> ThreatModel(1, 0.5).project(torch.tensor([[1.0, 0.5]]), torch.tensor([[0.2, 0.2]]))
            tensor([[0.7000, 0.2000]])
        """
        if self.p == math.inf:
            # Without reshaping, which would copy images in channels_last layout at every step of an attack.
            # In place on the difference.
            near = torch.sub(x, center, out=out).clamp_(-self.radius, self.radius).add_(center)
            if self.box is not None:
                near.clamp_(*self.box)
            return near
        delta = (x - center).flatten(1)
        down, up = self._room(center)
        size = delta.abs()
        room = torch.where(delta < 0, down, up)
        if self.p == 2:
            kept = scale_to_sphere(size, room, self.radius, largest_scale=1.0)
        else:
            kept = shrink_to_simplex(size, room, self.radius)
        moved = self._place(torch.copysign(kept, delta), center, down, up)
        if out is None:
            return moved
        return out.copy_(moved)

    def pull_in(self, x: Tensor, center: Tensor) -> Tensor:
        """A point of ball and box near the projection, for the steps of a search: for p = 2 without sorting.

        For p = 2 the scale s of `project` is the root of g(s) = ‖min(s a, room)‖^2 - radius^2. From s = radius / ‖a‖,
        each round solves for the coordinates that are free at s, as if no other reached the box: the sum is then at
        least g, so s grows and never passes the root. After `ROUNDS` of them the point lies in the ball, next to its
        surface. For p = 1 and inf it is `project`.

        Args:
            x: (B, *S) points.
            center: (B, *S), in the box.

        Returns:
            (B, *S), in the dtype of x.

        Example:
            >>> ThreatModel(2, 0.5).pull_in(torch.tensor([[1.2, 0.8]]), torch.tensor([[0.9, 0.4]]))
            tensor([[1.0000, 0.8000]])
        """
        if self.p != 2:
            return self.project(x, center)
        delta = (x - center).flatten(1)
        size = delta.abs()
        down, up = self._room(center)
        room = torch.where(delta < 0, down, up)
        norm = torch.linalg.vector_norm(size, dim=1, keepdim=True)
        radius = self.radius * (1 - _EPS32)
        scale = (radius / norm.clamp_min(1e-30)).clamp_max(1)
        squares = size.square()
        for _ in range(ROUNDS if self.box is not None else 0):
            moved = torch.minimum(size * scale, room)
            free = (squares * (moved < room)).sum(1, keepdim=True)
            left = radius**2 - moved.square().sum(1, keepdim=True) + scale.square() * free
            grown = (left.clamp_min(0) / free.clamp_min(1e-30)).sqrt()
            scale = torch.maximum(scale, torch.where(free > 0, grown, 1.0)).clamp_max(1)
        moved = torch.copysign(torch.minimum(size * scale, room), delta)
        return self._place(moved, center, down, up)

    def _place(self, delta: Tensor, center: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """center + delta cut at the room, then clamped: the sum may round across the edge. Overwrites delta and down.

        All of them are (B, D) but for the centers.
        """
        placed = delta.clamp_(down.neg_(), up).view_as(center).add_(center)
        if self.box is not None:
            placed.clamp_(*self.box)
        return placed

    def sample(self, center: Tensor, generator: torch.Generator | Draws) -> Tensor:
        """A point drawn uniformly from the ball around each center, then clipped into the box.

        p = inf: independent uniforms. p = 2: a Gaussian direction and a radius of law u^(1/D). p = 1: signed
        exponentials over their sum with one more. Clipping towards the box moves every coordinate closer to the
        center, so the point stays in the ball; for p = inf it is then no longer uniform on the intersection.

        Args:
            center: (B, *S), in the box.
            generator: source of randomness, or one stream per example.

        Returns:
            (B, *S).
        """
        flat = center.flatten(1)
        n = flat.shape[1]
        draws = draws_for(generator, len(center), center.device)
        if self.p == math.inf:
            delta = draws.uniform(n).mul_(2).sub_(1).mul_(self.radius)
        elif self.p == 2:
            direction = draws.normal(n)
            length = draws.uniform(1) ** (1 / max(n, 1))
            delta = self.radius * length * direction / direction.norm(dim=1, keepdim=True).clamp_min(1e-30)
        else:
            exponential = -torch.log1p(-draws.uniform(n + 1))
            sign = torch.where(draws.uniform(n) < 0.5, -1.0, 1.0)
            delta = self.radius * sign * exponential[:, :-1] / exponential.sum(1, keepdim=True)
        down, up = self._room(center)
        # To the type of the centers before the rest, as a copy: an attack's own.
        return self._place(delta.to(flat, copy=True), center, down, up)

    def steepest(self, gradient: Tensor, x: Tensor | None = None, size: float | None = None) -> Tensor:
        """The step that increases a linear function most.

        argmax_v <gradient, v> subject to ‖v‖_p <= size and, when x is given, x + v in the box.
        p = inf: the signs, cut at the box. p = 2: clip(s g, -down, up) of norm `size`. p = 1: the budget is spent on
        the coordinates of largest |g|, each as far as the box allows. With x the clean input and size the radius
        this is the exact worst case of a linear model.

        Args:
            gradient: (B, *S).
            x: (B, *S) inputs in the box; None means that the box does not matter.
            size: length of the step in the p-norm; None means `radius`.

        Returns:
            v, (B, *S); zero where the gradient is zero.

        Example:
            >>> ThreatModel("inf", 0.1).steepest(torch.tensor([[3.0, -2.0]]))
            tensor([[ 0.1000, -0.1000]])
        """
        if size is None:
            size = self.radius
        g = gradient.flatten(1)
        if x is None or self.box is None:
            room = torch.full_like(g, math.inf)
        else:
            down, up = self._room(x)
            room = torch.where(g < 0, down, up)
        magnitude = g.abs()
        if self.p == math.inf:
            v = torch.where(magnitude > 0, room.clamp_max(size), 0.0)
        elif self.p == 2:
            v = scale_to_sphere(magnitude / magnitude.amax(1, keepdim=True).clamp_min(1e-30), room, size)
        else:
            v = fill_largest(magnitude, room, size)
        return torch.copysign(v, g).view_as(gradient)

    def direction(self, gradient: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The unit step that projected gradient ascent takes: sign(g) for inf, g/‖g‖_2 for 2, g/‖g‖_inf for 1.

        For p = 1 and 2 it is a positive multiple of the gradient, so a fixed point of `project` after the step
        is a stationary point, box or not. For p = 1 the vertex `steepest` is NOT used: with a box, projected
        vertex steps oscillate around the optimum at a distance of the step size.

        Args:
            gradient: (B, *S).
            out: (B, *S), memory that p = inf writes its result in; None means new memory.

        Returns:
            (B, *S); zero where the gradient is zero.
        """
        if self.p == math.inf:
            return torch.sign(gradient, out=out)
        g = gradient.flatten(1)
        order = 2 if self.p == 2 else math.inf
        return (g / torch.linalg.vector_norm(g, ord=order, dim=1, keepdim=True).clamp_min(1e-30)).view_as(gradient)

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """max over ‖v‖_p <= 1 of <gradient, v>: the l_1, l_2 or l_inf norm for p = inf, 2 or 1.

        Args:
            gradient: (B, *S).

        Returns:
            (B,).
        """
        dual = {math.inf: 1, 2.0: 2, 1.0: math.inf}[self.p]
        return torch.linalg.vector_norm(gradient.flatten(1), ord=dual, dim=1)


def require_threat(threat: object) -> None:
    """Refuse what is no threat model, such as an attack or a radius.

    Args:
        threat: whatever was given for one.

    Raises:
        BadRequest: says how to make one.
    """
    if not isinstance(threat, ThreatModel):
        raise bad("threat", expected='a ThreatModel, such as ThreatModel("inf", "8/255")', got=repr(threat))


def require_no_bytes(x: Tensor) -> None:
    """Refuse images in 0..255 where no box says what the range of the inputs is.

    Args:
        x: (B, *S). Reads its smallest and largest value on the host if they are images, (B, C, H, W).

    Raises:
        BadRequest: says the range.
    """
    if x.ndim != 4 or not x.numel() or not x.is_floating_point():
        return
    low, high = (float(v) for v in torch.aminmax(x))
    if low >= 0 and _BYTES[0] < high <= _BYTES[1]:
        remedy = "divide by 255; a network that takes 0..255 can be given as lambda x: model(255 * x)"
        raise bad("inputs", expected="images in [0, 1]", got=f"[{low:.3g}, {high:.3g}]", remedy=remedy)


def require_radius_fits(threat: ThreatModel, shape: torch.Size) -> None:
    """Refuse a radius beyond the diameter of the box: every input would be allowed. And inputs without an axis.

    Args:
        threat: whose radius is looked at.
        shape: of one input.

    Raises:
        BadRequest: says the diameter; one number per example, without an axis of its own, of which there is no norm.
    """
    if not len(shape) and threat.radius > 0:
        raise bad("inputs", expected="(B, *S), such as (B, 1)", got="(B,)", remedy="use x[:, None]")
    if threat.box is None:
        return
    n = math.prod(shape)
    diameter = (threat.box[1] - threat.box[0]) * n ** (1 / threat.p)
    if threat.radius > diameter:
        most, came = apart(diameter, threat.radius)
        raise BadRequest(
            f"radius: expected at most {most}, the diameter of the box in l_{threat.p:g} over {n} inputs, "
            f"got {came}; give it in units of the input in [0, 1]"
        )
