"""The distance to the decision boundary (v1, Proposition 3.1), in a bracket of a certificate and of an attack."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro._check import BadRequest, count
from cgro.definitions.attacks import Attack, evaluated_outputs, per_example, preserve_state, require_attack
from cgro.definitions.draws import Draws, draws_for
from cgro.definitions.inputs import ordinary_tensors
from cgro.definitions.losses import Model, is_wrong
from cgro.definitions.metrics import check_set, checked_outputs


@dataclass(frozen=True)
class DistanceBracket:
    """Bounds on each point's distance to the decision boundary.

    Args:
        lower: (N,) float64, from a certificate; 0 without one.
        upper: (N,) float64, the distance of a wrong point that is known; inf where there is none.
    """

    lower: Tensor
    upper: Tensor


@ordinary_tensors
def boundary_distance(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    n_radii: int = 8,
    n_bisections: int = 20,
    certified: Tensor | None = None,
    batch: int = 256,
    generator: torch.Generator | None = None,
) -> DistanceBracket:
    """Bracket the distance to the boundary, min ‖X' - X‖_p over wrong X' (v1, Proposition 3.1).

    A correctly classified X is robust at a radius iff that radius is at most this distance (up to equality). The
    attack is run at growing radii, up to its own, on the points that are still right; the segment from X to each wrong
    point found is bisected. So `upper` is the distance of a wrong point that is known, inf if none was found; a
    misclassified X has distance 0.

    Args:
        model: in eval mode if it is a module.
        x: (N, *S) inputs in the box.
        y: (N,) labels.
        attack: its radius is the largest that is searched.
        n_radii: radii tried, equally spaced.
        n_bisections: halvings of the segment.
        certified: (N,) certified radii; None means 0.
        batch: examples at a time; affects speed and memory only.
        generator: source of the attack's randomness; None means a fresh one seeded 0.

    Returns:
        Both bounds, in the attack's norm and the unit of the input.

    Raises:
        BadRequest: train mode, bad inputs or labels, a certified radius beyond a wrong point that was found.

    Example:
        For a linear score the l_2 distance is |f| / ‖w‖_2.

        >>> from cgro.definitions import PGD, ThreatModel
        >>> w = torch.tensor([3.0, 4.0])
        >>> d = boundary_distance(lambda v: v @ w, torch.tensor([[0.5, 0.5]]), torch.tensor([1]),
        ...                       PGD(ThreatModel(2, 2.0, None), n_steps=50))
        >>> round(float(d.upper), 2)
        0.7
    """
    require_attack(attack)
    batch = count(batch, "batch")
    n_radii = count(n_radii, "n_radii")
    model, x, y = check_set(model, x, y)
    if generator is None:
        generator = torch.Generator(x.device).manual_seed(0)
    radii = [attack.threat.radius * k / n_radii for k in range(1, n_radii + 1)]
    # One stream per example and radius, so that neither the batches nor what is still right change what is drawn.
    attempts = [(attack.at(radius), draws_for(generator, len(x), x.device)) for radius in radii]
    upper = torch.full((len(x),), math.inf, dtype=torch.float64, device=x.device)
    with preserve_state(model, x.device):
        for rows in torch.arange(len(x), device=x.device).split(batch):
            some = [(at_radius, draws.rows(rows)) for at_radius, draws in attempts]
            upper[rows] = _known_distance(model, x[rows], y[rows], some, n_bisections)
    lower = torch.zeros_like(upper)
    if certified is not None:
        lower = certified.double()
    if bool((lower > upper + 1e-6).any()):
        raise BadRequest("certified: expected radii below every attack that succeeds, got a larger one; it is false")
    return DistanceBracket(lower, upper)


def _known_distance(
    model: Model, x: Tensor, y: Tensor, attempts: Sequence[tuple[Attack, Draws]], n_bisections: int
) -> Tensor:
    """The distance of the nearest wrong point that attacks of growing radii find, (B,) float64; inf where none is."""
    upper = torch.full((len(x),), math.inf, dtype=torch.float64, device=x.device)
    upper[is_wrong(checked_outputs(model, x, y), y)] = 0.0
    for attack, draws in attempts:
        rows = torch.nonzero(upper.isinf()).squeeze(1)
        if not len(rows):
            break
        x_adv = attack(model, x[rows], y[rows], generator=draws.rows(rows))
        broken = is_wrong(evaluated_outputs(model, x_adv), y[rows])
        rows = rows[broken]
        if len(rows):
            nearest = _bisect(model, x[rows], x_adv[broken], y[rows], n_bisections)
            upper[rows] = attack.threat.distance(nearest, x[rows])
    return upper


def _bisect(model: Model, right: Tensor, wrong: Tensor, y: Tensor, n_bisections: int) -> Tensor:
    """Go from a wrong point towards a right one, to a wrong point near the boundary."""
    for _ in range(n_bisections):
        middle = (right + wrong) / 2
        crossed = per_example(is_wrong(evaluated_outputs(model, middle), y), middle)
        right = torch.where(crossed, right, middle)
        wrong = torch.where(crossed, middle, wrong)
    return wrong
