"""The last layer, for classes or for (B,) scores."""

from torch import Tensor, nn


class Scores(nn.Module):
    """Turns a (B, 1) output into (B,) scores, for binary tasks with labels -1 / +1."""

    only_reshapes = True
    """Read by `cgro.bounds.to_layers`: the values pass through."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop the axis of the classes.

        Args:
            x: (B, 1).

        Returns:
            (B,).
        """
        return x.squeeze(1)


def head(n_inputs: int, n_outputs: int, *, bias: bool = True) -> list[nn.Module]:
    """The last layers of a network: a linear one, and for a binary task the one that makes scores of its output.

    Args:
        n_inputs: features that come in.
        n_outputs: classes, or 1 for (B,) scores.
        bias: whether the linear layer has one.

    Returns:
        One or two layers.

    Example:
        >>> head(3, 10), head(3, 1)
        ([Linear(in_features=3, out_features=10, bias=True)], \
[Linear(in_features=3, out_features=1, bias=True), Scores()])
    """
    last = nn.Linear(n_inputs, n_outputs, bias=bias)
    if n_outputs == 1:
        return [last, Scores()]
    return [last]
