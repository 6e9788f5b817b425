"""The windows that Square changes: their area, their place, and what is written there (Andriushchenko et al., 2020)."""

import torch
from torch import Tensor

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the area of the square is halved. Andriushchenko et al. (2020), Section 4.1, for 10,000."""


def window_area(query: int, first_share: float) -> float:
    """Share of the image that the square of a query covers.

    Args:
        query: number of the query, from 0.
        first_share: of the first query.

    Returns:
        `first_share`, halved once for each of `HALVINGS` that is passed.

    Example:
        >>> window_area(0, 0.8), window_area(60, 0.8)
        (0.8, 0.2)
    """
    n_halvings = sum(query > passed for passed in HALVINGS)
    return first_share / 2**n_halvings


def window_sides(area: float, height: int, width: int) -> tuple[int, int]:
    """The sides of a window, nearly a square, that covers a share of an image.

    Args:
        area: share of the image.
        height: of the image.
        width: of the image.

    Returns:
        Its height and width, at least 1 each.

    Example:
        >>> window_sides(0.25, 8, 8), window_sides(0.25, 100, 1)
        ((4, 4), (25, 1))
    """
    wide = max(1, min(width, round((area * height * width) ** 0.5)))
    return max(1, min(height, round(area * height * width / wide))), wide


def _bump(length: int, breadth: int, x: Tensor) -> Tensor:
    """Two halves of opposite sign, one behind the other, each highest in its middle: (length, breadth), as x."""
    along = torch.arange(1, length + 1, dtype=x.dtype, device=x.device)[:, None]
    across = torch.arange(1, breadth + 1, dtype=x.dtype, device=x.device)[None, :]
    # in the dtype of x, whatever torch's default is
    side = torch.where(along <= (length + 1) // 2, 1.0, -1.0).to(x.dtype)
    middle = (length / 4 + 0.5) + (side < 0).to(x.dtype) * (length / 2)
    far = torch.maximum((along - middle).abs(), (across - (breadth + 1) / 2).abs())
    return side / (1 + far).square()


class Window:
    """A window of high x wide pixels, K in all, row by row; its corner is the upper left one.

    Args:
        high: rows.
        wide: columns.
        x: (B, C, H, W) images that it moves in.
    """

    def __init__(self, high: int, wide: int, x: Tensor) -> None:
        height, width = x.shape[2:]
        self.high = high
        self.wide = wide
        self.width = width
        rows = torch.arange(high, device=x.device).repeat_interleave(wide)
        columns = torch.arange(wide, device=x.device).repeat(high)
        self.places = torch.stack([rows, columns])
        self.offsets = rows * width + columns
        # Filled by operations of the device, which a CUDA graph can take.
        self.room = torch.ones(2, dtype=torch.int64, device=x.device)
        self.room[0] += height - high
        self.room[1] += width - wide
        self.upright = _bump(high, wide, x).flatten()
        self.flat = _bump(wide, high, x).T.flatten()

    def corners(self, numbers: Tensor) -> Tensor:
        """Where windows lie.

        Args:
            numbers: (..., N) uniform in [0, 1); the first two count.

        Returns:
            (..., 2) int64, rows and columns of their upper left corners.
        """
        return (numbers[..., :2] * self.room).long()

    def cells(self, corner: Tensor) -> Tensor:
        """The pixels of windows.

        Args:
            corner: (..., 2) int64.

        Returns:
            (..., K) int64, their positions in the image, row by row.
        """
        return (corner[..., :1] * self.width + corner[..., 1:]) + self.offsets

    def outside(self, corner: Tensor, other: Tensor) -> Tensor:
        """Which pixels of windows are not in other windows of the same size.

        Args:
            corner: (..., 2) int64.
            other: (..., 2) int64, corners of the others.

        Returns:
            (..., K) bool.
        """
        apart = corner - other
        rows = apart[..., :1] + self.places[0]
        columns = apart[..., 1:] + self.places[1]
        return (rows < 0) | (rows >= self.high) | (columns < 0) | (columns >= self.wide)
