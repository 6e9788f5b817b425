"""Images that stay on a disk: decoded by threads when they are asked for, the next batches while the last is used.

Threads suffice, as Pillow decodes without Python's lock (benchmarks/streaming.py measures it). Processes would copy
each batch once more, and start anew for each command.
"""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from cgro.data.images import Images

AHEAD = 2
"""Batches that are decoded before they are asked for. A choice: one to be ready, one for the threads to work on."""
MOST_THREADS = 16
PIECES_PER_THREAD = 2
"""Pieces of a batch per thread: images take unequal time."""
FLOAT32 = 4


def decoding_threads() -> int:
    """Threads that decode: one per core that this process may use, shared with the other ranks of a launcher.

    Returns:
        At least 1, at most `MOST_THREADS`.
    """
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if n_ranks.isdecimal() and int(n_ranks) > 0:
        n_cores //= int(n_ranks)
    return max(1, min(MOST_THREADS, n_cores))


class Streamed:
    """(N, C, H, W) uint8 images on a disk, some rows of a part of a source.

    Args:
        images: of the part.
        rows: (N,) int64 positions in it.
        device: where decoded images go.
        ahead: decodes batches before they are asked for; None: nothing does yet.
    """

    dtype = torch.uint8

    def __init__(
        self, images: Images, rows: np.ndarray, device: torch.device | None = None, ahead: "Ahead | None" = None
    ) -> None:
        self.images = images
        self.rows = rows
        self.device = device or torch.device("cpu")
        self._ahead = ahead or Ahead(images)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)"""
        return len(self), *self.images.form

    def part(self, rows: Tensor | slice) -> "Streamed":
        """Some of the images; none is read.

        Args:
            rows: positions in this one.

        Returns:
            They alone.
        """
        if isinstance(rows, Tensor):
            rows_here = rows.cpu().numpy()
            return Streamed(self.images, self.rows[rows_here], self.device)
        return Streamed(self.images, self.rows[rows], self.device)

    def to(self, device: torch.device) -> "Streamed":
        """The same images, decoded to another device.

        Args:
            device: where to.

        Returns:
            They share what is decoded ahead.
        """
        return Streamed(self.images, self.rows, device, self._ahead)

    def expect(self, batches: Iterable[Tensor]) -> None:
        """Begin to decode the first of these batches, and each next one when the one before it is taken.

        Args:
            batches: (B,) positions of each, on the CPU.
        """
        self._ahead.begin(self.rows[batch.numpy()] for batch in batches)

    def take(self, rows: Tensor) -> Tensor:
        """Some images, decoded; at once if they are the next that were expected.

        Args:
            rows: (B,) int64 positions, best on the CPU.

        Returns:
            (B, C, H, W) uint8 on the device.

        Raises:
            BadRequest: one is damaged, was changed, or is of another size or kind (says which).
        """
        pixels = torch.from_numpy(self._ahead.take(self.rows[rows.cpu().numpy()]))
        if self.device.type == "cuda":
            return pixels.pin_memory().to(self.device, non_blocking=True)
        return pixels.to(self.device)

    def all(self) -> Tensor:
        """Every image at once, for what cannot do with less.

        Returns:
            (N, C, H, W) uint8 on the device.

        Raises:
            BadRequest: the memory does not hold them, as integers and as float32; one is damaged.
        """
        if len(self):
            self.images.require_room(self.rows.tolist(), 1 + FLOAT32)
        return torch.from_numpy(decoded(self.images, self.rows)).to(self.device)


class Ahead:
    """Decodes the next batches in threads of its own.

    What is asked for is compared with what was expected: another batch is decoded there and then, and what is decoded
    ahead waits for its turn.

    Args:
        images: of the part.
        n_threads: that decode; None: `decoding_threads()`.
    """

    def __init__(self, images: Images, n_threads: int | None = None) -> None:
        self.images = images
        self.n_threads = n_threads or decoding_threads()
        self._coming: Iterator[np.ndarray] = iter(())
        self._ready: deque[_Batch] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def begin(self, batches: Iterable[np.ndarray]) -> None:
        """Forget what was expected, and decode the first of other batches.

        Args:
            batches: rows of each, in the order in which they will be asked for.
        """
        for batch in self._ready:
            batch.cancel()
        self._ready.clear()
        self._coming = iter(batches)
        self._decode_more()

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The images of some rows.

        Args:
            rows: (B,) positions in the part.

        Returns:
            (B, C, H, W) uint8, the caller's own.

        Raises:
            BadRequest: see `Streamed.take`.
        """
        if not self._ready or not np.array_equal(self._ready[0].rows, rows):
            return decoded(self.images, rows, self.n_threads)
        pixels = self._ready.popleft().pixels()
        self._decode_more()
        return pixels

    def _decode_more(self) -> None:
        while len(self._ready) < AHEAD:
            rows = next(self._coming, None)
            if rows is None:
                break
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.n_threads, "decoding images")
            self._ready.append(_Batch(self.images, rows, self._pool, self.n_threads))
        if not self._ready and self._pool is not None:
            # Between two passes no thread waits; what remains of a pool ends with this object.
            self._pool.shutdown(wait=False)
            self._pool = None


class _Batch:
    """A batch that is being decoded."""

    def __init__(self, images: Images, rows: np.ndarray, pool: ThreadPoolExecutor, n_threads: int) -> None:
        self.rows = rows
        if len(rows):
            images.require_room(rows.tolist())
        self._pixels = np.empty((len(rows), *images.form), np.uint8)
        self._pieces: list[Future[None]] = []
        n_rows = max(1, math.ceil(len(rows) / (PIECES_PER_THREAD * n_threads)))
        for first in range(0, len(rows), n_rows):
            places = range(first, min(first + n_rows, len(rows)))
            self._pieces.append(pool.submit(_decode, images, rows, places, self._pixels))

    def pixels(self) -> np.ndarray:
        """The images, as soon as all are decoded; the first error among them."""
        for piece in self._pieces:
            piece.result()
        return self._pixels

    def cancel(self) -> None:
        """Leave pieces alone that are not begun."""
        for piece in self._pieces:
            piece.cancel()


def decoded(images: Images, rows: np.ndarray, n_threads: int | None = None) -> np.ndarray:
    """Some images, by threads.

    Args:
        images: of the part.
        rows: (B,) positions in it.
        n_threads: that decode; None: `decoding_threads()`.

    Returns:
        (B, C, H, W) uint8.

    Raises:
        BadRequest: see `Streamed.take`.
    """
    n_threads = n_threads or decoding_threads()
    with ThreadPoolExecutor(n_threads, "decoding images") as pool:
        return _Batch(images, rows, pool, n_threads).pixels()


def _decode(images: Images, rows: np.ndarray, places: range, pixels: np.ndarray) -> None:
    for place in places:
        pixels[place] = images.decode(int(rows[place]))
