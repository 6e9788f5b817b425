"""Upper bounds on what the search looks for, for small ReLU networks: intervals forward and backward."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cgro._check import bad
from cgro.definitions import ThreatModel, default_loss
from cgro.definitions.attacks import judge
from cgro.definitions.losses import check_labels
from cgro.models.head import Scores

Interval = tuple[Tensor, Tensor]
ROUNDING = 1e-9
"""Relative, added to every bound: float64 sums of a few thousand terms are off by less than 1e-12."""


@dataclass(frozen=True)
class UpperBound:
    """What no point of ball and box exceeds: of the gradient's norm and of the loss's rise, (N,) each."""

    gradient: Tensor
    rise: Tensor


def upper_bound(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel) -> UpperBound:
    """Upper bounds of max ‖grad_x L‖_q and max L(x') - L(x) by interval arithmetic, for Linear and ReLU layers.

    With d_j = z_j - z_y, the cross-entropy is log(1 + sum_j exp d_j) and its gradient sum_j P_j grad d_j over j != y,
    so its norm is at most (1 - P_y) max_j ‖grad d_j‖_q. The bounds P - e_y of the gradient by the logits are carried
    back as well, which is exact at radius 0; the smaller bound counts. A ReLU's slope is 0 or 1 where its input keeps its sign and
    in [0, 1] elsewhere. For scores d = -y f. The rise is also at most radius times the gradient's bound, because ball
    and box are convex. Sound, not tight: on wide or deep networks it says little.

    Args:
        model: an `nn.Sequential` of Flatten, Linear and ReLU (and the head of a score). x: (N, *S). y: (N,) labels.
        threat: ball and box.

    Raises:
        BadRequest: a network of other layers.

    Example:
        Of a linear model the bound is the value: 3 / (1 + exp(-0.8)), as in `flatness`.

        >>> net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0)).requires_grad_(False)
        >>> _ = net[0].weight.copy_(torch.tensor([[1.0, -2.0]]))
        >>> bound = upper_bound(net, torch.tensor([[0.5, 0.5]]), torch.tensor([1]), ThreatModel("inf", 0.1))
        >>> round(float(bound.gradient), 4)
        2.0699

    Source: interval bounds (Gowal et al., ICCV 2019), applied to the backward pass.
    """
    layers = _affine_layers(model)
    outputs = judge(model, x)
    check_labels(outputs, y)
    gates, last = _forward(layers, x.flatten(1).double(), threat)
    rows = _differences(y, layers[-1][0].shape[0])
    top = _affine(last, rows @ layers[-1][0], (rows @ layers[-1][1][:, None]).squeeze(2))[1]
    top = top.masked_fill((rows == 0).all(2), -torch.inf)
    share = 1 - 1 / (1 + top.exp().sum(1))
    worst = F.softplus(torch.logsumexp(top, 1))
    gradient = share * _gradient_norms(layers, gates, (rows, rows), threat)
    if outputs.ndim == 2:
        whole = _loss_by_logits(_affine(last, *layers[-1]), y)
        gradient = torch.minimum(gradient, _gradient_norms(layers, gates, whole, threat))
    gradient = gradient * (1 + ROUNDING)
    room = worst * (1 + ROUNDING) - default_loss(outputs.double(), y) + 1e-6
    return UpperBound(gradient, torch.minimum(room, threat.radius * gradient))


def _affine_layers(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases; ReLU stands between them."""
    children = list(model.children()) if isinstance(model, nn.Sequential) else []
    kinds = ["relu" if isinstance(m, nn.ReLU) else "linear" for m in children if isinstance(m, nn.ReLU | nn.Linear)]
    known = all(isinstance(m, nn.ReLU | nn.Linear | nn.Flatten | Scores) for m in children)
    if not (known and kinds[::2] == ["linear"] * (len(kinds) // 2 + 1) and set(kinds[1::2]) <= {"relu"}):
        raise bad(
            "model", expected="Linear layers with ReLU between them, in an nn.Sequential", got=type(model).__name__
        )
    linear = [m for m in children if isinstance(m, nn.Linear)]
    return [
        (m.weight.detach().double(), (m.bias if m.bias is not None else m.weight.new_zeros(len(m.weight))).detach().double())
        for m in linear
    ]  # fmt: skip


def _affine(z: Interval, weight: Tensor, bias: Tensor) -> Interval:
    """Bounds of weight z + bias; the weight is (m, n), or (B, m, n) for one matrix an example."""
    middle, half = (z[0] + z[1]) / 2, (z[1] - z[0]) / 2
    if weight.ndim == 2:
        center, spread = middle @ weight.T + bias, half @ weight.abs().T
    else:
        center, spread = ((w @ v[:, :, None]).squeeze(2) for w, v in ((weight, middle), (weight.abs(), half)))
        center = center + bias
    return center - spread, center + spread


def _forward(layers: list[tuple[Tensor, Tensor]], x: Tensor, threat: ThreatModel) -> tuple[list[Interval], Interval]:
    """The slopes' bounds of each hidden layer, and the bounds of the last layer's input."""
    z = x - threat.radius, x + threat.radius
    if threat.box is not None:
        z = z[0].clamp_min(threat.box[0]), z[1].clamp_max(threat.box[1])
    gates = []
    for weight, bias in layers[:-1]:
        low, high = _affine(z, weight, bias)
        gates.append(((low > 0).to(low), (high >= 0).to(low)))
        z = low.clamp_min(0), high.clamp_min(0)
    return gates, z


def _differences(y: Tensor, n_outputs: int) -> Tensor:
    """Rows e_j - e_y for logits, -y for a score: (B, m, n_outputs)."""
    if n_outputs == 1:
        return -y.double()[:, None, None]
    eye = torch.eye(n_outputs, dtype=torch.float64)
    return eye[None] - eye[y][:, None]


def _loss_by_logits(z: Interval, y: Tensor) -> Interval:
    """Bounds of softmax(z) - e_y, (B, 1, C)."""
    eye = torch.eye(z[0].shape[1], dtype=torch.bool)
    ends = []
    for own, other in (z, z[::-1]):
        rivals = (other[:, None] - own[:, :, None]).masked_fill(eye, -torch.inf)
        ends.append((1 / (1 + rivals.exp().sum(2)) - F.one_hot(y, len(eye)))[:, None])
    return ends[0], ends[1]


def _gradient_norms(
    layers: list[tuple[Tensor, Tensor]], gates: list[Interval], rows: Interval, threat: ThreatModel
) -> Tensor:
    """The largest dual norm over the rows of (row . grad z), from the bounds of every entry. rows: (B, m, C)."""
    weight = layers[-1][0]
    middle, spread = (rows[0] + rows[1]) / 2 @ weight, (rows[1] - rows[0]) / 2 @ weight.abs()
    low, high = middle - spread, middle + spread
    for (weight, _), (closed, opened) in zip(reversed(layers[:-1]), reversed(gates), strict=True):
        products = torch.stack([v * gate[:, None] for v in (low, high) for gate in (closed, opened)])
        low, high = products.amin(0), products.amax(0)
        middle, spread = (low + high) / 2 @ weight, (high - low) / 2 @ weight.abs()
        low, high = middle - spread, middle + spread
    largest = torch.maximum(low.abs(), high.abs())
    return threat.dual_norm(largest.flatten(0, 1)).view(largest.shape[:2]).amax(1)
