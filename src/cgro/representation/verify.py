"""Independent checks of the certificates: interval arithmetic, and mixed-integer programming with replay in ONNX."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cgro.bounds import Layer, enclosing_box, propagate_intervals
from cgro.definitions.threat import ThreatModel
from cgro.representation.memorizer import RobustMemorizer
from cgro.representation.milp import Optimum, least_over_ball
from cgro.results import SolverCheck

AGREEMENT = 1e-6
"""An optimum below this is a counterexample: the solver's own tolerance is 1e-9 per row."""


def interval_check(memorizer: RobustMemorizer, positions: Tensor | None = None, *, batch: int = 16) -> Tensor:
    """Bound y F on training balls by interval arithmetic through the expanded network, layer by layer.

    Independent of `certify`: it knows nothing of distances or supports. For `box` and `compact` exactly 1, unless
    supports of the same class add to it; for `lean` and `shared` intervals lose too much, and the result is no verdict.

    Args:
        memorizer: the network.
        positions: (n,) training points; None for all.
        batch: points at a time.

    Returns:
        (n,) bounds of y F; for logits half the difference of bounds, as in `Certificate`.

    Raises:
        BadRequest: the network cannot be written out.
    """
    m = memorizer
    if positions is None:
        positions = torch.arange(len(m.y))
    layers = m.expand()
    bounds = [torch.zeros(0, dtype=torch.float64)]
    for part in positions.split(batch):
        low, high = propagate_intervals(layers, enclosing_box(m.points(part), m.threat))[-1]
        y = m.y[part]
        if m.binary:
            bounds.append(torch.where(y > 0, low[:, 0], -high[:, 0]))
        else:
            right = y[:, None]
            others = high.scatter(1, right, -torch.inf).amax(1)
            bounds.append((low.gather(1, right).squeeze(1) - others) / 2)
    return torch.cat(bounds)


def margins_by_milp(memorizer: RobustMemorizer, layers: Sequence[Layer], position: int, threat: ThreatModel) -> Optimum:
    """Find the least y F over one training ball; for logits the least of (F_y - F_j) / 2 over j.

    Args:
        memorizer: supplies point and label.
        layers: of the network that is asked.
        position: training point.
        threat: ball and box.

    Returns:
        The least value and where it is attained.

    Raises:
        BadRequest: p = 2, highspy missing, no optimum in time.
    """
    center = memorizer.points(torch.tensor([position]))[0]
    label = int(memorizer.y[position])
    if memorizer.binary:
        return least_over_ball(layers, center, threat, torch.tensor([float(label)]))
    results: list[Optimum] = []
    for j in range(memorizer.n_classes):
        if j != label:
            objective = torch.zeros(memorizer.n_classes, dtype=torch.float64)
            objective[label] = 0.5
            objective[j] = -0.5
            results.append(least_over_ball(layers, center, threat, objective))
    return min(results, key=lambda optimum: optimum.value)


def verify_balls(
    memorizer: RobustMemorizer,
    positions: Tensor,
    *,
    threat: ThreatModel | None = None,
    layers: Sequence[Layer] | None = None,
) -> SolverCheck:
    """Solve some training balls and replay every counterexample in ONNX Runtime.

    Args:
        memorizer: supplies points and labels.
        positions: training points.
        threat: another ball; None for its own.
        layers: another network in place of `memorizer.expand()`, such as one with a planted fault.

    Returns:
        The least y F, and whether it agrees with the certificate.

    Raises:
        BadRequest: p = 2, a package missing, no optimum in time.
    """
    layers = layers or memorizer.expand()
    threat = threat or memorizer.threat
    optima: list[Optimum] = []
    wrong: list[int] = []
    points: list[Tensor] = []
    for position in positions.tolist():
        optimum = margins_by_milp(memorizer, layers, position, threat)
        optima.append(optimum)
        if optimum.value <= AGREEMENT:
            wrong.append(position)
            points.append(optimum.x)
    n_replayed = 0
    if wrong:
        n_replayed = _replay(memorizer, layers, torch.stack(points), torch.tensor(wrong))
    return SolverCheck(
        n=len(optima),
        least=min(optimum.value for optimum in optima),
        n_counterexamples=len(wrong),
        n_replayed=n_replayed,
        agrees=not wrong,
        n_binaries=max(optimum.n_binaries for optimum in optima),
    )


def _replay(memorizer: RobustMemorizer, layers: Sequence[Layer], x: Tensor, positions: Tensor) -> int:
    """How many counterexamples are wrong (y F <= 0 within rounding) when the exported network answers."""
    from cgro.representation.export import run_onnx, to_onnx

    outputs = run_onnx(to_onnx(layers, double=True), x)
    y = memorizer.y[positions]
    if memorizer.binary:
        margin = outputs[:, 0] * y
    else:
        right = y[:, None]
        margin = outputs.gather(1, right)[:, 0] - outputs.scatter(1, right, -torch.inf).amax(1)
    return int((margin <= 10 * AGREEMENT).sum())
