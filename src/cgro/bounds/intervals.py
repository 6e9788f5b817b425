"""Interval arithmetic through affine maps and ReLU (interval bound propagation; Gowal et al., ICCV 2019).

Rounding is not directed: in float64 the bounds are off by about n_in 2^-53 of the sums' size, which callers that call
a bound certified subtract.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cgro.bounds.layers import Layer


class Threat(Protocol):
    """The set {X' : ‖X' - X‖_p <= radius} ∩ box. `cgro.definitions.ThreatModel` is one.

    A protocol, because `definitions` is on the same floor as this folder.
    """

    @property
    def p(self) -> float:
        """Order of the norm: 1, 2 or inf."""
        ...

    @property
    def radius(self) -> float:
        """Radius of the ball, in units of the input."""
        ...

    @property
    def box(self) -> tuple[float, float] | None:
        """Least and largest valid input; None if unbounded."""
        ...

    def steepest(self, gradient: Tensor, x: Tensor | None = None) -> Tensor:
        """Find the step with the largest <gradient, v> over ‖v‖_p <= radius.

        Args:
            gradient: (B, D).
            x: (B, D); with it x + v must be in the box, too.

        Returns:
            v, (B, D).
        """
        ...

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Evaluate the largest <gradient, v> over ‖v‖_p <= 1.

        Args:
            gradient: (B, D).

        Returns:
            (B,).
        """
        ...


class Interval(NamedTuple):
    """Lower and upper bounds of the entries of a tensor.

    Args:
        low: lower bounds.
        high: upper bounds, of the same shape.
    """

    low: Tensor
    high: Tensor

    def relu(self) -> "Interval":
        """Apply ReLU to the entries.

        Returns:
            The bounds of the results.
        """
        return Interval(self.low.clamp_min(0), self.high.clamp_min(0))


def enclosing_box(x: Tensor, threat: Threat, *, scale: float = 1.0) -> Interval:
    """Enclose the threat's set around each point by a box: x_j -+ scale * radius, cut at the valid inputs.

    It is the set itself for p = inf; for p = 1 and 2 it is larger.

    Args:
        x: (B, D) or (D,) flat inputs.
        threat: ball and box.
        scale: factor on the radius.

    Returns:
        The box, float64, each end of the shape of x.

    Example:
        >>> from cgro.definitions import ThreatModel
        >>> low, high = enclosing_box(torch.tensor([0.125, 0.5]), ThreatModel("inf", 0.25))
        >>> low.tolist(), high.tolist()
        ([0.0, 0.25], [0.375, 0.75])
    """
    center = x.double()
    low = center - scale * threat.radius
    high = center + scale * threat.radius
    if threat.box is None:
        return Interval(low, high)
    return Interval(low.clamp_min(threat.box[0]), high.clamp_max(threat.box[1]))


def propagate_intervals(layers: Sequence[Layer], inputs: Interval) -> list[Interval]:
    """Bound every layer's outputs over boxes of inputs.

    low_out = W+ low + W- high + b,  high_out = W+ high + W- low + b,  W+- the positive and negative entries of W.

    Written with W+- and not with midpoints, as `affine_image` is: neurons that do not depend on the input then come
    out without rounding, so that the interval check of the memorizer returns 1.0 exactly.

    Args:
        layers: of the network, ReLU between them.
        inputs: boxes, (B, D) each end.

    Returns:
        Bounds of each layer's outputs before its ReLU, (B, n_out) each end, float64.

    Example:
        >>> from cgro.bounds import dense_layer
        >>> net = [dense_layer(torch.tensor([[1.0, -2.0]]))]
        >>> [(low, high)] = propagate_intervals(net, Interval(torch.zeros(1, 2), torch.ones(1, 2)))
        >>> low.item(), high.item()
        (-2.0, 1.0)
    """
    bounds: list[Interval] = []
    z = Interval(inputs.low.double(), inputs.high.double())
    for layer in layers:
        if bounds:
            z = bounds[-1].relu()
        bounds.append(_through(layer, z))
    return bounds


def _through(layer: Layer, z: Interval) -> Interval:
    """Bounds of weight z + bias for a sparse weight."""
    index = layer.weight.indices()
    values = layer.weight.values()
    shape = layer.weight.shape
    plus = torch.sparse_coo_tensor(index, values.clamp_min(0), shape, device=values.device, check_invariants=False)
    minus = torch.sparse_coo_tensor(index, values.clamp_max(0), shape, device=values.device, check_invariants=False)
    low = (torch.sparse.mm(plus, z.low.T) + torch.sparse.mm(minus, z.high.T)).T + layer.bias
    high = (torch.sparse.mm(plus, z.high.T) + torch.sparse.mm(minus, z.low.T)).T + layer.bias
    return Interval(low, high)


def affine_image(z: Interval, weight: Tensor, bias: Tensor | None = None) -> Interval:
    """Bound weight z + bias by midpoint and half width: W c + b -+ |W| r for z = c -+ r.

    Two products where `propagate_intervals` needs four, and the weight may differ from example to example.

    Args:
        z: (..., n) each end.
        weight: (m, n) dense, or (B, m, n), one matrix per example, for z of (B, n).
        bias: (m,) or (B, m); None means 0.

    Returns:
        The bounds, (..., m) each end.

    Example:
        >>> z = Interval(torch.zeros(2), torch.ones(2))
        >>> low, high = affine_image(z, torch.tensor([[1.0, -2.0]]))
        >>> low.item(), high.item()
        (-2.0, 1.0)
    """
    middle = (z.low + z.high) / 2
    half = (z.high - z.low) / 2
    if weight.ndim == 2:
        center = middle @ weight.T
        spread = half @ weight.abs().T
    else:
        center = (weight @ middle[:, :, None]).squeeze(2)
        spread = (weight.abs() @ half[:, :, None]).squeeze(2)
    if bias is not None:
        center = center + bias
    return Interval(center - spread, center + spread)


def product(a: Interval, b: Interval) -> Interval:
    """Bound the entrywise products of two intervals: the least and the largest product of their ends.

    Args:
        a: the first factor.
        b: the second factor, of a shape that broadcasts.

    Returns:
        The bounds of the products.

    Example:
        >>> a, b = Interval(torch.tensor(-1.0), torch.tensor(2.0)), Interval(torch.tensor(0.0), torch.tensor(3.0))
        >>> low, high = product(a, b)
        >>> low.item(), high.item()
        (-3.0, 6.0)
    """
    ends = torch.stack([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high])
    return Interval(ends.amin(0), ends.amax(0))
