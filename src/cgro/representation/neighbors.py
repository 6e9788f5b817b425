"""Exact distances between many points, compiled: nearest point of another class, and all pairs within reach.

p = 1, inf: a pair is abandoned as soon as its running distance exceeds what is asked for. Coordinates are sorted by
falling variance, so for p = inf most pairs of images are settled by the first chunk of pixels. Pairs within reach for
p = inf are looked for by bits first (see `apart`): 64 coordinates of a pair cost three operations.
p = 2: abandoning early saves little, and ‖a‖^2 + ‖b‖^2 - 2 <a, b> is a matrix product: exact in float64 for pixels, and
in float32 a filter with a rigorous error bound, whose few survivors are measured one by one.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from torch import Tensor

CHUNK = 64
"""Coordinates at a time. 255^2 * 64 < 2^24: a chunk of squared pixel differences is exact in float32."""

ROWS = TILE = 256
"""Points at a time: a tile of 256 images of 784 float32 fits the second-level cache."""

BITS = 64
"""Coordinates of a word."""

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


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _pairs_by_bits(queries, of_queries, points, of_points, limit, rows, cols):  # pragma: no cover - compiled
    """`_pairs_within` for p = inf, in the same order, without the pairs that a bit keeps apart."""
    found = 0
    for tile in range(0, len(points), TILE):
        for q in range(len(queries)):
            for k in range(tile, min(tile + TILE, len(points))):
                common = np.uint64(0)
                for w in range(of_points.high.shape[0]):
                    common = of_queries.high[w, q] & of_points.low[w, k]
                    common |= of_queries.low[w, q] & of_points.high[w, k]
                    if common != 0:
                        break
                if common == 0 and _distance(queries[q], points[k], 0, limit[k]) < limit[k]:
                    if found < rows.size:
                        rows[found], cols[found] = q, k
                    found += 1
    return found


class Bits(NamedTuple):
    """Which coordinates of some points are high and which are low, 64 to a word.

    Args:
        high: (words, N) uint64, bit j set where x_j >= high_j.
        low: (words, N) uint64, bit j set where x_j <= low_j.
    """

    high: np.ndarray
    low: np.ndarray


class Levels(NamedTuple):
    """Levels of every coordinate, so far apart that a high and a low one are not within a limit.

    Args:
        high: (D,) float32.
        low: (D,) float32.
    """

    high: np.ndarray
    low: np.ndarray

    def bits(self, points: np.ndarray) -> Bits:
        """Compare points with the levels.

        Args:
            points: (N, D) float32.

        Returns:
            Both comparisons, packed.
        """
        return Bits(_packed(points >= self.high), _packed(points <= self.low))


def apart(points: np.ndarray, limit: float) -> Levels | None:
    """Levels around the middle of every coordinate with fl(high - low) >= limit, in float32.

    Where x_j >= high_j and x'_j <= low_j the float32 difference is at least that of the levels, as rounding is
    monotone: the pair is at least `limit` apart, exactly as `_distance` sees it. So nothing is left out that a search
    without bits would find.

    Args:
        points: (N, D) float32, whose middles are taken, from a sample.
        limit: at least the largest distance that is asked for.

    Returns:
        The levels; None where no coordinate varies by as much, so that no bit could be set.

    Example:
        >>> levels = apart(np.array([[0.0], [1.0]], np.float32), 0.5)
        >>> float(levels.high[0]) == 0.75, bool(levels.high - levels.low >= 0.5)
        (True, True)
    """
    sample = points[:: max(1, len(points) // 2000)]
    if not len(sample):
        return None
    largest = sample.max(0).astype(np.float64)
    least = sample.min(0).astype(np.float64)
    if not limit < float((largest - least).max(initial=0.0)):
        return None
    high = ((largest + least + limit) / 2).astype(np.float32)
    low = (high - limit).astype(np.float32)
    close = (high - low).astype(np.float64) < limit
    while close.any():
        low[close] = np.nextafter(low[close], np.float32(-np.inf))
        close = (high - low).astype(np.float64) < limit
    return Levels(high, low)


def _packed(truth: np.ndarray) -> np.ndarray:
    """(N, D) truth values as (words, N) uint64; what is missing to a whole word is 0."""
    n, dim = truth.shape
    words = -(-dim // BITS)
    room = np.zeros((n, words * BITS // 8), np.uint8)
    packed = np.packbits(truth, axis=1)
    room[:, : packed.shape[1]] = packed
    return np.ascontiguousarray(room.view(np.uint64).T)


def _falling_variance(points: np.ndarray) -> np.ndarray:
    """The order of coordinates that settles most pairs early, from a sample of the points."""
    if not len(points):  # the variance of none is no number
        return np.arange(points.shape[1])
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


class _Kept(NamedTuple):
    """Levels and bits for one limit."""

    limit: float
    levels: Levels | None
    bits: Bits | None


class Neighbors:
    """Points prepared for the question: which of them lie within reach of a query?

    Args:
        points: (N, D).
        p: 1, 2 or inf.
        bits: whether bits sort pairs out for p = inf; without them the answer is the same, some twenty times later.
    """

    def __init__(self, points: Tensor, p: float, *, bits: bool = True) -> None:
        flat = points.detach().flatten(1).cpu().numpy()
        self.p = p
        self.order = _falling_variance(flat)
        self.points = np.ascontiguousarray(flat[:, self.order], dtype=np.float32)
        # Once: for each batch it would be a pass over all points, longer than the search itself.
        self._largest = max(float(self.points.max(initial=0)), -float(self.points.min(initial=0)))
        self._squares = np.zeros(0)
        self._by_bits = bits and p == math.inf
        self._kept: _Kept | None = None
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
        size = max(1.0, float(np.abs(ordered).max(initial=0)), self._largest)
        slack = 2.0**-22 * size * {math.inf: 1.0, 1.0: n, 2.0: math.sqrt(n)}[self.p]
        limit = (np.asarray(reach, dtype=np.float64) + slack) * (1 + 2e-5)
        if self.p == 2:
            return self._within_by_products(ordered, limit**2)
        search = self._search(ordered, limit)
        room = 4 * len(ordered) + 1024
        while True:
            rows = np.empty(room, dtype=np.int64)
            cols = np.empty(room, dtype=np.int64)
            found = search(rows, cols)
            if found <= room:
                return rows[:found], cols[:found]
            room = found

    def _search(self, queries: np.ndarray, limit: np.ndarray) -> Callable[[np.ndarray, np.ndarray], int]:
        """By bits where they can tell points apart, else chunk by chunk."""
        levels = bits = None
        if self._by_bits:
            levels, bits = self._bits_for(float(limit.max(initial=0.0)))
        if levels is None or bits is None:
            kind = _KIND[self.p]
            return lambda rows, cols: _pairs_within(queries, self.points, limit, kind, rows, cols)
        of_queries = levels.bits(queries)
        return lambda rows, cols: _pairs_by_bits(queries, of_queries, self.points, bits, limit, rows, cols)

    def _bits_for(self, limit: float) -> tuple[Levels | None, Bits | None]:
        """Levels and bits of the points; kept, as a certificate asks the same in every batch."""
        kept = self._kept
        if kept is None or kept.limit != limit:
            levels = apart(self.points, limit)
            bits = None
            if levels is not None:
                bits = levels.bits(self.points)
            kept = _Kept(limit, levels, bits)
            self._kept = kept
        return kept.levels, kept.bits

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
