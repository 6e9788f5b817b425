"""Exact distances between many points, compiled: nearest point of another class, and all pairs within reach.

p = 1, inf: a pair is abandoned as soon as its running distance exceeds what is asked for. Coordinates are sorted by
falling variance, so for p = inf most pairs of images are settled by the first chunk of pixels.
p = 2: abandoning early saves little, and ‖a‖^2 + ‖b‖^2 - 2 <a, b> is a matrix product: exact in float64 for pixels, and
in float32 a filter with a rigorous error bound, whose few survivors are measured one by one.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from torch import Tensor

CHUNK = 64
"""Coordinates at a time. 255^2 * 64 < 2^24: a chunk of squared pixel differences is exact in float32."""

ROWS = TILE = 256
"""Points at a time: a tile of 256 images of 784 float32 fits the second-level cache."""

PAIRS = 4096
"""Pairs at a time that are measured in float64."""

_FAST = {"nnan", "nsz", "reassoc", "contract"}
_KIND = {math.inf: 0, 1.0: 1, 2.0: 2}


# Inlined by numba and not by LLVM, which inlines a fresh function but not one from the cache: sums of floats would be
# rounded otherwise in the first process after an installation than in all later ones.
@numba.njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _distance(a, b, kind, limit):  # pragma: no cover - compiled
    """max |a - b|, sum |a - b| or sum (a - b)^2; any value >= `limit` may stand for a larger one."""
    total = 0.0
    for first in range(0, a.size, CHUNK):
        last = min(first + CHUNK, a.size)
        part = a[first] - a[first]
        if kind == 0:
            for j in range(first, last):
                part = max(part, abs(a[j] - b[j]))
            total = max(total, part)
        elif kind == 1:
            for j in range(first, last):
                part += abs(a[j] - b[j])
            total += part
        else:
            for j in range(first, last):
                part += (a[j] - b[j]) * (a[j] - b[j])
            total += part
        if total >= limit:
            return total
    return total


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _nearest_rows(points, labels, first, last, kind, best):  # pragma: no cover - compiled
    """Lower best[i] and best[j] by the distances of rows first..last to all later rows of another label."""
    n = len(points)
    for tile in range(first, n, TILE):
        for i in range(first, last):
            for j in range(max(i + 1, tile), min(tile + TILE, n)):
                if labels[i] != labels[j]:
                    d = _distance(points[i], points[j], kind, max(best[i], best[j]))
                    best[i] = min(best[i], d)
                    best[j] = min(best[j], d)


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _pairs_within(queries, points, limit, kind, rows, cols):  # pragma: no cover - compiled
    """Write the pairs with distance < limit[k]; the return value may exceed the room, then the caller enlarges it."""
    found = 0
    for tile in range(0, len(points), TILE):
        for q in range(len(queries)):
            for k in range(tile, min(tile + TILE, len(points))):
                if _distance(queries[q], points[k], kind, limit[k]) < limit[k]:
                    if found < rows.size:
                        rows[found], cols[found] = q, k
                    found += 1
    return found


def _falling_variance(points: np.ndarray) -> np.ndarray:
    """The order of coordinates that settles most pairs early, from a sample of the points."""
    sample = points[:: max(1, len(points) // 2000)]
    return np.argsort(-sample.astype(np.float64).var(0), kind="stable")


def _no_update(done: int) -> None:
    """The default of `update`."""


def nearest_opposite(
    points: np.ndarray,
    labels: np.ndarray,
    p: float,
    *,
    integers: bool = False,
    threads: int | None = None,
    update: Callable[[int], object] = _no_update,
) -> np.ndarray:
    """Measure for every i the distance to the nearest point of another class: min over y_k != y_i of ‖x_i - x_k‖_p.

    Exact for integers below 256 held in float32 (chunk sums stay below 2^24, their total below 2^53).

    Args:
        points: (N, D) float32 or float64.
        labels: (N,).
        p: 1, 2 or inf.
        integers: the points are integers below 256.
        threads: None for all cores.
        update: called with the number of rows done.

    Returns:
        (N,) float64; for p = 2 the squares of the distances.

    Example:
        >>> x, y = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]], np.float32), np.array([0, 1, 0])
        >>> nearest_opposite(x, y, 2.0).tolist()
        [25.0, 18.0, 18.0]
    """
    if p == 2 and integers:
        return _nearest_by_products(points.astype(np.float64), labels, update)
    ordered = np.ascontiguousarray(points[:, _falling_variance(points)])
    labels = np.ascontiguousarray(labels, dtype=np.int64)
    best = np.full(len(points), np.inf)

    def block(first: int) -> np.ndarray:
        # A copy of what is known so far: it is only a limit for giving pairs up, so a stale one changes nothing.
        found = best.copy()
        _nearest_rows(ordered, labels, first, min(first + ROWS, len(points)), _KIND[p], found)
        return found

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for done, found in enumerate(pool.map(block, range(0, len(points), ROWS)), 1):
            np.minimum(best, found, out=best)
            update(min(done * ROWS, len(points)))
    return best


def _nearest_by_products(points: np.ndarray, labels: np.ndarray, update: Callable[[int], object]) -> np.ndarray:
    """Squared l_2 distances to the nearest point of another class. All sums are integers below 2^53: exact."""
    squares = (points**2).sum(1)
    best = np.empty(len(points))
    for first in range(0, len(points), ROWS):
        part = slice(first, first + ROWS)
        d = points[part] @ points.T
        d *= -2
        d += squares
        d[labels[part, None] == labels] = np.inf
        best[part] = d.min(1) + squares[part]
        update(min(first + ROWS, len(points)))
    return best


class Neighbors:
    """Points prepared for the question: which of them lie within reach of a query?

    Args:
        points: (N, D).
        p: 1, 2 or inf.
    """

    def __init__(self, points: Tensor, p: float) -> None:
        flat = points.detach().flatten(1).cpu().numpy()
        self.p = p
        self.order = _falling_variance(flat)
        self.points = np.ascontiguousarray(flat[:, self.order], dtype=np.float32)
        self._squares = np.zeros(0)
        if p == 2:
            self._squares = (self.points.astype(np.float64) ** 2).sum(1)

    def within(self, queries: Tensor, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the pairs within reach, and a few that exceed it by float32 rounding.

        Callers decide on the pairs themselves, in float64; nothing outside the set is within reach.

        Args:
            queries: (B, D).
            reach: (N,) one for each point.

        Returns:
            Pairs (q, k), a superset of {‖query_q - point_k‖_p <= reach_k}.

        Example:
            >>> import torch
            >>> Neighbors(torch.tensor([[0.0], [1.0]]), 2.0).within(torch.tensor([[0.9]]), np.array([0.5, 0.5]))
            (array([0]), array([1]))
        """
        ordered = np.ascontiguousarray(queries.detach().flatten(1).cpu().numpy()[:, self.order], dtype=np.float32)
        n = ordered.shape[1]
        # Each difference is off by 2^-23 of the values' size, sums of a chunk by CHUNK * 2^-24 of themselves.
        size = max(1.0, float(np.abs(ordered).max(initial=0)), float(np.abs(self.points).max(initial=0)))
        slack = 2.0**-22 * size * {math.inf: 1.0, 1.0: n, 2.0: math.sqrt(n)}[self.p]
        limit = (np.asarray(reach, dtype=np.float64) + slack) * (1 + 2e-5)
        if self.p == 2:
            return self._within_by_products(ordered, limit**2)
        room = 4 * len(ordered) + 1024
        while True:
            rows = np.empty(room, dtype=np.int64)
            cols = np.empty(room, dtype=np.int64)
            found = _pairs_within(ordered, self.points, limit, _KIND[self.p], rows, cols)
            if found <= room:
                return rows[:found], cols[:found]
            room = found

    def _within_by_products(self, queries: np.ndarray, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p = 2: pairs that the float32 product cannot exclude, then measured in float64.

        An inner product of n terms, in any order, is off by at most g ‖a‖ ‖b‖, g = n u / (1 - n u), u = 2^-24 (Higham,
        Accuracy and Stability, 3.1); the two squared norms are computed in float64 and then rounded.
        """
        n = queries.shape[1]
        bound = 4 * (n + 4) * 2.0**-24 / (1 - n * 2.0**-24)
        squares = self._squares
        lengths = np.sqrt(squares)
        rows = [np.zeros(0, int)]
        cols = [np.zeros(0, int)]
        for first in range(0, len(queries), ROWS):
            part = queries[first : first + ROWS]
            own = (part.astype(np.float64) ** 2).sum(1)
            # ‖a‖^2 + ‖b‖^2 - 2 <a, b> < limit is impossible if it fails with the bound on both sides' rounding added.
            rounding = bound * (limit + squares + lengths * np.sqrt(own.max(initial=0)))
            ceiling = ((limit - squares) / 2 + rounding).astype(np.float32)
            product = part @ self.points.T
            product += ceiling
            q, k = np.nonzero(product > (own * (0.5 - bound))[:, None].astype(np.float32))
            near = _squared_distances(part, self.points, q, k) < limit[k]
            rows.append(q[near] + first)
            cols.append(k[near])
        return np.concatenate(rows), np.concatenate(cols)


def _squared_distances(a: np.ndarray, b: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """‖a_i - b_k‖^2 of the pairs, float64, a few thousand pairs at a time."""
    out = np.empty(len(rows))
    for first in range(0, len(rows), PAIRS):
        part = slice(first, first + PAIRS)
        out[part] = ((a[rows[part]].astype(np.float64) - b[cols[part]]) ** 2).sum(1)
    return out
