"""The index of a class folder: names, labels and sizes of its files, in a few dozen bytes a file.

A million Python paths would take a quarter of a gigabyte; here all names lie in one string of bytes.
"""

import hashlib
import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgro._check import bad, listed
from cgro.reading import open_regular

CONTENTS_DIGESTED = 1024
"""Files whose contents count in the checksum of a folder that is streamed, evenly spaced, beside all names and sizes. A
choice: what is read of ImageNet is 0.1 GB instead of 150."""


@dataclass(frozen=True)
class Listing:
    """The files of PART/class/image.

    Args:
        root: the folder of the data set.
        folders: of the classes, in label order.
        labels: (N,) int64.
        sizes: (N,) int64 bytes.
        times: (N,) int64, nanoseconds of the last change.
        names: of all files, in the encoding of the file system, one behind another.
        ends: (N,) int64, where each name ends in `names`.
    """

    root: Path
    folders: tuple[Path, ...]
    labels: np.ndarray
    sizes: np.ndarray
    times: np.ndarray
    names: bytes
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def name_of(self, row: int) -> str:
        """The path of a file.

        Args:
            row: its position.

        Returns:
            As messages and `open` take it.
        """
        first = 0
        if row > 0:
            first = int(self.ends[row - 1])
        name = os.fsdecode(self.names[first : int(self.ends[row])])
        return os.path.join(self.folders[int(self.labels[row])], name)

    def digest(self) -> str:
        """SHA-256 of all names and sizes, and of the contents of at most `CONTENTS_DIGESTED` files.

        Not read: the others, whose images may be changed to others of the same sizes without a word between two runs;
        within one, `FilesOnDisk` refuses what has another size or time than here.

        Returns:
            In hexadecimal.

        Raises:
            BadRequest: one of these files cannot be read.
        """
        digest = hashlib.sha256(b"streamed class folder\0")
        for folder in self.folders:
            digest.update(os.fsencode(folder.relative_to(self.root).as_posix()) + b"\0")
        for column in (self.labels, self.sizes, self.ends):
            digest.update(column.astype("<i8").tobytes())
        digest.update(self.names)
        files = FilesOnDisk(self)
        for row in range(0, len(self), max(1, len(self) // CONTENTS_DIGESTED)):
            digest.update(files[row])
        return digest.hexdigest()


def listing_of(
    root: Path, folders: Sequence[Path], endings: Sequence[str], is_visible: Callable[[str], bool]
) -> Listing:
    """List the images of class folders. Their contents are not read.

    Args:
        root: of the data set.
        folders: one per class, in label order.
        endings: of files that may be images.
        is_visible: says of a name whether it belongs to the data.

    Returns:
        The files of each class in the order of their names.

    Raises:
        BadRequest: an empty class folder, a file with another ending, something that is no file.
    """
    names = bytearray()
    labels = array("q")
    sizes = array("q")
    times = array("q")
    ends = array("q")
    for label, folder in enumerate(folders):
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if is_visible(entry.name)), key=lambda entry: entry.name)
        if not entries:
            raise bad(str(folder), expected="at least one image", got="an empty class folder")
        for entry in entries:
            if os.path.splitext(entry.name)[1].lower() not in endings or not _is_file(entry):
                raise bad(entry.path, expected="a file " + listed(endings, len(endings)), got=entry.name)
            about = entry.stat()
            names += os.fsencode(entry.name)
            labels.append(label)
            ends.append(len(names))
            sizes.append(about.st_size)
            times.append(about.st_mtime_ns)
    of_labels, of_sizes, of_times, of_ends = (np.array(column) for column in (labels, sizes, times, ends))
    return Listing(root, tuple(folders), of_labels, of_sizes, of_times, bytes(names), of_ends)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


class FilesOnDisk:
    """The contents of the files of a listing, each read when it is asked for.

    Args:
        listing: the files.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def __len__(self) -> int:
        return len(self.listing)

    def __getitem__(self, row: int, /) -> bytes:
        path = self.listing.name_of(row)
        with open_regular(Path(path)) as file:
            about = os.fstat(file.fileno())
            size = int(self.listing.sizes[row])
            if about.st_size != size or about.st_mtime_ns != self.listing.times[row]:
                raise bad(
                    path,
                    expected=f"{size:,} bytes, as when the data were read first",
                    got=f"a file that was changed since ({about.st_size:,} bytes)",
                    remedy="leave the data alone while they are used, and start again",
                )
            return file.read(size)
