"""Independent checks of the certificates: interval arithmetic, and mixed-integer programming with replay in ONNX."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cgro.bounds import Interval, Layer, enclosing_box, evaluate, propagate_intervals
from cgro.definitions.threat import ThreatModel
from cgro.representation.ball_intervals import ball_intervals
from cgro.representation.certificate import Certificate, certify
from cgro.representation.memorizer import RobustMemorizer
from cgro.representation.milp import Optimum, least_over_ball, require_solvable
from cgro.representation.spheres import label_margin, replay_balls
from cgro.results import SolverCheck, SphereCheck

AGREEMENT = 1e-6
"""An optimum below this is a counterexample: the solver's own tolerance is 1e-9 per row."""

SOLVER_ROUNDING = 1e-5
"""By how much an optimum may fall below the certified margin: 1e-9 per row over a ramp of 1e-4 or more."""

LAYER_BATCH = 8
"""Points that pass through the sparse layers at a time: 2 N D neurons each, 400 MB at 20 million non-zeros."""


def interval_check(
    memorizer: RobustMemorizer,
    positions: Tensor | None = None,
    *,
    layers: Sequence[Layer] | None = None,
    batch: int = 16,
) -> Tensor:
    """Bound y F on training balls by interval arithmetic through the expanded network, layer by layer.

    Independent of `certify`: it knows nothing of distances or supports. 1 where every point is memorized, up to
    supports of the same class, which add to it: exactly for `box` and `compact`, up to rounding for `lean` and
    `shared`, whose first layers are bounded over the ball itself (`ball_intervals`).

    Args:
        memorizer: the network.
        positions: (n,) training points; None for all.
        layers: another network in place of `memorizer.expand()`, such as one read from a file.
        batch: points at a time.

    Returns:
        (n,) bounds of y F; for logits half the difference of bounds, as in `Certificate`. -inf where layers of `lean`
        or `shared` are not of their form.

    Raises:
        BadRequest: the network cannot be written out.
    """
    m = memorizer
    if positions is None:
        positions = torch.arange(len(m.y))
    layers = layers or m.expand()
    bounds = [torch.zeros(0, dtype=torch.float64)]
    for part in positions.split(batch):
        low, high = _outputs(m, layers, part)
        y = m.y[part]
        if m.binary:
            bounds.append(torch.where(y > 0, low[:, 0], -high[:, 0]))
        else:
            right = y[:, None]
            others = high.scatter(1, right, -torch.inf).amax(1)
            bounds.append((low.gather(1, right).squeeze(1) - others) / 2)
    return torch.cat(bounds)


def _outputs(m: RobustMemorizer, layers: Sequence[Layer], positions: Tensor) -> Interval:
    """Bounds of the outputs over training balls, (n, n_out) each end."""
    if m.threat.p == torch.inf:
        return propagate_intervals(layers, enclosing_box(m.points(positions), m.threat))[-1]
    return ball_intervals(m, layers, positions)


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
    certificate: Certificate | None = None,
) -> SolverCheck:
    """Solve some training balls, compare with the certified margin, replay every counterexample in ONNX Runtime.

    Args:
        memorizer: supplies points and labels.
        positions: training points.
        threat: another ball; None for its own.
        layers: another network in place of `memorizer.expand()`, such as one with a planted fault.
        certificate: what is claimed of the same balls; None computes it.

    Returns:
        The least y F, and whether every optimum reaches the claim (see `SolverCheck`).

    Raises:
        BadRequest: p = 2, a package missing, no optimum in time.
    """
    threat = threat or memorizer.threat
    require_solvable(threat.p)
    layers = layers or memorizer.expand()
    certificate = certificate or certify(memorizer, threat=threat)
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
    claimed = certificate.margin[positions]
    # The proven bound, not the point that was found: what lies between the two has not been searched.
    excess = torch.tensor([optimum.bound for optimum in optima], dtype=torch.float64) - claimed
    n_below = int((excess < -SOLVER_ROUNDING).sum())
    return SolverCheck(
        n=len(optima),
        least=min(optimum.value for optimum in optima),
        n_counterexamples=len(wrong),
        n_replayed=n_replayed,
        agrees=not wrong and not n_below,
        n_binaries=max(optimum.n_binaries for optimum in optima),
        n_below=n_below,
        claimed=float(claimed[excess.argmin()]),
    )


def _replay(memorizer: RobustMemorizer, layers: Sequence[Layer], x: Tensor, positions: Tensor) -> int:
    """How many counterexamples are wrong (y F <= 0 within rounding) when the exported network answers."""
    from cgro.representation.export import run_onnx, to_onnx

    margin = label_margin(memorizer, positions, run_onnx(to_onnx(layers), x))
    return int((margin <= 10 * AGREEMENT).sum())


def sphere_check(
    memorizer: RobustMemorizer,
    positions: Tensor,
    *,
    layers: Sequence[Layer] | None = None,
    certificate: Certificate | None = None,
) -> SphereCheck:
    """Evaluate the written-out layers at points of some training balls and compare with the certified margin.

    For networks that intervals do not prove (a given ramp, points that are not memorized): it finds a dropped, scaled
    or shifted neuron, and proves nothing.

    Args:
        memorizer: supplies points and labels.
        positions: training points.
        layers: another network in place of `memorizer.expand()`, such as one with a planted fault.
        certificate: what is claimed of the balls; None computes it.

    Returns:
        See `SphereCheck`.

    Raises:
        BadRequest: the network cannot be written out.
    """
    network = layers or memorizer.expand()

    def answer(x: Tensor) -> Tensor:
        return torch.cat([evaluate(network, part) for part in x.split(LAYER_BATCH)])

    return replay_balls(memorizer, positions, certificate or certify(memorizer), answer)
