"""Upper bounds on what the search looks for, for small ReLU networks: intervals forward and backward."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cgro.bounds import Interval, affine_image, enclosing_box, margin_rows, product, to_layers
from cgro.definitions import ThreatModel, default_loss
from cgro.definitions.attacks import evaluated_outputs
from cgro.definitions.losses import check_labels

ROUNDING = 1e-9
"""Relative, added to every bound: float64 sums of a few thousand terms are off by less than 1e-12."""

LOSS_ROUNDING = 1e-6
"""Added to the bound of the rise: the loss at x is that of float32 outputs."""


@dataclass(frozen=True)
class UpperBound:
    """What no point of ball and box exceeds.

    Args:
        gradient: (N,) of the gradient's dual norm, ‖grad_x L‖_q.
        rise: (N,) of the loss's rise, L(x') - L(x).
    """

    gradient: Tensor
    rise: Tensor


def upper_bound(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel) -> UpperBound:
    """Bound max ‖grad_x L‖_q and max L(x') - L(x) from above, for networks of affine and ReLU layers.

    With d_j = z_j - z_y, the cross-entropy is log(1 + sum_j exp d_j) and its gradient sum_j P_j grad d_j over j != y,
    so its norm is at most (1 - P_y) max_j ‖grad d_j‖_q. The bounds P - e_y of the gradient by the logits are carried
    back as well, which is exact at radius 0; the smaller bound counts. A ReLU's slope is 0 or 1 where its input keeps
    its sign and in [0, 1] elsewhere. For scores d = -y f. The rise is also at most radius times the gradient's bound,
    because ball and box are convex. Sound, not tight: on wide or deep networks it says little.

    Source: interval bounds (Gowal et al., ICCV 2019), applied to the backward pass.

    Args:
        model: an `nn.Sequential` of what `cgro.bounds.to_layers` reads (BatchNorm and Dropout in eval mode).
        x: (N, *S) inputs.
        y: (N,) labels.
        threat: ball and box.

    Returns:
        The two bounds for each example, float64.

    Raises:
        BadRequest: a network with a layer that is neither affine nor ReLU, labels that do not fit its outputs.

    Example:
        Of a linear model the bound is the value: 3 / (1 + exp(-0.8)), as in `flatness`.

        >>> net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0)).requires_grad_(False)
        >>> _ = net[0].weight.copy_(torch.tensor([[1.0, -2.0]]))
        >>> bound = upper_bound(net, torch.tensor([[0.5, 0.5]]), torch.tensor([1]), ThreatModel("inf", 0.1))
        >>> round(float(bound.gradient), 4)
        2.0699
    """
    layers = [(layer.weight.to_dense(), layer.bias) for layer in to_layers(model, x.shape[1:])]
    outputs = evaluated_outputs(model, x)
    check_labels(outputs, y)
    slopes, last_input = _forward(layers, enclosing_box(x.flatten(1), threat))
    weight, bias = layers[-1]
    rows = -margin_rows(y, len(bias))  # e_j - e_y, the rows of d
    largest = affine_image(last_input, rows @ weight, (rows @ bias[:, None]).squeeze(2)).high
    largest = largest.masked_fill((rows == 0).all(2), -torch.inf)
    worst_log_odds = torch.logsumexp(largest, 1)  # of a wrong answer: 1 - P_y loses its digits where P_y is near 1
    gradient = worst_log_odds.sigmoid() * _gradient_norms(layers, slopes, Interval(rows, rows), threat)
    if outputs.ndim == 2:
        by_logits = _loss_by_logits(affine_image(last_input, weight, bias), y)
        gradient = torch.minimum(gradient, _gradient_norms(layers, slopes, by_logits, threat))
    gradient = gradient * (1 + ROUNDING)
    worst = F.softplus(worst_log_odds)
    rise = worst * (1 + ROUNDING) - default_loss(outputs.double(), y) + LOSS_ROUNDING
    return UpperBound(gradient, torch.minimum(rise, threat.radius * gradient))


def _forward(layers: Sequence[tuple[Tensor, Tensor]], z: Interval) -> tuple[list[Interval], Interval]:
    """The bounds of each hidden ReLU's slope, (N, n) each, and those of the last layer's input."""
    slopes: list[Interval] = []
    for weight, bias in layers[:-1]:
        z = affine_image(z, weight, bias)
        slopes.append(Interval((z.low > 0).to(z.low), (z.high >= 0).to(z.low)))
        z = z.relu()
    return slopes, z


def _loss_by_logits(z: Interval, y: Tensor) -> Interval:
    """Bounds of the loss's gradient by the logits, softmax(z) - e_y, (N, 1, C).

    P_k = 1 / (1 + sum_(j != k) exp(z_j - z_k)) is least at the least z_k and the largest of the others. P_y - 1 is
    computed as -(1 - P_y) from the same log-odds: the difference would be 0 for a confident network.
    """
    n_classes = z.low.shape[1]
    eye = torch.eye(n_classes, dtype=torch.bool, device=y.device)
    is_target = F.one_hot(y, n_classes).bool()

    def slope(own: Tensor, others: Tensor) -> Tensor:
        rivals = (others[:, None] - own[:, :, None]).masked_fill(eye, -torch.inf)
        log_odds = torch.logsumexp(rivals, 2)
        return torch.where(is_target, -log_odds.sigmoid(), (-log_odds).sigmoid())[:, None]

    return Interval(slope(z.low, z.high), slope(z.high, z.low))


def _gradient_norms(
    layers: Sequence[tuple[Tensor, Tensor]], slopes: Sequence[Interval], rows: Interval, threat: ThreatModel
) -> Tensor:
    """The largest dual norm of grad_x (row . z) over rows (N, m, C) within bounds, (N,).

    Backward through the layers, grad_(l-1) = (grad_l W_l) * slope_(l-1), each entry in bounds.
    """
    gradient = affine_image(rows, layers[-1][0].T)
    for (weight, _), slope in zip(reversed(layers[:-1]), reversed(slopes), strict=True):
        gradient = product(gradient, Interval(slope.low[:, None], slope.high[:, None]))
        gradient = affine_image(gradient, weight.T)
    largest = torch.maximum(gradient.low.abs(), gradient.high.abs())
    return threat.dual_norm(largest.flatten(0, 1)).view(largest.shape[:2]).amax(1)
