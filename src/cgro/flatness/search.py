"""How flat the loss is around an example, as a function of the radius: the search, and what it returns."""

import math
from collections.abc import Callable, Sequence
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
from cgro.definitions.metrics import check_outputs, check_set
from cgro.definitions.threat import require_radius_fits
from cgro.results import Z95

Measure = Literal["gradient", "loss"]

FIRST_STEP, MOMENTUM = 0.5, 0.5
WIDEST, NARROWEST = 1.0, 0.02
"""Of the ascent, in units of the radius: first step, and the distance of the two points whose gradients are compared,
from the first step to the last. Chosen on an MNIST LeNet and a CIFAR-10 PreActResNet (docs/flatness.md); no theory."""


@dataclass(frozen=True)
class Search:
    """How long to look, per radius and restart.

    Args:
        n_steps: of ascent on the gradient's norm, two gradients each. n_loss_steps: of ascent on the loss, one each.
        n_restarts: the first starts where the smaller radius ended, the others at random points of the ball.

    Example:
        >>> Search().passes
        53
    """

    n_steps: int = 20
    n_loss_steps: int = 10
    n_restarts: int = 1

    def __post_init__(self) -> None:
        for name in ("n_steps", "n_loss_steps", "n_restarts"):
            count(getattr(self, name), name)

    @property
    def passes(self) -> int:
        """Forward and backward passes for one example at one radius (one more for p = 1 and 2)."""
        return self.n_restarts * ((self.n_loss_steps + 1) + (2 * self.n_steps + 2))


@dataclass(frozen=True)
class Average:
    """A mean over examples with its 95% normal interval; `bound` says that the search makes it a lower one.

    The interval is about the sampling of examples. It knows nothing of what the search has missed.
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
        """Plain values for `summary.json`."""
        return {"value": self.value, "sd": self.sd, "n": self.n, "interval": list(self.interval), "bound": "lower"}

    @classmethod
    def of(cls, values: Tensor) -> "Average":
        """Of one number per example, (N,)."""
        sd = float(values.double().std()) if len(values) > 1 else 0.0
        return cls(float(values.double().mean()), sd, len(values))


@dataclass(frozen=True)
class Flatness:
    """What was found around each example; every number is a LOWER bound of the maximum it stands for.

    Args:
        radii: increasing. gradient: (N, R), of max ‖grad_x L(f(x'), y)‖_q over ball and box, q dual to p.
        rise: (N, R), of max L(f(x'), y) - L(f(x), y). loss: (N,), L at x. slope: (N,), the gradient's norm at x.
    """

    radii: tuple[float, ...]
    gradient: Tensor
    rise: Tensor
    loss: Tensor
    slope: Tensor

    def values(self, measure: Measure) -> Tensor:
        """(N, R) of `gradient` (the norm) or `loss` (the rise)."""
        return self.gradient if measure == "gradient" else self.rise

    def average(self, measure: Measure, k: int) -> Average:
        """Flatness at the k-th radius: local on training examples, global on fresh ones."""
        return Average.of(self.values(measure)[:, k])

    @classmethod
    def joined(cls, parts: "Sequence[Flatness]") -> "Flatness":
        """The examples of several results at the same radii."""
        names = ("gradient", "rise", "loss", "slope")
        return cls(parts[0].radii, **{k: torch.cat([getattr(part, k) for part in parts]) for k in names})


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
    progress: Callable[[int], object] | None = None,
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
        model: in eval mode; left as it was, also after an exception. x: (N, *S) in the box. y: (N,) labels.
        radii: increasing, in units of the input; "8/255" is read as a fraction.
        p: norm of the ball. box: range of inputs. loss: (outputs, y) -> (B,). search: how long.
        batch: examples at a time, speed and memory only. generator: of the random restarts; None: seeded 0.
        progress: called with the number of examples done.

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
    draws, parts = draws_for(generator, len(x), x.device), []
    with preserve_state(model, x.device):
        for rows in torch.arange(len(x), device=x.device).split(batch):
            outputs, network = first_pass(model, x[rows])
            check_outputs(outputs, y[rows])
            climb = _Climb(network, image_layout(x[rows], model), y[rows], threat, loss, draws.rows(rows))
            parts.append(climb.along(values, search))
            if progress:
                progress(int(rows[-1]) + 1)
    return Flatness.joined(parts)


def parse_radii(radii: Sequence[float | str]) -> tuple[float, ...]:
    """Read radii and check that they are >= 0 and increase.

    >>> parse_radii(["1/255", 0.1])
    (0.00392156862745098, 0.1)
    """
    values = tuple(number(r, "radii", low=0.0) for r in radii)
    if not values:
        raise bad("radii", expected="at least one", got="none")
    if any(b <= a for a, b in pairwise(values)):
        raise bad("radii", expected="increasing numbers", got=", ".join(f"{v:g}" for v in values))
    return values


def in_between(x: Tensor, y: Tensor, generator: torch.Generator, n: int | None = None) -> tuple[Tensor, Tensor]:
    """Midpoints of random pairs of different examples of one class: points that are neither trained on nor drawn.

    Args:
        x: (N, *S). y: (N,). n: how many; None means N.

    Returns:
        (n, *S), (n,). A class with one example gives none.

    Example:
        >>> x, y = in_between(torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([1, 1, 2]), torch.Generator())
        >>> x.tolist(), y.tolist()
        ([[0.5], [0.5]], [1, 1])
    """
    order = torch.randperm(len(y), generator=generator)
    pairs = []
    for label in y.unique():
        mine = order[y.cpu()[order] == label.cpu()]
        if len(mine) > 1:
            pairs.append(torch.stack([mine, mine.roll(1)], 1))
    if not pairs:
        raise bad("examples", expected="two of one class", got="none")
    a, b = torch.cat(pairs)[:n].to(x.device).unbind(1)
    return (x[a] + x[b]) / 2, y[a]


class _Peak:
    """The highest value seen so far and its point, per example."""

    def __init__(self, x: Tensor, value: Tensor) -> None:
        self.x, self.value = x, value

    def offer(self, x: Tensor, value: Tensor) -> None:
        higher = value > self.value
        self.x = torch.where(higher.view(-1, *[1] * (x.ndim - 1)), x, self.x)
        self.value = torch.where(higher, value, self.value)


class _Climb:
    """The search on one batch, from radius to radius."""

    def __init__(self, model: Model, x: Tensor, y: Tensor, threat: ThreatModel, loss: Loss, draws: Draws) -> None:
        self.model, self.x, self.y, self.threat, self.loss_of, self.draws = model, x, y, threat, loss, draws
        self.finite = torch.ones((), dtype=torch.bool, device=x.device)
        value, gradient = self._at(x)
        self.clean, self.slope = value, threat.dual_norm(gradient)
        self.loss, self.gradient = _Peak(x, value), _Peak(x, self.slope)

    def along(self, radii: tuple[float, ...], search: Search) -> Flatness:
        rows, before = [], 0.0
        for radius in radii:
            if radius > 0:
                self._look(self.threat.at(radius), before, search)
                before = radius
            require_finite(self.finite)
            rows.append((self.gradient.value, self.loss.value - self.clean))
        gradient, rise = (torch.stack(column, 1).double().cpu() for column in zip(*rows))
        return Flatness(radii, gradient, rise, self.clean.double().cpu(), self.slope.double().cpu())

    def _at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and its gradient, (B,) and (B, *S)."""
        outputs, gradient = loss_gradient(self.model, x, self.y, self.loss_of)
        value = self.loss_of(outputs, self.y)
        self.finite = self.finite & torch.isfinite(gradient).all() & torch.isfinite(value).all()
        return value, gradient

    def _judge(self, x: Tensor, threat: ThreatModel) -> Tensor:
        """Offer a point of ball and box to both peaks; its gradient."""
        value, gradient = self._at(x)
        self.loss.offer(x, value)
        self.gradient.offer(x, threat.dual_norm(gradient))
        return gradient

    def _look(self, threat: ThreatModel, before: float, search: Search) -> None:
        factor = threat.radius / before if before else 1.0
        for restart in range(search.n_restarts):
            if restart:
                starts = (threat.sample(self.x, self.draws),) * 2
            else:
                # As far out as the ball has grown; the points themselves stay on as the values to beat.
                starts = tuple(
                    threat.project(self.x + factor * (peak.x - self.x), self.x) for peak in (self.loss, self.gradient)
                )
            self._raise_loss(starts[0], threat, search.n_loss_steps)
            self._raise_gradient(starts[1], threat, search.n_steps)
        assert bool(threat.contains(self.loss.x, self.x).all() & threat.contains(self.gradient.x, self.x).all())

    def _raise_loss(self, current: Tensor, threat: ThreatModel, n_steps: int) -> None:
        push = torch.zeros_like(current)
        for step in range(n_steps):
            push = MOMENTUM * push + _scaled(self._judge(current, threat))
            current = self._moved(current, push, threat, step / n_steps)
        gradient = self._judge(current, threat)
        if threat.p != math.inf:  # steps of fixed length creep along these balls; one of infinite length does not
            self._judge(threat.project(self.x + threat.steepest(gradient, self.x), self.x), threat)

    def _raise_gradient(self, current: Tensor, threat: ThreatModel, n_steps: int) -> None:
        mean, push = self._judge(current, threat), torch.zeros_like(current)
        for step in range(n_steps):
            width = threat.radius * WIDEST * (NARROWEST / WIDEST) ** (step / max(1, n_steps - 1))
            v = threat.steepest(mean, size=width)
            ahead, behind = self._at(current + v)[1], self._at(current - v)[1]
            mean, push = (ahead + behind) / 2, MOMENTUM * push + _scaled(ahead - behind)
            current = self._moved(current, push, threat, step / n_steps)
        self._judge(current, threat)

    def _moved(self, current: Tensor, push: Tensor, threat: ThreatModel, done: float) -> Tensor:
        step = FIRST_STEP * (1 - done) * threat.radius
        return threat.project(torch.add(current, threat.direction(push), alpha=step), self.x)


def _scaled(direction: Tensor) -> Tensor:
    """Of unit l_1 norm per example, so that momentum weighs steps equally."""
    total = direction.flatten(1).abs().sum(1).clamp_min(1e-30)
    return direction / total.view(-1, *[1] * (direction.ndim - 1))
