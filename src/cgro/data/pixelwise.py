"""Changes of color and shape of images, each with a strength per image, as Pillow defines them.

All take (B, C, H, W) in [0, 1] and (B,) strengths, and return the like. Values are not rounded to 8 bits in between, as
they are in Pillow; results agree with it within 2/255 (tests).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in gray: ITU-R 601, as Pillow has them."""
N_VALUES = 256


def gray(x: Tensor) -> Tensor:
    """The luma of color images; other images as they are.

    Args:
        x: (B, C, H, W).

    Returns:
        (B, C, H, W), with the same value in all channels of a color image.

    Example:
        >>> gray(torch.ones(1, 3, 1, 1)).flatten()
        tensor([1., 1., 1.])
    """
    if x.shape[1] != len(LUMA):
        return x
    weights = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
    return (x * weights).sum(1, keepdim=True).expand_as(x)


def blended(x: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    """strength x + (1 - strength) other, cut to [0, 1].

    Args:
        x: (B, C, H, W).
        other: what strength 0 gives.
        strength: (B,); 1 gives x, more is away from `other`.

    Returns:
        (B, C, H, W).
    """
    s = strength.to(x.dtype).view(-1, 1, 1, 1)
    return (s * x + (1 - s) * other).clamp(0.0, 1.0)


def saturated(x: Tensor, strength: Tensor) -> Tensor:
    """Color: 0 gives gray.

    Args:
        x: (B, C, H, W).
        strength: (B,).

    Returns:
        (B, C, H, W).
    """
    return blended(x, gray(x), strength)


def brightened(x: Tensor, strength: Tensor) -> Tensor:
    """Brightness: 0 gives black.

    Args:
        x: (B, C, H, W).
        strength: (B,).

    Returns:
        (B, C, H, W).
    """
    return blended(x, torch.zeros_like(x), strength)


def contrasted(x: Tensor, strength: Tensor) -> Tensor:
    """Contrast: 0 gives the mean of gray.

    Args:
        x: (B, C, H, W).
        strength: (B,).

    Returns:
        (B, C, H, W).
    """
    return blended(x, gray(x).mean((1, 2, 3), keepdim=True), strength)


def sharpened(x: Tensor, strength: Tensor) -> Tensor:
    """Sharpness: 0 gives the image smoothed by (1 1 1; 1 5 1; 1 1 1) / 13; the border stays.

    Args:
        x: (B, C, H, W), at least 3 pixels wide and high.
        strength: (B,).

    Returns:
        (B, C, H, W).
    """
    n_channels = x.shape[1]
    kernel = torch.ones(3, 3, dtype=x.dtype, device=x.device)
    kernel[1, 1] = 5.0
    kernel = (kernel / kernel.sum()).expand(n_channels, 1, 3, 3)
    smooth = x.clone()
    smooth[:, :, 1:-1, 1:-1] = conv2d(x, kernel, groups=n_channels)
    return blended(x, smooth, strength)


def autocontrasted(x: Tensor) -> Tensor:
    """Each channel stretched to [0, 1]; one of a single value stays.

    Args:
        x: (B, C, H, W).

    Returns:
        (B, C, H, W).

    Example:
        >>> autocontrasted(torch.tensor([0.25, 0.5]).view(1, 1, 1, 2)).flatten()
        tensor([0., 1.])
    """
    low = x.amin((2, 3), keepdim=True)
    span = x.amax((2, 3), keepdim=True) - low
    return torch.where(span > 0, (x - low) / span.clamp_min(torch.finfo(x.dtype).tiny), x)


def equalized(x: Tensor) -> Tensor:
    """Each channel with an even histogram of its 256 values; Pillow's table of integers.

    Args:
        x: (B, C, H, W).

    Returns:
        (B, C, H, W), multiples of 1/255, or as it was where a channel has too few values.
    """
    values = (x * (N_VALUES - 1)).round().long().flatten(2)
    counts = torch.zeros(*values.shape[:2], N_VALUES, dtype=torch.int64, device=x.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    of_largest = counts.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - of_largest) // (N_VALUES - 1)
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp_min(1)).clamp_max(N_VALUES - 1)
    found = table.gather(2, values).view(x.shape).to(x.dtype) / (N_VALUES - 1)
    return torch.where(step.unsqueeze(3) > 0, found, x)


def sheared(x: Tensor, angle: Tensor, across: Tensor) -> Tensor:
    """Sheared about the middle, black where nothing comes to lie, by the nearest pixel.

    Args:
        x: (B, C, H, W).
        angle: (B,) in radians.
        across: (B,) bool; columns are moved instead of rows.

    Returns:
        (B, C, H, W).
    """
    slope = torch.tan(angle)
    zero = torch.zeros_like(slope)
    one = torch.ones_like(slope)
    row_moves = torch.where(across, zero, slope)
    column_moves = torch.where(across, slope, zero)
    return resampled(x, torch.stack([one, row_moves, column_moves, one], 1))


def rotated(x: Tensor, degrees: Tensor) -> Tensor:
    """Rotated about the middle, against the clock, black where nothing comes to lie, by the nearest pixel.

    Args:
        x: (B, C, H, W).
        degrees: (B,).

    Returns:
        (B, C, H, W).
    """
    angle = degrees * (math.pi / 180)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return resampled(x, torch.stack([cos, -sin, sin, cos], 1))


def resampled(x: Tensor, matrix: Tensor) -> Tensor:
    """out(p) = x(M (p - m) + m) by the pixel in which the point lies, m the middle; black outside.

    Args:
        x: (B, C, H, W).
        matrix: (B, 4), M row by row, of points (column, row).

    Returns:
        (B, C, H, W).

    Example:
        >>> image = torch.arange(4.0).view(1, 1, 2, 2)
        >>> resampled(image, torch.tensor([[-1.0, 0.0, 0.0, -1.0]])).flatten()  # half a turn
        tensor([3., 2., 1., 0.])
    """
    height, width = x.shape[2:]
    matrix = matrix.double()
    column = torch.arange(width, device=x.device, dtype=torch.float64) + 0.5 - width / 2
    row = torch.arange(height, device=x.device, dtype=torch.float64) + 0.5 - height / 2
    a, b, c, d = (entry.view(-1, 1, 1) for entry in matrix.unbind(1))
    from_column = torch.floor(a * column + b * row[:, None] + width / 2).long()
    from_row = torch.floor(c * column + d * row[:, None] + height / 2).long()
    return gathered(x, from_row, from_column)


def gathered(x: Tensor, from_row: Tensor, from_column: Tensor) -> Tensor:
    """out[b, :, i, j] = x[b, :, from_row[b, i, j], from_column[b, i, j]], 0 where that is outside the image.

    Args:
        x: (B, C, H, W).
        from_row: (B, H, W) int64, or (B, H, 1).
        from_column: (B, H, W) int64, or (B, 1, W).

    Returns:
        (B, C, H, W).
    """
    height, width = x.shape[2:]
    inside = (from_row >= 0) & (from_row < height) & (from_column >= 0) & (from_column < width)
    flat = from_row.clamp(0, height - 1) * width + from_column.clamp(0, width - 1)
    index = flat.flatten(1)[:, None].expand(-1, x.shape[1], -1)
    found = x.flatten(2).gather(2, index).view(x.shape)
    return torch.where(inside[:, None], found, 0.0)
