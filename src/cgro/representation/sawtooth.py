"""Squares by ReLU networks: the sawtooth of Yarotsky (2017), which Theorem 4.4 uses for p = 2.

With u = (x - low) / (high - low), T_0 = u and T_k = 2 ReLU(T_(k-1)) - 4 ReLU(T_(k-1) - 1/2),

    u^2  <=  u - sum_(k = 1..depth) T_k(u) / 4^k  <=  u^2 + 4^-(depth + 1)      for u in [0, 1].
"""

from torch import Tensor


def sawtooth_error(dim: int, low: float, high: float, depth: int) -> float:
    """Bound what the sawtooth adds to |x|^2 on the box: D (high - low)^2 / 4^(depth + 1).

    Args:
        dim: D, the number of coordinates.
        low: least coordinate.
        high: largest coordinate.
        depth: terms of the sawtooth.

    Returns:
        The largest error. It is never negative: the sawtooth is above the square.
    """
    return dim * (high - low) ** 2 / 4.0 ** (depth + 1)


def sawtooth_excess(x: Tensor, low: float, high: float, depth: int) -> Tensor:
    """Evaluate q(x) - |x|^2 >= 0, q the sum of the coordinates' sawtooth squares.

    Args:
        x: (B, D) points of the box; outside of it the result may be negative.
        low: least coordinate.
        high: largest coordinate.
        depth: terms of the sawtooth.

    Returns:
        (B,) float64: (high - low)^2 sum_j (u_j - sum_k T_k(u_j) / 4^k - u_j^2).

    Example:
        >>> import torch
        >>> round(float(sawtooth_excess(torch.tensor([[0.25, 0.5]]), 0.0, 1.0, 1)), 4)
        0.0625
    """
    u = (x.double() - low) / (high - low)
    total = u - u**2
    tooth = u
    for k in range(1, depth + 1):
        tooth = 2 * tooth.clamp_min(0) - 4 * (tooth - 0.5).clamp_min(0)
        total = total - tooth / 4.0**k
    return (high - low) ** 2 * total.sum(1)
