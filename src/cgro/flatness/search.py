"""How flat the loss is around an example, as a function of the radius."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from cgro._check import bad, count, number
from cgro.definitions import Draws, Loss, Model, ThreatModel, default_loss
from cgro.definitions.attacks import first_pass, preserve_state
from cgro.definitions.attacks.gradient import image_layout
from cgro.definitions.draws import draws_for
from cgro.definitions.inputs import ordinary_tensors
from cgro.definitions.metrics import check_outputs, check_set
from cgro.definitions.rounds import alike, require_same_task, rounds, stopping_alike
from cgro.definitions.threat import require_radius_fits
from cgro.flatness.ascent import Ascent, LossOf, Search
from cgro.ranks import ALONE, Ranks
from cgro.results import Z95

Measure = Literal["gradient", "loss"]


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
            value, sd, n, interval and bound; no interval for one example, of whose spread nothing is known.
        """
        interval = list(self.interval) if self.n > 1 else None
        return {"value": self.value, "sd": self.sd, "n": self.n, "interval": interval, "bound": "lower"}

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
    ranks: Ranks = ALONE,
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
        ranks: the processes that search together, each called with the same arguments; they have a batch each.

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
    with alike(ranks):
        values = parse_radii(radii)
        threat = ThreatModel(p, values[-1], box)
        batch = count(batch, "batch")
        model, x, y = check_set(model, x, y)
        threat.check_input(x)
        require_radius_fits(threat, x.shape[1:])
        draws = draws_for(generator, len(x), x.device)
    require_same_task(ranks, model, repr((values, threat, search, batch)), y, draws.keys)

    def find(chunk: Tensor) -> list[Tensor]:
        rows = chunk.to(x.device)
        outputs, network = first_pass(model, x[rows])
        check_outputs(outputs, y[rows])
        differentiable = LossOf(network, loss, y[rows])
        ascent = Ascent(differentiable, image_layout(x[rows], model), threat, search, draws.rows(rows))
        gradient, rise = ascent.over_radii(values)
        return [gradient.double(), rise.double(), ascent.clean.double(), ascent.slope.double()]

    parts: list[Flatness] = []
    with preserve_state(model, x.device), stopping_alike(ranks):
        for some in rounds(torch.arange(len(x), device="cpu"), batch, ranks):
            parts.append(Flatness(values, *some.found(find)))
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
        BadRequest: no class has two examples; fewer than one midpoint is asked for.

    Example:
        >>> x, y = in_between(torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([1, 1, 2]), torch.Generator())
        >>> x.tolist(), y.tolist()
        ([[0.5], [0.5]], [1, 1])
    """
    if n is not None:
        n = count(n, "n")
    order = torch.randperm(len(y), generator=generator, device=generator.device)
    pairs = []
    for label in y.unique():
        of_class = order[y.cpu()[order] == label.cpu()]
        if len(of_class) > 1:
            # Each with its neighbor in a random order of the class, the first with the last.
            pairs.append(torch.stack([of_class, of_class.roll(1)], 1))
    if not pairs:
        raise bad("examples", expected="two of one class", got="none")
    chosen = torch.cat(pairs)
    if n is not None and n < len(chosen):  # of all classes: they lie one behind the other
        drawn = torch.randperm(len(chosen), generator=generator, device=generator.device)
        chosen = chosen[drawn[:n].to(chosen.device)]
    a, b = chosen.to(x.device).unbind(1)
    return (x[a] + x[b]) / 2, y[a]
