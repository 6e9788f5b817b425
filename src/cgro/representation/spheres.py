"""Points in training balls, most of them on the sphere, at which a written-out network is evaluated.

A certificate speaks of the network of the formula. Its layers may differ: by float32 rounding, or by a fault. This
finds such a difference where intervals are too wide (p = 1 and 2) and in the exported file; it proves nothing.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cgro.representation.certificate import Certificate
from cgro.representation.memorizer import RobustMemorizer
from cgro.results import SphereCheck

N_POINTS = 64
"""Points per ball. A choice: at p = 2 and radius 0.003 a float32 export fails on half of the random ones."""

N_NEAREST = 3
"""Training points of other classes toward which a ball is asked."""

REPLAY_ROUNDING = 1e-6
"""By how much y F may fall below the certified margin: rounding of float64 sums over a ramp. Measured at D = 200: less
than 1e-9 down to a radius of 1e-6; at 1e-7 and p = 2 float64 weights fail as float32 ones do at 1e-3."""


def label_margin(memorizer: RobustMemorizer, positions: Tensor, outputs: Tensor) -> Tensor:
    """Evaluate y F of a network's outputs; for logits half the margin, as in `Certificate`.

    Args:
        memorizer: supplies the labels.
        positions: (n,) training point whose label counts.
        outputs: (n, 1) scores or (n, C) logits.

    Returns:
        (n,) y F, or (F_y - max F_j) / 2.
    """
    y = memorizer.y[positions]
    if memorizer.binary:
        return outputs[:, 0] * y
    right = y[:, None]
    others = outputs.scatter(1, right, -torch.inf).amax(1)
    return (outputs.gather(1, right).squeeze(1) - others) / 2


def ball_points(memorizer: RobustMemorizer, position: int, n: int, generator: torch.Generator) -> Tensor:
    """Choose points of a training ball: its center, and points at distance `radius`, moved into the box.

    Toward the nearest training points of other classes; in dense random directions; to corners of a cube; along one to
    five coordinates, which for p = 1 are vertices and low faces of the ball.

    Args:
        memorizer: supplies points and threat.
        position: training point.
        n: number of points, at least 1.
        generator: of the random directions.

    Returns:
        (n, D) float64.
    """
    center = memorizer.points(torch.tensor([position]))
    steps = [torch.zeros_like(center), _toward_others(memorizer, position, center)]
    n_each = math.ceil(max(n - len(steps[1]) - 1, 0) / 3)
    dense = torch.randn(n_each, memorizer.dim, generator=generator, dtype=torch.float64)
    corners = torch.randn(n_each, memorizer.dim, generator=generator, dtype=torch.float64).sign()
    steps += [dense, corners, _along_few(n_each, memorizer.dim, generator)]
    every = torch.cat(steps)[:n]
    norms = torch.linalg.vector_norm(every, ord=memorizer.threat.p, dim=1, keepdim=True)
    points = center + memorizer.threat.radius * every / norms.clamp_min(1e-300)
    if memorizer.threat.box is not None:
        points = points.clamp(*memorizer.threat.box)
    return points


def _toward_others(m: RobustMemorizer, position: int, center: Tensor) -> Tensor:
    """Directions to the nearest points of other classes among the first thousand of them."""
    others = torch.nonzero(m.classes != m.classes[position]).squeeze(1)[:1000]
    directions = m.points(others) - center
    distances = torch.linalg.vector_norm(directions, ord=m.threat.p, dim=1)
    directions = directions[distances.argsort()[:N_NEAREST]]
    if m.threat.p == math.inf:  # all coordinates as far as the ball allows
        return directions.clamp(-m.threat.radius, m.threat.radius)
    return directions


def _along_few(n: int, dim: int, generator: torch.Generator) -> Tensor:
    """Random signs on one coordinate (every second row) or on up to five."""
    steps = torch.zeros(n, dim, dtype=torch.float64)
    for row in range(n):
        n_kept = 1 + (row % 2) * int(torch.randint(min(5, dim), (1,), generator=generator))
        kept = torch.randperm(dim, generator=generator)[:n_kept]
        steps[row, kept] = torch.randn(n_kept, generator=generator, dtype=torch.float64).sign()
    return steps


def replay_balls(
    memorizer: RobustMemorizer,
    positions: Tensor,
    certificate: Certificate,
    answer: Callable[[Tensor], Tensor],
    *,
    n_points: int = N_POINTS,
) -> SphereCheck:
    """Evaluate a written-out network in training balls and compare y F with the certified margin.

    Args:
        memorizer: supplies points and labels.
        positions: (n,) training points.
        certificate: what is claimed of their balls.
        answer: (B, D) float64 -> (B, n_out) outputs of the network that is asked.
        n_points: per ball.

    Returns:
        The least y F, the margin claimed where it falls shortest, and whether every point reaches its claim up to
        `REPLAY_ROUNDING`.
    """
    generator = torch.Generator().manual_seed(0)
    balls = [ball_points(memorizer, position, n_points, generator) for position in positions.tolist()]
    owner = torch.cat([torch.full((len(ball),), int(i)) for ball, i in zip(balls, positions, strict=True)])
    x = torch.cat(balls)
    with torch.no_grad():
        own = memorizer(memorizer.shaped(x)).double().view(len(x), -1)
    outputs = answer(x)
    margin = label_margin(memorizer, owner, outputs)
    claimed = certificate.margin[owner]
    shortest = int((margin - claimed).argmin())
    return SphereCheck(
        n=len(positions),
        n_points=len(x),
        least=float(margin.min()),
        claimed=float(claimed[shortest]),
        found=float(margin[shortest]),
        agrees=bool((margin >= claimed - REPLAY_ROUNDING).all()),
        max_difference=float((outputs - own).abs().max()),
    )
