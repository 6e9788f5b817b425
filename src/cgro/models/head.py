"""The last layer, for classes or for (B,) scores."""

from torch import Tensor, nn


class Scores(nn.Module):
    """Turns a (B, 1) output into (B,) scores, for binary tasks with labels -1 / +1."""

    only_reshapes = True
    """Read by `cgro.bounds.to_layers`: the values pass through."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1) -> (B,)"""
        return x.squeeze(1)


def head(n_inputs: int, n_outputs: int, *, bias: bool = True) -> list[nn.Module]:
    """A linear layer to n_outputs logits, or to (B,) scores if n_outputs is 1."""
    last = nn.Linear(n_inputs, n_outputs, bias=bias)
    return [last, Scores()] if n_outputs == 1 else [last]
