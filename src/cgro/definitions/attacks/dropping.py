"""Which examples a search goes on with: the one place where an evaluation reads while it searches.

A search itself reads nothing. Where it pays to leave wrong examples alone, that is decided between chunks of its steps:
on a CPU, where a read costs nothing, to exactly the examples that are left; elsewhere to one of a few fixed sizes,
filled up with examples that are wrong, so that no batch has a size that was not met before (a GPU would choose its
kernels anew, and a captured graph could not be replayed).
"""

from typing import Literal

import torch
from torch import Tensor

SIDE_BY_SIDE = {"cpu": 256}
"""Rows of a batch up to which starts or queries of its examples are laid beside one another, by the type of the device:
an operation on few rows takes as long as one on more. Affects speed only. On a CPU beyond a few hundred rows nothing is
gained (docs/evaluation.md); elsewhere not measured."""
SIDE_BY_SIDE_ELSEWHERE = 4096

Dropping = Literal["never", "exact", "padded"]
"""`never`: all examples go on, and masks say which of them count. `exact`: those that are right, no others. `padded`:
those that are right, filled up to a half, a quarter, ... of the batch."""


def dropping_on(device: torch.device) -> Dropping:
    """How an evaluation drops examples.

    Args:
        device: of the batch.

    Returns:
        `exact` on a CPU, `padded` elsewhere.
    """
    if device.type == "cpu":
        return "exact"
    return "padded"


def rows_at_once(device: torch.device) -> int:
    """Rows that a batch is filled up to with further starts or queries of its examples.

    Args:
        device: of the batch.

    Returns:
        Their number.
    """
    return SIDE_BY_SIDE.get(device.type, SIDE_BY_SIDE_ELSEWHERE)


def rows_to_keep(right: Tensor, dropping: Dropping, *, most: float = 1.0) -> Tensor | None:
    """The examples to go on with. Reads their number on the host, unless `dropping` is `never`.

    Args:
        right: (B,) bool, the examples that are still correctly classified.
        dropping: how.
        most: share of the batch; where more of it would be left, it is not worth the while.

    Returns:
        (R,) int64, increasing; None means all.

    Example:
        >>> right = torch.tensor([False, True, True, False, False, True, False, False, True])
        >>> rows_to_keep(right, "exact"), rows_to_keep(right, "padded")
        (tensor([1, 2, 5, 8]), tensor([0, 1, 2, 5, 8]))
    """
    if dropping == "never":
        return None
    n = len(right)
    if dropping == "exact":
        rows = torch.nonzero(right).squeeze(1)
        if len(rows) == n or len(rows) > most * n:
            return None
        return rows
    size = padded_size(int(right.sum()), n)
    if size == n:
        return None
    # The right ones first, the others after them in their order; then in the order of the batch again.
    order = torch.argsort((~right).to(torch.uint8), stable=True)
    return order[:size].sort().values


def padded_size(n_right: int, n: int) -> int:
    """The smallest of n, n/2, n/4, ... (rounded up) that holds some examples; 0 for none.

    Args:
        n_right: examples to hold.
        n: size of the batch.

    Returns:
        A size from `n_right` to n.

    Example:
        >>> padded_size(3, 9), padded_size(6, 9), padded_size(0, 9)
        (3, 9, 0)
    """
    if n_right == 0:
        return 0
    size = n
    while size > 1 and (size + 1) // 2 >= n_right:
        size = (size + 1) // 2
    return size
