"""Encoded images of a table, written once to one file of a cache, from which each is read by its place.

A parquet file gives a row only with its whole row group, of a hundred to a hundred thousand rows: in a shuffled order
every image would cost as many. So the images are copied, as they are encoded, in one pass and in bounded memory.

A file of the cache holds all images one behind another, then labels (int64), ends (int64) and CRC-32 (uint32) of each,
then `TRAILER`: a magic word, the number of images, and the SHA-256 of the three columns.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from cgro._check import BadRequest, bad
from cgro._progress import progress
from cgro.reading import open_regular
from cgro.writing import cannot_write, whole_file

FOLDER = "CGRO_CACHE"
"""The environment variable that says where the cache is."""
MAGIC = b"cgroimg1"
TRAILER = struct.Struct("<8sQ32s")
PER_IMAGE = 8 + 8 + 4
"""Bytes of the columns per image."""
SPARE = 64 << 20
"""Bytes of the disk that are left free."""
UPDATE_EVERY = 1000
REMEDY = f"set {FOLDER} to a folder with room"

Rows = Callable[[], Iterable[tuple[bytes, int]]]
"""Gives the images in their encoding, each with its label."""


def cache_folder() -> Path:
    """Where files of the cache are: `$CGRO_CACHE`, else `cgro` in `$XDG_CACHE_HOME` or in `~/.cache`.

    Returns:
        The folder, which may not exist yet.
    """
    own = os.environ.get(FOLDER)
    if own:
        return Path(own)
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "cgro"


class Spool:
    """The images of one file of the cache, read by their places.

    Args:
        path: of the file.

    Attributes:
        labels: (N,) int64.
        sizes: (N,) int64, bytes of each image.

    Raises:
        BadRequest: no such file, or one that is not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_regular(path, follow=False) as file:
            size = os.fstat(file.fileno()).st_size
        trailer = self._read(max(0, size - TRAILER.size), TRAILER.size)
        if len(trailer) < TRAILER.size:
            raise self._damaged("a shorter one")
        magic, n, digest = TRAILER.unpack(trailer)
        start = size - TRAILER.size - n * PER_IMAGE
        if magic != MAGIC or start < 0:
            raise self._damaged("another or a cut one")
        columns = self._read(start, n * PER_IMAGE)
        if hashlib.sha256(columns).digest() != digest:
            raise self._damaged("one whose index was changed")
        self.labels = np.frombuffer(columns, np.int64, n)
        self._ends = np.frombuffer(columns, np.int64, n, 8 * n)
        self._sums = np.frombuffer(columns, np.uint32, n, 16 * n)
        self.sizes = np.diff(self._ends, prepend=0)
        if n and int(self._ends[-1]) != start:
            raise self._damaged("one of another length")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int, /) -> bytes:
        n_bytes = int(self.sizes[row])
        content = self._read(int(self._ends[row]) - n_bytes, n_bytes)
        if zlib.crc32(content) != self._sums[row]:
            raise self._damaged(f"one whose image {row} was changed")
        return content

    def _read(self, start: int, n_bytes: int) -> bytes:
        """Opened anew each time, which costs little beside decoding: several threads may ask at once."""
        with open_regular(self.path, follow=False) as file:
            return os.pread(file.fileno(), n_bytes, start)

    def _damaged(self, got: str) -> BadRequest:
        return bad(str(self.path), expected="a whole file of this cache", got=got, remedy="delete it; it is made anew")


def spooled(key: str, rows: Rows, *, n_images: int, n_bytes: int, what: str) -> Spool:
    """The images of a table from the cache, where they are written first if they are not there.

    Args:
        key: of the table's contents, a digest: names the file.
        rows: gives images and labels; called once, if at all.
        n_images: that it gives, for the progress bar.
        n_bytes: that they take on the disk, at most.
        what: the table, for messages.

    Returns:
        The images.

    Raises:
        BadRequest: no room on the disk, a folder that cannot be written, a file of the cache that is damaged.
    """
    path = cache_folder() / "images" / f"{key}.images"
    if path.exists():
        return Spool(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several ranks may start at once: one writes, the others wait and find the file.
        with _locked(path.with_suffix(".lock")):
            if not path.exists():
                _require_disk(path.parent, n_bytes + n_images * PER_IMAGE, what)
                _write(path, rows(), n_images, what)
    except OSError as error:
        raise cannot_write(error, path) from None
    return Spool(path)


def _require_disk(folder: Path, needed: int, what: str) -> None:
    left = shutil.disk_usage(folder).free - SPARE
    if needed > left:
        expected = f"at most the {max(0, left):,} bytes that are left in {folder}"
        raise bad(f"{what}: its images, unpacked", expected=expected, got=f"{needed:,} bytes", remedy=REMEDY)


def _write(path: Path, rows: Iterable[tuple[bytes, int]], n_images: int, what: str) -> None:
    labels = array("q")
    ends = array("q")
    sums = array("I")
    end = 0
    with whole_file(path) as file, progress(n_images, f"unpacking {what}, once") as update:
        for content, label in rows:
            file.write(content)
            end += len(content)
            labels.append(label)
            ends.append(end)
            sums.append(zlib.crc32(content))
            if len(labels) % UPDATE_EVERY == 0:
                update(len(labels))
        columns = labels.tobytes() + ends.tobytes() + sums.tobytes()
        file.write(columns + TRAILER.pack(MAGIC, len(labels), hashlib.sha256(columns).digest()))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock between processes, given back when the process ends, however it does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
