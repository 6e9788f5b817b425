"""Explicit ReLU networks: lists of affine layers with sparse weights, ReLU between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cgro._check import bad

DENSE_LIMIT = 50_000_000
"""Entries of the largest dense matrix that is made: 400 MB in float64."""


@dataclass(frozen=True)
class Layer:
    """The affine map x -> weight x + bias. ReLU stands between layers, not in them.

    Args:
        weight: (n_out, n_in) sparse COO, coalesced, float64.
        bias: (n_out,) float64.
    """

    weight: Tensor
    bias: Tensor

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self.weight.shape[1]

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self.weight.shape[0]

    @property
    def n_nonzero(self) -> int:
        """Parameters that are not zero."""
        return int((self.weight.values() != 0).sum() + (self.bias != 0).sum())

    @property
    def n_dense(self) -> int:
        """Parameters of the dense layer of this shape."""
        return self.n_out * (self.n_in + 1)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, n_in) -> (B, n_out), in the precision of the bias."""
        return torch.sparse.mm(self.weight, x.T.to(self.bias)).T + self.bias


def sparse_layer(rows: Tensor, cols: Tensor, values: Tensor, bias: Tensor, n_in: int) -> Layer:
    """Build a layer from the entries of its weight matrix; zeros are dropped, entries of one place add up.

    Args:
        rows: (K,) output of each entry.
        cols: (K,) input of each entry.
        values: (K,) the entries.
        bias: (n_out,), whose length is the number of outputs.
        n_in: number of inputs.

    Returns:
        The layer, float64.
    """
    keep = values != 0
    index = torch.stack([rows[keep], cols[keep]])
    kept = values[keep].double()
    weight = torch.sparse_coo_tensor(index, kept, (len(bias), n_in), device=values.device, check_invariants=False)
    return Layer(weight.coalesce(), bias.double())


def dense_layer(weight: Tensor, bias: Tensor | None = None) -> Layer:
    """Build a layer from a dense matrix; zeros are dropped.

    Args:
        weight: (n_out, n_in).
        bias: (n_out,); None means 0.

    Returns:
        The layer, float64.
    """
    rows, cols = torch.nonzero(weight, as_tuple=True)
    if bias is None:
        bias = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
    return sparse_layer(rows, cols, weight[rows, cols], bias, weight.shape[1])


def compose(inner: Layer, outer: Layer) -> Layer:
    """Merge two layers without a ReLU between them: x -> outer(inner(x)).

    Args:
        inner: the layer that comes first.
        outer: the layer on its outputs.

    Returns:
        One layer with weight W_outer W_inner and bias W_outer b_inner + b_outer.
    """
    return dense_layer(torch.sparse.mm(outer.weight, inner.weight.to_dense()), outer(inner.bias[None])[0])


def evaluate(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """Evaluate a network: z_1 = W_1 x + b_1, z_l = W_l ReLU(z_(l-1)) + b_l.

    Args:
        layers: of the network, first to last.
        x: (B, D) flat inputs.

    Returns:
        (B, n_out) outputs of the last layer, float64.
    """
    first, *others = layers
    z = first(x.double())
    for layer in others:
        z = layer(z.clamp_min(0))
    return z


def side_by_side(branches: Sequence[list[Layer]]) -> list[Layer]:
    """Join networks on the same input into one, whose outputs are theirs, one after the other.

    A shorter branch carries its outputs on by ReLU(z) = z, so they must be >= 0.

    Args:
        branches: the networks; their first layers have the same number of inputs.

    Returns:
        A network as deep as the deepest branch.
    """
    depth = max(map(len, branches))
    padded: list[list[Layer]] = []
    for branch in branches:
        carry = dense_layer(torch.eye(branch[-1].n_out, dtype=torch.float64, device="cpu"))
        padded.append(branch + [carry] * (depth - len(branch)))
    levels = list(zip(*padded, strict=True))
    return [_stack(levels[0], shared_input=True), *(_stack(level, shared_input=False) for level in levels[1:])]


def _stack(layers: Sequence[Layer], *, shared_input: bool) -> Layer:
    """Layers side by side: on the same input, or each on its own part of it (a block-diagonal weight)."""
    rows: list[Tensor] = []
    cols: list[Tensor] = []
    n_out = n_in = 0
    for layer in layers:
        r, c = layer.weight.indices()
        rows.append(r + n_out)
        cols.append(c + n_in)
        n_out += layer.n_out
        if not shared_input:
            n_in += layer.n_in
    if shared_input:
        n_in = layers[0].n_in
    values = torch.cat([layer.weight.values() for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return sparse_layer(torch.cat(rows), torch.cat(cols), values, bias, n_in)


def require_few_entries(layers: Sequence[Layer], what: str, *, limit: int, remedy: str) -> None:
    """Refuse a network whose matrices are too large to be written out with their zeros.

    Args:
        layers: of the network.
        what: how the message calls it.
        limit: the most dense entries it may have.
        remedy: what to do instead.

    Raises:
        BadRequest: it has more.
    """
    n_dense = sum(layer.n_dense for layer in layers)
    if n_dense > limit:
        raise bad(what, expected=f"at most {limit:,} dense entries", got=f"{n_dense:,}", remedy=remedy)


def to_sequential(layers: Sequence[Layer], *, limit: int = DENSE_LIMIT) -> nn.Sequential:
    """Write the same network with `nn.Linear` and `nn.ReLU`.

    Args:
        layers: of the network, first to last.
        limit: the most dense entries it may have.

    Returns:
        The module, float64, in eval mode and without gradients, on flat inputs.

    Raises:
        BadRequest: it has more than `limit` dense entries.
    """
    require_few_entries(layers, "network", limit=limit, remedy="take fewer points, or evaluate it in structured form")
    modules: list[nn.Module] = []
    for layer in layers:
        # skip_init: the default initialization would draw from the global random state.
        linear = nn.utils.skip_init(nn.Linear, layer.n_in, layer.n_out, dtype=torch.float64)
        assert isinstance(linear, nn.Linear)
        with torch.no_grad():
            linear.weight.copy_(layer.weight.to_dense())
            linear.bias.copy_(layer.bias)
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1]).eval().requires_grad_(False)
