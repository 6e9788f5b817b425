"""How flat the loss is around an example, as a function of the radius: the search, and what it returns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from cgro._check import bad, count, number
from cgro.definitions import Draws, Loss, Model, ThreatModel, default_loss
from cgro.definitions.attacks import first_pass, loss_gradient, preserve_state
from cgro.definitions.attacks.gradient import image_layout, require_finite
from cgro.definitions.draws import draws_for
from cgro.definitions.inputs import ordinary_tensors
from cgro.definitions.metrics import Z95, check_outputs, check_set
from cgro.definitions.threat import require_radius_fits

Measure = Literal["gradient", "loss"]

FIRST_STEP, MOMENTUM = 0.5, 0.5
WIDEST, NARROWEST = 1.0, 0.02
"""Of the ascent, in units of the radius: first step, and the distance of the two points whose gradients are compared,
from the first step to the last. Chosen on an MNIST LeNet and a CIFAR-10 PreActResNet (docs/flatness.md); no theory."""


@dataclass(frozen=True)
class Search:
    """How long to look, per radius and restart.

    Args:
        n_steps: of ascent on the gradient's norm, two gradients each.
        n_loss_steps: of ascent on the loss, one gradient each.
        n_restarts: the first starts where the smaller radius ended, the others at random points of the ball.

    Raises:
        BadRequest: a count below 1.

    Example:
        >>> Search().passes
        53
    """

    n_steps: int = 20
    n_loss_steps: int = 10
    n_restarts: int = 1

    def __post_init__(self) -> None:
        count(self.n_steps, "n_steps")
        count(self.n_loss_steps, "n_loss_steps")
        count(self.n_restarts, "n_restarts")

    @property
    def passes(self) -> int:
        """Forward and backward passes for one example at one radius (one more for p = 1 and 2)."""
        return self.n_restarts * ((self.n_loss_steps + 1) + (2 * self.n_steps + 2))


@dataclass(frozen=True)
class Average:
    """A mean over examples with its 95% normal interval; the search makes it a lower bound.

    The interval is about the sampling of examples. It knows nothing of what the search has missed.

    Args:
        value: the mean.
        sd: standard deviation over examples; 0 for one.
        n: examples.
    """

    value: float
    sd: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """value -+ 1.96 sd / sqrt(n)."""
        half = Z95 * self.sd / math.sqrt(self.n)
        return self.value - half, self.value + half

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`.

        Returns:
            value, sd, n, interval and bound.
        """
        return {"value": self.value, "sd": self.sd, "n": self.n, "interval": list(self.interval), "bound": "lower"}

    @classmethod
    def of(cls, values: Tensor) -> "Average":
        """The mean of one number per example.

        Args:
            values: (N,).

        Returns:
            The average, computed in float64.
        """
        exact = values.double()
        sd = 0.0
        if len(exact) > 1:
            sd = float(exact.std())
        return cls(float(exact.mean()), sd, len(exact))


@dataclass(frozen=True)
class Flatness:
    """What was found around each example; every number is a LOWER bound of the maximum it stands for.

    Args:
        radii: R of them, increasing, in units of the input.
        gradient: (N, R), of max ‖grad_x L(f(x'), y)‖_q over ball and box, q dual to p.
        rise: (N, R), of max L(f(x'), y) - L(f(x), y).
        loss: (N,), L at x.
        slope: (N,), the gradient's norm at x.
    """

    radii: tuple[float, ...]
    gradient: Tensor
    rise: Tensor
    loss: Tensor
    slope: Tensor

    def values(self, measure: Measure) -> Tensor:
        """One measure of every example and radius.

        Args:
            measure: `gradient` (the norm) or `loss` (the rise).

        Returns:
            (N, R).
        """
        if measure == "gradient":
            return self.gradient
        return self.rise

    def average(self, measure: Measure, k: int) -> Average:
        """Flatness at one radius: local on training examples, global on fresh ones.

        Args:
            measure: `gradient` or `loss`.
            k: which of the radii.

        Returns:
            The mean over examples.
        """
        return Average.of(self.values(measure)[:, k])

    @classmethod
    def joined(cls, parts: "Sequence[Flatness]") -> "Flatness":
        """The examples of several results.

        Args:
            parts: at least one, at the same radii.

        Returns:
            One result with the examples in this order.
        """
        return cls(
            parts[0].radii,
            gradient=torch.cat([part.gradient for part in parts]),
            rise=torch.cat([part.rise for part in parts]),
            loss=torch.cat([part.loss for part in parts]),
            slope=torch.cat([part.slope for part in parts]),
        )


@ordinary_tensors
def flatness(
    model: Model,
    x: Tensor,
    y: Tensor,
    radii: Sequence[float | str],
    *,
    p: float | str = math.inf,
    box: tuple[float, float] | None = (0.0, 1.0),
    loss: Loss = default_loss,
    search: Search | None = None,
    batch: int = 128,
    generator: torch.Generator | Draws | None = None,
) -> Flatness:
    """Flatness of the loss in the input (Figures 3 and 4): per example and radius,

        gradient = max ‖grad_x L(f(x'), y)‖_q,   rise = max L(f(x'), y) - L(f(x), y),   x' in B_p(x, radius) and box.

    Averaged over training examples it is the paper's local flatness, over test examples its global one. Both maxima
    are searched for, so the numbers are LOWER bounds: a small one may mean a weak search. They grow with the radius
    by construction: each radius starts from the best points of the one before, which its ball contains.

    The rise is sought by projected gradient ascent. For the norm, with v = argmax <grad L(x'), v> over ‖v‖_p <= h,

        grad_x' ‖grad L(x')‖_q  ~  ( grad L(x' + v) - grad L(x' - v) ) / 2h,

    where h shrinks from the radius to a fiftieth of it. Second derivatives of a ReLU network see nothing of its kinks;
    two gradients at a distance do, they cost less, and they need nothing of the network but gradients.

    Args:
        model: in eval mode; left as it was, also after an exception.
        x: (N, *S) in the box.
        y: (N,) labels.
        radii: increasing, in units of the input; "8/255" is read as a fraction.
        p: norm of the ball, 1, 2 or "inf".
        box: range of inputs; None for no box.
        loss: (outputs, y) -> (B,), one number per example.
        search: how long to look.
        batch: examples at a time; affects speed and memory only.
        generator: of the random restarts; None is a generator seeded 0.

    Returns:
        Both measures of every example and radius, on the CPU in float64.

    Raises:
        BadRequest: radii that are empty, negative or not increasing, inputs out of range, values that are not finite.

    Example:
        A linear score has margin m = y(w.x) and the loss log(1 + exp(-m)). The worst point has m - radius ‖w‖_1, and
        the norm there is ‖w‖_1 / (1 + exp(m - radius ‖w‖_1)), which for this w and x is 3 / (1 + exp(-0.5 - 0.3)).

        >>> w, x = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.5]])
        >>> f = flatness(lambda v: (v * w).sum(1), x, torch.tensor([1]), [0.05, 0.1])
        >>> [round(float(v), 4) for v in f.gradient[0]], round(3 / (1 + math.exp(-0.5 - 0.3)), 4)
        ([1.971, 2.0699], 2.0699)

    Source: Li and Li, ICML 2025, appendix (v1, Section 6); the two-point ascent is ours.
    """
    search = search or Search()
    values = parse_radii(radii)
    threat = ThreatModel(p, values[-1], box)
    x, y = check_set(model, x, y, batch)
    threat.check_input(x)
    require_radius_fits(threat, x.shape[1:])
    draws = draws_for(generator, len(x), x.device)
    parts = []
    with preserve_state(model, x.device):
        for rows in torch.arange(len(x), device=x.device).split(batch):
            outputs, network = first_pass(model, x[rows])
            check_outputs(outputs, y[rows])
            differentiable = _LossOf(network, loss, y[rows])
            ascent = _Ascent(differentiable, image_layout(x[rows], model), threat, search, draws.rows(rows))
            parts.append(ascent.over_radii(values))
    return Flatness.joined(parts)


def parse_radii(radii: Sequence[float | str]) -> tuple[float, ...]:
    """Read radii and check that they are >= 0 and increase.

    Args:
        radii: numbers, or text such as "8/255".

    Returns:
        The numbers.

    Raises:
        BadRequest: none, a negative one, or one that is not larger than the one before.

    Example:
        >>> parse_radii(["1/255", 0.1])
        (0.00392156862745098, 0.1)
    """
    values = tuple(number(radius, "radii", low=0.0) for radius in radii)
    if not values:
        raise bad("radii", expected="at least one", got="none")
    for smaller, larger in pairwise(values):
        if larger <= smaller:
            raise bad("radii", expected="increasing numbers", got=", ".join(f"{v:g}" for v in values))
    return values


def in_between(x: Tensor, y: Tensor, generator: torch.Generator, n: int | None = None) -> tuple[Tensor, Tensor]:
    """Midpoints of random pairs of different examples of one class: points that are neither trained on nor drawn.

    Args:
        x: (N, *S).
        y: (N,) labels.
        generator: of the pairs.
        n: how many midpoints, at most; None means N.

    Returns:
        (n, *S) midpoints and their (n,) labels. A class with one example gives none.

    Raises:
        BadRequest: no class has two examples.

    Example:
        >>> x, y = in_between(torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([1, 1, 2]), torch.Generator())
        >>> x.tolist(), y.tolist()
        ([[0.5], [0.5]], [1, 1])
    """
    order = torch.randperm(len(y), generator=generator)
    pairs = []
    for label in y.unique():
        of_class = order[y.cpu()[order] == label.cpu()]
        if len(of_class) > 1:
            # Each with its neighbor in a random order of the class, the first with the last.
            pairs.append(torch.stack([of_class, of_class.roll(1)], 1))
    if not pairs:
        raise bad("examples", expected="two of one class", got="none")
    a, b = torch.cat(pairs)[:n].to(x.device).unbind(1)
    return (x[a] + x[b]) / 2, y[a]


def _per_example(values: Tensor, x: Tensor) -> Tensor:
    """(B,) as (B, 1, ..., 1), to combine with (B, *S)."""
    return values.view(-1, *[1] * (x.ndim - 1))


class _Peak:
    """The highest value seen so far and its point, per example."""

    def __init__(self, x: Tensor, value: Tensor) -> None:
        self.x = x
        self.value = value

    def update(self, x: Tensor, value: Tensor) -> None:
        higher = value > self.value
        self.x = torch.where(_per_example(higher, x), x, self.x)
        self.value = torch.where(higher, value, self.value)


class _LossOf:
    """x -> L(f(x), y) of one batch and its gradient; remembers whether everything was finite."""

    def __init__(self, model: Model, loss: Loss, y: Tensor) -> None:
        self.model = model
        self.loss = loss
        self.y = y
        self.finite = torch.ones((), dtype=torch.bool, device=y.device)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (B,) and gradient (B, *S)."""
        outputs, gradient = loss_gradient(self.model, x, self.y, self.loss)
        value = self.loss(outputs, self.y)
        self.finite = self.finite & torch.isfinite(gradient).all() & torch.isfinite(value).all()
        return value, gradient


class _Ascent:
    """The search on one batch, from radius to radius: ascent on the loss, then on its gradient's norm."""

    def __init__(self, loss: _LossOf, x: Tensor, threat: ThreatModel, search: Search, draws: Draws) -> None:
        self.loss_at = loss
        self.x = x
        self.threat = threat
        self.search = search
        self.draws = draws
        self.clean, gradient = loss(x)
        self.slope = threat.dual_norm(gradient)
        self.highest_loss = _Peak(x, self.clean)
        self.steepest = _Peak(x, self.slope)

    def over_radii(self, radii: tuple[float, ...]) -> Flatness:
        gradient, rise = [], []
        before = 0.0
        for radius in radii:
            if radius > 0:
                self._search_ball(self.threat.at(radius), before)
                before = radius
            require_finite(self.loss_at.finite)
            gradient.append(self.steepest.value)
            rise.append(self.highest_loss.value - self.clean)
        return Flatness(
            radii,
            gradient=torch.stack(gradient, 1).double().cpu(),
            rise=torch.stack(rise, 1).double().cpu(),
            loss=self.clean.double().cpu(),
            slope=self.slope.double().cpu(),
        )

    def _evaluate(self, x: Tensor, threat: ThreatModel) -> Tensor:
        """Update both peaks by a point of ball and box; return its gradient."""
        value, gradient = self.loss_at(x)
        self.highest_loss.update(x, value)
        self.steepest.update(x, threat.dual_norm(gradient))
        return gradient

    def _search_ball(self, threat: ThreatModel, before: float) -> None:
        """All restarts at one radius; `before` is the radius searched last, 0 at first."""
        for restart in range(self.search.n_restarts):
            if restart == 0:
                starts = self._grown(self.highest_loss, threat, before), self._grown(self.steepest, threat, before)
            else:
                starts = (threat.sample(self.x, self.draws),) * 2
            self._ascend_loss(starts[0], threat)
            self._ascend_gradient_norm(starts[1], threat)
        inside = threat.contains(self.highest_loss.x, self.x) & threat.contains(self.steepest.x, self.x)
        assert bool(inside.all()), "the search left ball and box"

    def _grown(self, peak: _Peak, threat: ThreatModel, before: float) -> Tensor:
        """A peak, moved as far out as the ball has grown; the point itself stays on as the value to beat."""
        factor = 1.0
        if before > 0:
            factor = threat.radius / before
        return threat.project(self.x + factor * (peak.x - self.x), self.x)

    def _ascend_loss(self, current: Tensor, threat: ThreatModel) -> None:
        n_steps = self.search.n_loss_steps
        push = torch.zeros_like(current)
        for step in range(n_steps):
            push = MOMENTUM * push + _scaled(self._evaluate(current, threat))
            current = self._moved(current, push, threat, step / n_steps)
        gradient = self._evaluate(current, threat)
        if threat.p != math.inf:  # steps of fixed length creep along these balls; one of infinite length does not
            self._evaluate(threat.project(self.x + threat.steepest(gradient, self.x), self.x), threat)

    def _ascend_gradient_norm(self, current: Tensor, threat: ThreatModel) -> None:
        """Two-point ascent, see `flatness`: the mean of both gradients stands for that at the point between them."""
        n_steps = self.search.n_steps
        mean = self._evaluate(current, threat)
        push = torch.zeros_like(current)
        for step in range(n_steps):
            width = threat.radius * WIDEST * (NARROWEST / WIDEST) ** (step / max(1, n_steps - 1))
            v = threat.steepest(mean, size=width)
            _, ahead = self.loss_at(current + v)
            _, behind = self.loss_at(current - v)
            mean = (ahead + behind) / 2
            push = MOMENTUM * push + _scaled(ahead - behind)
            current = self._moved(current, push, threat, step / n_steps)
        self._evaluate(current, threat)

    def _moved(self, current: Tensor, push: Tensor, threat: ThreatModel, done: float) -> Tensor:
        """One step along `push`, shorter the larger the share `done` of the ascent, back into ball and box."""
        step = FIRST_STEP * (1 - done) * threat.radius
        return threat.project(torch.add(current, threat.direction(push), alpha=step), self.x)


def _scaled(direction: Tensor) -> Tensor:
    """Of unit l_1 norm per example, so that momentum weighs steps equally."""
    total = direction.flatten(1).abs().sum(1).clamp_min(1e-30)
    return direction / _per_example(total, direction)
