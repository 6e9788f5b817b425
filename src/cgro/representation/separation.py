"""Assumption 4.2: the classes are more than 2 delta apart. How far apart are they, exactly?"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, apart, bad, count, number
from cgro.definitions.inputs import as_inputs, as_labels
from cgro.definitions.losses import labels_remedy
from cgro.definitions.threat import parse_p
from cgro.representation.neighbors import nearest_opposite

SQUARED_SAFELY = 400
"""Points whose largest coordinate lies between 2^-400 and 2^400 are squared as they are. A choice: double precision
ends at 2^-1022 and 2^1024."""


@dataclass(frozen=True)
class Separation:
    """The distance between the classes of a finite sample (Assumption 4.2).

    Args:
        p: order of the norm.
        value: the smallest distance between two points of different classes, in units of the input.
        pair: positions of a pair that sets it.
        nearest: (N,) float64, distance of each point to the nearest point of another class; on pixels rounded down.
        exact: (N,) integers k with distance k / 255 (p = 1, inf) or sqrt(k) / 255 (p = 2); None if no pixels.
    """

    p: float
    value: float
    pair: tuple[int, int]
    nearest: np.ndarray
    exact: np.ndarray | None

    @property
    def max_radius(self) -> float:
        """Half the separation: balls of any smaller radius are disjoint across classes."""
        return self.value / 2

    def require(self, radius: float, slack: float = 0.0) -> None:
        """Refuse a radius that Assumption 4.2 excludes.

        Args:
            radius: delta >= 0, in units of the input.
            slack: (2 + slack) radius must be below the separation.

        Raises:
            BadRequest: it is not; says separation, pair and largest radius. A radius that is none.
        """
        radius = number(radius, "radius", low=0.0)
        slack = number(slack, "slack", low=0.0)
        i, k = self.pair
        if self.value == 0:
            raise BadRequest(f"data: points {i} and {k} are equal and have different labels; remove one of them")
        if (2 + slack) * radius >= self.value:
            limit, came = apart(self.value / (2 + slack), radius)
            half = "half the"
            if slack:
                half = f"1 / (2 + {slack:g}) of the"
            raise bad(
                "radius",
                expected=f"below {limit}, {half} l_{self.p:g} separation {self.value:.6g}",
                got=came,
                remedy=f"points {i} and {k} have different labels",
            )


def as_pixels(x: Tensor) -> Tensor | None:
    """Recognize pixels.

    Args:
        x: uint8, or floats.

    Returns:
        The integers k, uint8, if every value is float(k / 255) with 0 <= k <= 255; else None.

    Example:
        >>> as_pixels(torch.tensor([0.0, 1.0, 51 / 255])).tolist(), as_pixels(torch.tensor([0.3141]))
        ([0, 255, 51], None)
    """
    if x.dtype == torch.uint8:
        return x
    k = (x * 255).round().clamp(0, 255)
    return k.to(torch.uint8) if bool((k / 255 == x).all()) else None


def _no_update(done: int) -> None:
    """The default of `update`."""


def separation(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    p: float | str,
    *,
    threads: int | None = None,
    update: Callable[[int], object] = _no_update,
) -> Separation:
    """Measure the distance between the classes (Assumption 4.2), exactly.

    min over i, k with y_i != y_k of ‖x_i - x_k‖_p. It says how far apart these SAMPLES are, not the supports they
    were drawn from: more data can only bring the classes closer.

    Args:
        x: (N, *S) tensor or NumPy array (of which float64 becomes float32, as everywhere); uint8 pixels, or floats.
            Pixels (also floats k / 255) are compared in integer arithmetic, other floats in float64 and rounded down by
            its error bound.
        y: (N,) labels, two or more classes.
        p: 1, 2 or inf.
        threads: >= 1; None for all cores.
        update: called with the number of points done.

    Returns:
        The distance, the pair that sets it, and the distance of every point.

    Raises:
        BadRequest: fewer than two classes, inputs or labels that are not finite or of another shape, lengths that
            differ, distances too large for a number of double precision.

    Example:
        >>> s = separation(torch.tensor([[0.0, 0.0], [0.3, 0.4]]), torch.tensor([-1, 1]), 2)
        >>> round(s.value, 6), round(s.max_radius, 6), s.pair
        (0.5, 0.25, (0, 1))
    """
    order = parse_p(p)
    if threads is not None:
        threads = count(threads, "threads")
    x, labels = _checked(x, y)
    pixels = as_pixels(x)
    scale = 1.0
    if pixels is None:
        points = x.flatten(1).cpu().numpy().astype(np.float64)
        scale = _scale(points)
        points = points / scale
    else:
        points = pixels.flatten(1).cpu().numpy().astype(np.float32)
    raw = nearest_opposite(points, labels, order, integers=pixels is not None, threads=threads, update=update)
    pair = _pair(points, labels, raw, order)
    distance = np.sqrt(raw) if order == 2 else raw
    if pixels is None:
        # A sum of D terms, each of two roundings: relative error below (D + 3) 2^-53, and the square root one more.
        with np.errstate(over="ignore"):  # refused below
            distance = distance * (1 - (points.shape[1] + 5) * 2.0**-53) * scale
        if not np.isfinite(distance).all():
            raise bad("inputs", expected="distances that are numbers of double precision", got="larger ones")
        return Separation(order, float(distance.min()), pair, distance, None)
    distance = distance / 255
    if order == 2:
        distance = np.nextafter(distance, 0.0)
    return Separation(order, float(distance.min()), pair, distance, raw.astype(np.int64))


def _checked(x: Tensor | np.ndarray, y: Tensor | np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Points of which there are values, and their classes numbered from 0."""
    x = as_inputs(x)
    if isinstance(y, Tensor):
        y = y.to(x.device)
    y = as_labels(y, x.device)
    if x.ndim < 2 or not x[:1].numel() or x.is_complex():
        got = f"shape {tuple(x.shape)} of {x.dtype}"
        raise bad("inputs", expected="real numbers, one row for each point, shape (N, *S)", got=got)
    if y.ndim != 1:
        raise bad("labels", expected="shape (N,)", got=tuple(y.shape), remedy=labels_remedy(y.shape))
    if len(x) != len(y):
        raise bad("labels", expected=f"{len(x)}, one per point", got=len(y))
    if not bool(torch.isfinite(y).all()):
        raise bad("labels", expected="finite values", got="NaN or inf")
    classes, labels = np.unique(y.cpu().numpy(), return_inverse=True)
    if len(classes) < 2:
        raise bad("labels", expected="two classes or more", got=classes.tolist())
    if not bool(torch.isfinite(x).all()):
        raise bad("inputs", expected="finite values", got="NaN or inf")
    return x, labels


def _scale(points: np.ndarray) -> float:
    """The power of two by which points are divided, without rounding, so that squares neither overflow nor vanish."""
    largest = float(np.abs(points).max())
    if largest == 0 or 2.0**-SQUARED_SAFELY < largest < 2.0**SQUARED_SAFELY:
        return 1.0
    return 2.0 ** math.floor(math.log2(largest))


def _pair(points: np.ndarray, labels: np.ndarray, nearest: np.ndarray, p: float) -> tuple[int, int]:
    """The first point of least distance and its first partner: the same answer whatever the threads did."""
    i = int(nearest.argmin())
    delta = np.abs(points.astype(np.float64) - points[i].astype(np.float64))
    if p == math.inf:
        distance = delta.max(1)
    elif p == 1:
        distance = delta.sum(1)
    else:
        distance = (delta**2).sum(1)
    return i, int(np.where(labels != labels[i], distance, np.inf).argmin())
