"""A certified lower bound of a ReLU network's margin over a ball, by linear relaxation (CROWN, Zhang et al., 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cgro.definitions.threat import ThreatModel
from cgro.representation.network import Layer

Relaxation = tuple[Tensor, Tensor, Tensor]  # slope and offset of the upper line, slope of the lower one


def _relax(low: Tensor, high: Tensor) -> Relaxation:
    """Lines around ReLU on [low, high]: above, the chord; below, slope 1 or 0, whichever leaves the smaller area."""
    open_ = (low < 0) & (high > 0)
    slope = torch.where(open_, high / (high - low).clamp_min(1e-300), (low >= 0).to(low))
    offset = torch.where(open_, -low * slope, 0.0)
    return slope, offset, torch.where(open_, (high > -low).to(low), slope)


def _back(
    objective: Tensor, layers: Sequence[tuple[Tensor, Tensor]], relaxations: Sequence[Relaxation]
) -> tuple[Tensor, Tensor]:
    """Coefficients and constant of a linear function of the input below objective . (output of the last layer)."""
    constant = torch.zeros_like(objective[..., 0])
    for level in reversed(range(len(layers))):
        weight, bias = layers[level]
        constant = constant + objective @ bias
        objective = objective @ weight
        if level:
            upper, offset, lower = (r[:, None] for r in relaxations[level - 1])
            falling = objective.clamp_max(0)
            constant = constant + (falling * offset).sum(-1)
            objective = objective.clamp_min(0) * lower + falling * upper
    return objective, constant


def _least(coefficients: Tensor, x: Tensor, threat: ThreatModel, *, exact: bool) -> Tensor:
    """min of <coefficients, X'> over the threat, (B, m); without `exact` the box is left out for p = 1 and 2.

    Coefficients may be (1, m, D), the same for all of x: those of the first layer are.
    """

    def times(c: Tensor, v: Tensor) -> Tensor:
        return v @ c[0].T if len(c) == 1 else torch.bmm(c, v[:, :, None]).squeeze(2)

    if threat.p == torch.inf:
        low, high = x - threat.radius, x + threat.radius
        if threat.box is not None:
            low, high = low.clamp_min(threat.box[0]), high.clamp_max(threat.box[1])
        return times(coefficients.clamp_min(0), low) + times(coefficients.clamp_max(0), high)
    value = times(coefficients, x)
    if exact:
        every = coefficients.expand(len(x), -1, -1)
        step = threat.steepest(-every.flatten(0, 1), x[:, None].expand_as(every).flatten(0, 1))
        return value + (every.flatten(0, 1) * step).sum(1).view_as(value)
    norms = threat.dual_norm(coefficients.flatten(0, 1)).view(coefficients.shape[:2])
    return value - threat.radius * norms


def certified_margin(layers: Sequence[Layer], x: Tensor, y: Tensor, threat: ThreatModel, *, batch: int = 64) -> Tensor:
    """A lower bound of the margin over the threat model: y f for scores, min over j of f_y - f_j for logits. (B,)

    Each ReLU is put between two lines, and the linear bound that results is minimized over ball and box exactly.
    Positive means: certified robust, in real arithmetic (float64 rounding is about 1e-12 of the weights' sums and is
    taken off). Not positive means NOTHING: the bound is not tight.

    Args:
        layers: of the network, ReLU between them. x: (B, *S). y: (B,) labels. threat: ball and box.

    Example:
        A linear score has no ReLU: the bound is exact, y f - radius * ‖w‖_1.

        >>> from cgro.representation.network import dense_layer
        >>> net = [dense_layer(torch.tensor([[1.0, -2.0]], dtype=torch.float64))]
        >>> m = certified_margin(net, torch.tensor([[0.5, 0.5]]), torch.tensor([-1]), ThreatModel("inf", 0.1))
        >>> round(float(m), 6)
        0.2
    """
    dense = [(layer.weight.to_dense(), layer.bias) for layer in layers]
    flat = x.flatten(1).double()
    parts = [_margins(dense, a, b, threat) for a, b in zip(flat.split(batch), y.split(batch), strict=True)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def _margins(dense: list[tuple[Tensor, Tensor]], x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    relaxations: list[Relaxation] = []
    for level in range(1, len(dense)):
        eye = torch.eye(len(dense[level - 1][1]), dtype=torch.float64)[None]
        low, negative_high = (
            _least(a, x, threat, exact=False) + c
            for a, c in (_back(sign * eye, dense[:level], relaxations) for sign in (1, -1))
        )
        relaxations.append(_relax(low, -negative_high))
    objective = _margin_rows(y, len(dense[-1][1]))
    coefficients, constant = _back(objective, dense, relaxations)
    size = coefficients.abs().sum(-1) + constant.abs()
    bound = _least(coefficients, x, threat, exact=True) + constant - 1e-11 * size
    if objective.shape[1] > 1:
        bound = bound.scatter(1, y[:, None], torch.inf)  # f_y - f_y says nothing
    return bound.amin(1)


def _margin_rows(y: Tensor, n_outputs: int) -> Tensor:
    """Rows e_y - e_j for logits, y for a score."""
    if n_outputs == 1:
        return y.double()[:, None, None]
    eye = torch.eye(n_outputs, dtype=torch.float64)
    return eye[y][:, None] - eye[None]
