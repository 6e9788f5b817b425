"""What projections and steps in a ball with a box come down to, per coordinate and exactly, in float64 by sorting.

All tensors are (B, d) and not negative: sizes of coordinates, and the room that the box leaves them.
"""

import math

import torch
from torch import Tensor


def scale_to_sphere(size: Tensor, room: Tensor, radius: float, largest_scale: float = math.inf) -> Tensor:
    """min(s size, room) with the s <= largest_scale for which its l_2 norm is `radius`, or the largest one possible.

    ‖min(s a, room)‖^2 = sum over {room <= s a} of room^2 + s^2 sum over the rest of a^2 grows with s. Its breakpoints
    are room / a; at each the two sums are running sums over the sorted breakpoints.

    Args:
        size: a, (B, d).
        room: (B, d), in the same unit; infinite where there is no box.
        radius: of the l_2 ball.
        largest_scale: bound on s; 1 for a projection.

    Returns:
        (B, d).

    Example:
        >>> scale_to_sphere(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 9.0]]), 2.0)
        tensor([[1.0000, 1.7321]])
    """
    a = size.double()
    cap = room.double()
    ratio = torch.where(a > 0, cap / a.clamp_min(1e-300), math.inf)
    ratio, order = ratio.sort(dim=1)
    cap_sorted = cap.gather(1, order)
    a_sorted = a.gather(1, order)
    clipped = torch.where(ratio.isinf(), 0.0, cap_sorted).square().cumsum(1)
    free = (a_sorted.square().sum(1, keepdim=True) - a_sorted.square().cumsum(1)).clamp_min(0)
    at_break = clipped + torch.where(ratio.isinf(), math.inf, ratio.square() * free)
    n_clipped = (at_break <= radius**2).sum(1, keepdim=True)
    before = (n_clipped - 1).clamp_min(0)
    first = n_clipped == 0
    fixed = torch.where(first, 0.0, clipped.gather(1, before))
    rest = torch.where(first, a_sorted.square().sum(1, keepdim=True), free.gather(1, before))
    scale = ((radius**2 - fixed).clamp_min(0) / rest).sqrt()
    scale = torch.where((rest > 0) & (n_clipped < a.shape[1]), scale, math.inf).clamp_max(largest_scale)
    moved = torch.minimum(torch.where(a > 0, a * scale, 0.0), cap)
    return torch.nan_to_num(moved).to(size.dtype)


def shrink_to_simplex(size: Tensor, room: Tensor, radius: float) -> Tensor:
    """clip(size - t, 0, room) with the smallest t >= 0 for which its sum is at most `radius`.

    The sum falls piecewise linearly in t, with breakpoints size - room and size; it is evaluated at all of them by
    running sums and the root is interpolated between the two neighbors.

    Args:
        size: (B, d).
        room: (B, d), in the same unit; infinite where there is no box.
        radius: of the l_1 ball.

    Returns:
        (B, d).

    Example:
        >>> shrink_to_simplex(torch.tensor([[3.0, 2.0]]), torch.tensor([[1.5, 9.0]]), 2.0)
        tensor([[1.5000, 0.5000]])
    """
    a = size.double()
    cap = room.double()
    inside = torch.minimum(a, cap)
    enough = inside.sum(1, keepdim=True) <= radius
    upper = torch.where(cap.isinf(), -1.0, a - cap)  # leaves the cap; -1 stands for "free from t = 0 on"
    start = upper.clamp_min(0)
    points, order = torch.cat([start, a], 1).sort(dim=1)
    slope = torch.cat([-torch.ones_like(a), torch.ones_like(a)], 1).gather(1, order).cumsum(1)
    widths = points.diff(dim=1)
    total = inside.sum(1, keepdim=True) + torch.cat([torch.zeros_like(a[:, :1]), (slope[:, :-1] * widths).cumsum(1)], 1)
    left = ((total > radius).sum(1, keepdim=True) - 1).clamp_min(0)
    falling = -slope.gather(1, left)
    t = points.gather(1, left) + (total.gather(1, left) - radius) / falling.clamp_min(1.0)
    t = torch.where(enough, 0.0, t)
    return torch.minimum((a - t).clamp_min(0), cap).to(size.dtype)


def fill_largest(weight: Tensor, room: Tensor, budget: float) -> Tensor:
    """Spend a budget on the coordinates of largest weight, each up to its room; none where the weight is zero.

    Args:
        weight: (B, d).
        room: (B, d); infinite where there is no box.
        budget: their sum at most.

    Returns:
        (B, d), what each gets.

    Example:
        >>> fill_largest(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([[9.0, 1.0, 9.0]]), 2.5)
        tensor([[0.0000, 1.0000, 1.5000]])
    """
    weight_sorted, order = weight.sort(dim=1, descending=True, stable=True)
    cap = torch.where(weight_sorted > 0, room.gather(1, order), 0.0).clamp_max(budget).double()
    spent_before = cap.cumsum(1) - cap
    amount = torch.minimum(cap, (budget - spent_before).clamp_min(0)).to(weight.dtype)
    return torch.zeros_like(weight).scatter(1, order, amount)
