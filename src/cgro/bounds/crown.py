"""A certified lower bound of a ReLU network's margin over a ball, by linear relaxation (CROWN).

Zhang, Weng, Chen, Hsieh, Daniel, "Efficient neural network robustness certification with general activation
functions", NeurIPS 2018.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cgro.bounds.intervals import Interval, Threat, enclosing_box
from cgro.bounds.layers import Layer

BATCH = 64
ROUNDING = 1e-11
"""Of the sums' size, subtracted from every bound: float64 sums of a few thousand terms are off by less than 1e-12."""

Dense = tuple[Tensor, Tensor]  # weight (n_out, n_in) and bias (n_out,)


class Relaxation(NamedTuple):
    """Two lines around ReLU on [low, high]: lower * z <= ReLU(z) <= upper * z + offset, (B, n) each.

    Args:
        upper: slope of the line above.
        offset: its value at 0.
        lower: slope of the line below, which passes through 0.
    """

    upper: Tensor
    offset: Tensor
    lower: Tensor


def certified_margin(layers: Sequence[Layer], x: Tensor, y: Tensor, threat: Threat, *, batch: int = BATCH) -> Tensor:
    """Bound the margin over the threat's set from below: y f for scores, min over j != y of f_y - f_j for logits.

    Each ReLU is put between two lines; the linear function of the input that results is below the margin, and it is
    minimized over ball and box exactly. A positive bound means: certified robust, in real arithmetic (float64 rounding
    is about 1e-12 of the weights' sums and is subtracted). A bound that is not positive means NOTHING: it is not tight.

    Args:
        layers: of the network, ReLU between them.
        x: (B, *S) inputs.
        y: (B,) labels: -1 / +1 for one output, else classes.
        threat: ball and box.
        batch: examples at a time.

    Returns:
        (B,) lower bounds, float64.

    Example:
        A linear score has no ReLU: the bound is exact, y f - radius * ‖w‖_1.

        >>> from cgro.bounds import dense_layer
        >>> from cgro.definitions import ThreatModel
        >>> net = [dense_layer(torch.tensor([[1.0, -2.0]], dtype=torch.float64))]
        >>> m = certified_margin(net, torch.tensor([[0.5, 0.5]]), torch.tensor([-1]), ThreatModel("inf", 0.1))
        >>> round(float(m), 6)
        0.2
    """
    dense = [(layer.weight.to_dense(), layer.bias) for layer in layers]
    bounds = [torch.zeros(0, dtype=torch.float64, device=x.device)]
    flat = x.flatten(1).double()
    for first in range(0, len(flat), batch):
        part = slice(first, first + batch)
        bounds.append(_least_margins(dense, flat[part], y[part], threat))
    return torch.cat(bounds)


def margin_rows(y: Tensor, n_outputs: int) -> Tensor:
    """Write the margin as linear functions of the outputs: rows e_y - e_j for logits, the row y for a score.

    Args:
        y: (B,) labels: -1 / +1 for one output, else classes.
        n_outputs: C.

    Returns:
        (B, C, C), row j of an example for class j (0 for j = y), or (B, 1, 1) for a score; float64.
    """
    if n_outputs == 1:
        return y.double()[:, None, None]
    eye = torch.eye(n_outputs, dtype=torch.float64, device=y.device)
    return eye[y][:, None] - eye[None]


def _least_margins(dense: list[Dense], x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """The bound for one batch: relax the layers one after the other, then bound the margin."""
    relaxations: list[Relaxation] = []
    for level in range(1, len(dense)):
        relaxations.append(_relax(_outputs_bounds(dense[:level], relaxations, x, threat)))
    objective = margin_rows(y, len(dense[-1][1]))
    coefficients, constant = _back(objective, dense, relaxations)
    size = coefficients.abs().sum(-1) + constant.abs()
    bound = _least(coefficients, x, threat) + constant - ROUNDING * size
    if objective.shape[1] > 1:
        bound = bound.scatter(1, y[:, None], torch.inf)  # f_y - f_y says nothing
    return bound.amin(1)


def _outputs_bounds(dense: Sequence[Dense], relaxations: Sequence[Relaxation], x: Tensor, threat: Threat) -> Interval:
    """Bounds of the last of these layers' outputs: the least value of each, and of its negative."""
    eye = torch.eye(len(dense[-1][1]), dtype=torch.float64, device=x.device)[None]
    coefficients, constant = _back(eye, dense, relaxations)
    low = _least_in_ball(coefficients, x, threat) + constant
    coefficients, constant = _back(-1 * eye, dense, relaxations)
    negative_high = _least_in_ball(coefficients, x, threat) + constant
    return Interval(low, -negative_high)


def _relax(z: Interval) -> Relaxation:
    """Above, the chord; below, slope 1 or 0, whichever leaves the smaller area."""
    low, high = z
    crosses = (low < 0) & (high > 0)
    slope = torch.where(crosses, high / (high - low).clamp_min(1e-300), (low >= 0).to(low))
    offset = torch.where(crosses, -low * slope, 0.0)
    return Relaxation(slope, offset, torch.where(crosses, (high > -low).to(low), slope))


def _back(objective: Tensor, dense: Sequence[Dense], relaxations: Sequence[Relaxation]) -> tuple[Tensor, Tensor]:
    """Coefficients and constant of a linear function of the input that is below objective . (last outputs).

    Going back through a ReLU, a positive coefficient takes the line below and a negative one the line above.
    """
    constant = torch.zeros_like(objective[..., 0])
    for level in reversed(range(len(dense))):
        weight, bias = dense[level]
        constant = constant + objective @ bias
        objective = objective @ weight
        if level:
            lines = relaxations[level - 1]
            negative = objective.clamp_max(0)
            constant = constant + (negative * lines.offset[:, None]).sum(-1)
            objective = objective.clamp_min(0) * lines.lower[:, None] + negative * lines.upper[:, None]
    return objective, constant


def _least(coefficients: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """min of <coefficients, X'> over ball and box, exact; coefficients (B, m, D) or (1, m, D) -> (B, m)."""
    if threat.p == torch.inf:
        return _least_in_ball(coefficients, x, threat)
    value = _products(coefficients, x)
    rows = coefficients.expand(len(x), -1, -1).flatten(0, 1)
    centers = x[:, None].expand(-1, coefficients.shape[1], -1).flatten(0, 1)
    step = threat.steepest(-rows, centers)
    return value + (rows * step).sum(1).view_as(value)


def _least_in_ball(coefficients: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """The same, but for p = 1 and 2 without the box: cheaper, and enough for the bounds of hidden layers."""
    if threat.p == torch.inf:
        box = enclosing_box(x, threat)
        return _products(coefficients.clamp_min(0), box.low) + _products(coefficients.clamp_max(0), box.high)
    norms = threat.dual_norm(coefficients.flatten(0, 1)).view(coefficients.shape[:2])
    return _products(coefficients, x) - threat.radius * norms


def _products(coefficients: Tensor, x: Tensor) -> Tensor:
    """<coefficients, x>, (B, m). Those of the first layer are (1, m, D), the same for every example."""
    if len(coefficients) == 1:
        return x @ coefficients[0].T
    return torch.bmm(coefficients, x[:, :, None]).squeeze(2)
