"""Explicit ReLU networks: sparse affine layers, side-by-side composition, interval propagation, lowering of modules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from cgro._check import BadRequest, bad
from cgro.models.head import Scores

DENSE_LIMIT = 50_000_000
"""Entries of the largest dense matrix we make: 400 MB in float64."""


@dataclass(frozen=True)
class Layer:
    """x -> weight x + bias, with a sparse weight; ReLU stands between layers, not in them.

    Args:
        weight: (n_out, n_in) sparse COO float64. bias: (n_out,) float64.
    """

    weight: Tensor
    bias: Tensor

    @property
    def n_nonzero(self) -> int:
        """Parameters that are not zero."""
        return int((self.weight.values() != 0).sum() + (self.bias != 0).sum())

    @property
    def n_dense(self) -> int:
        """Parameters of the dense layer of this shape."""
        return self.weight.shape[0] * (self.weight.shape[1] + 1)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, n_in) -> (B, n_out)"""
        return torch.sparse.mm(self.weight, x.T.to(self.bias)).T + self.bias


def sparse_layer(rows: Tensor, cols: Tensor, values: Tensor, bias: Tensor, n_in: int) -> Layer:
    """A layer from its non-zero entries."""
    keep = values != 0
    index = torch.stack([rows[keep], cols[keep]])
    weight = torch.sparse_coo_tensor(index, values[keep].double(), (len(bias), n_in), check_invariants=False)
    return Layer(weight.coalesce(), bias.double())


def dense_layer(weight: Tensor, bias: Tensor | None = None) -> Layer:
    """A layer from a dense matrix; zeros are dropped."""
    rows, cols = torch.nonzero(weight, as_tuple=True)
    bias = torch.zeros(len(weight), dtype=torch.float64) if bias is None else bias
    return sparse_layer(rows, cols, weight[rows, cols], bias, weight.shape[1])


def stack(layers: Sequence[Layer], *, shared_input: bool) -> Layer:
    """Layers side by side: on the same input, or each on its own part of it."""
    rows, cols, values, height, width = [], [], [], 0, 0
    for layer in layers:
        r, c = layer.weight.indices()
        rows.append(r + height)
        cols.append(c + (0 if shared_input else width))
        values.append(layer.weight.values())
        height, width = height + layer.weight.shape[0], width + layer.weight.shape[1]
    n_in = layers[0].weight.shape[1] if shared_input else width
    return sparse_layer(
        torch.cat(rows), torch.cat(cols), torch.cat(values), torch.cat([layer.bias for layer in layers]), n_in
    )


def side_by_side(branches: Sequence[list[Layer]]) -> list[Layer]:
    """Networks on the same input as one; shorter ones carry their outputs on by ReLU(z) = z: they must be >= 0."""
    depth = max(map(len, branches))
    padded = []
    for branch in branches:
        eye = torch.eye(len(branch[-1].bias), dtype=torch.float64)
        padded.append(branch + [dense_layer(eye)] * (depth - len(branch)))
    return [stack([b[level] for b in padded], shared_input=level == 0) for level in range(depth)]


def then(layer: Layer, after: Layer) -> Layer:
    """The composition after(layer(x)) as one layer."""
    return dense_layer(torch.sparse.mm(after.weight, layer.weight.to_dense()), after(layer.bias[None])[0])


def evaluate(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """(B, D) -> (B, n_out), float64, ReLU between the layers."""
    x = x.double()
    for number, layer in enumerate(layers):
        x = layer(x.clamp_min(0) if number else x)
    return x


def propagate_intervals(layers: Sequence[Layer], low: Tensor, high: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Interval bounds of every layer's output (before its ReLU) over boxes, (B, n_out) each.

    low_out = W+ low + W- high + b, high_out = W+ high + W- low + b. Rounding is not directed: in float64 the bounds
    are off by about n_in 2^-53 of the sums' size.

    Example:
        >>> [(low, high)] = propagate_intervals([dense_layer(torch.tensor([[1.0, -2.0]]))],
        ...                                     torch.zeros(1, 2), torch.ones(1, 2))
        >>> low.item(), high.item()
        (-2.0, 1.0)
    """
    bounds, low, high = [], low.double(), high.double()
    for number, layer in enumerate(layers):
        if number:
            low, high = low.clamp_min(0), high.clamp_min(0)
        index, values, shape = layer.weight.indices(), layer.weight.values(), layer.weight.shape
        plus = torch.sparse_coo_tensor(index, values.clamp_min(0), shape, check_invariants=False)
        minus = torch.sparse_coo_tensor(index, values.clamp_max(0), shape, check_invariants=False)
        low, high = (
            (torch.sparse.mm(plus, a.T) + torch.sparse.mm(minus, b.T)).T + layer.bias
            for a, b in ((low, high), (high, low))
        )
        bounds.append((low, high))
    return bounds


def to_sequential(layers: Sequence[Layer], *, limit: int = DENSE_LIMIT) -> nn.Sequential:
    """The same network from `nn.Linear` and `nn.ReLU`, float64.

    Raises:
        BadRequest: it has more than `limit` dense entries.
    """
    n_dense = sum(layer.n_dense for layer in layers)
    if n_dense > limit:
        raise bad("network", expected=f"at most {limit:,} dense entries", got=f"{n_dense:,}",
                  remedy="take fewer points, or evaluate it in structured form")  # fmt: skip
    modules: list[nn.Module] = []
    for number, layer in enumerate(layers):
        n_out, n_in = layer.weight.shape
        linear: nn.Linear = nn.utils.skip_init(nn.Linear, n_in, n_out, dtype=torch.float64)  # type: ignore[assignment]
        with torch.no_grad():
            linear.weight.copy_(layer.weight.to_dense())
            linear.bias.copy_(layer.bias)
        modules += [nn.ReLU(), linear] if number else [linear]
    return nn.Sequential(*modules).eval().requires_grad_(False)


_AFFINE = (nn.Linear, nn.Conv2d, nn.Conv1d, nn.AvgPool2d, nn.AvgPool1d, nn.BatchNorm1d, nn.BatchNorm2d)
_SILENT = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, Scores)


def _modules_in_order(model: nn.Module) -> list[nn.Module]:
    if isinstance(model, nn.Sequential):
        return [m for child in model for m in _modules_in_order(child)]
    if isinstance(model, nn.AdaptiveAvgPool2d) and model.output_size in (1, (1, 1)):
        return [model]
    if isinstance(model, (*_AFFINE, *_SILENT, nn.ReLU)):
        return [model]
    raise bad(
        "clean model", expected="an nn.Sequential of Linear, Conv, AvgPool, BatchNorm, Flatten, Dropout and ReLU",
        got=type(model).__name__, remedy="its expansion into a ReLU network of linear layers is not supported",
    )  # fmt: skip


def _as_layer(affine: Callable[[Tensor], Tensor], shape: torch.Size, limit: int) -> tuple[Layer, torch.Size]:
    """The matrix of an affine map from its values on the basis; the constant part is f(0)."""
    n_in = shape.numel()
    zero = affine(torch.zeros(1, *shape, dtype=torch.float64))
    if n_in * zero.numel() > limit:
        raise bad("clean model", expected=f"layers of at most {limit:,} dense entries", got=f"{n_in * zero.numel():,}")
    eye = torch.eye(n_in, dtype=torch.float64)
    columns = [(affine(e.view(-1, *shape)) - zero).flatten(1) for e in eye.split(512)]
    return dense_layer(torch.cat(columns).T, zero.flatten()), zero.shape[1:]


def lower(model: nn.Module, shape: Sequence[int], *, limit: int = DENSE_LIMIT) -> list[Layer]:
    """A module as linear layers with ReLU between them, exact up to float64 rounding.

    Consecutive affine modules become one layer. Convolutions lose their weight sharing: their non-zeros are counted
    as often as they are used.

    Args:
        model: an `nn.Sequential`, in eval mode. shape: of one input.

    Raises:
        BadRequest: a module that is not affine or ReLU (named), train mode, a layer beyond the size limit.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1), Scores()).eval()
        >>> x = torch.rand(5, 1, 2, 2)
        >>> bool(torch.allclose(evaluate(lower(net, (1, 2, 2)), x.flatten(1))[:, 0].float(), net(x), atol=1e-6))
        True
    """
    import copy

    if any(m.training for m in model.modules()):
        raise bad("clean model", expected="eval mode", got="train mode", remedy="call model.eval() first")
    parts: list[nn.Module] = [copy.deepcopy(m).double().cpu() for m in _modules_in_order(model)]
    layers: list[Layer] = []
    now, pending = torch.Size(shape), False
    with torch.no_grad():
        for part in parts:
            if isinstance(part, nn.ReLU):
                if not pending:
                    raise BadRequest("clean model: expected an affine layer before every ReLU")
                pending = False
            elif isinstance(part, Scores):
                continue
            elif isinstance(part, _SILENT):
                now = part(torch.zeros(1, *now, dtype=torch.float64)).shape[1:]
            else:
                layer, now = _as_layer(part, now, limit)
                layers = [*layers[:-1], then(layers[-1], layer)] if pending else [*layers, layer]
                pending = True
    if not pending or len(now) != 1:
        raise bad("clean model", expected="an affine last layer with a flat output", got=f"output shape {tuple(now)}")
    assert all(a.weight.shape[0] == b.weight.shape[1] for a, b in pairwise(layers))
    return layers
