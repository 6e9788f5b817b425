"""Small data sets in every format, and how a damaged one is refused."""

import io
import json
import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import cases

from cgro.data import Dataset, load

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 6, 5), dtype=np.uint8)
LABELS = np.arange(12) % 3
ROOM = 500 << 20


@contextmanager
def little_memory() -> Iterator[None]:
    """No more than half a gigabyte beside what the process holds."""
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def refused_in_little_memory(call: Callable[[], object], *words: str) -> str:
    """As `cases.refused`, and without memory."""
    with little_memory():
        return cases.refused(call, *words)


def load_refused(words: str, name: str, **options: object) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)


def saved(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)
    return str(path)


def png(width: int = 8, height: int = 8, mode: str = "L") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, "PNG")
    return out.getvalue()


def huge_png(side: int) -> bytes:
    """A PNG of zeros in RGB, written without holding it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(9), bytes(1 + 3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def class_folders(
    root: Path, parts: tuple[str, ...] = ("train", "test"), kind: str = "png", names: tuple = ("ant", "bee", "cat")
) -> str:
    """PIXELS as files: image k in the folder of class k mod 3."""
    for part in parts:
        for k, image in enumerate(PIXELS):
            place = root / part / names[k % 3]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{k:02}.{kind}")
    return str(root)


def said_of(data: Dataset) -> tuple[str, ...]:
    """The remarks, without that of equal images in both parts, which the folders of this module have."""
    return tuple(remark for remark in data.remarks if "are also training images" not in remark)


def two_classes(root: Path, image: bytes, n: int = 3) -> Path:
    for name in "ab":
        (root / name).mkdir(parents=True)
        for k in range(n):
            (root / name / f"{k}.png").write_bytes(image)
    return root


def parquet_file(
    path: Path,
    *,
    column: str = "image",
    label: str = "label",
    names: tuple | None = ("ant", "bee", "cat"),
    rows: slice = slice(None),
) -> None:
    """PIXELS as a file in Hugging Face's layout."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded = []
    for image in PIXELS[rows]:
        buffer = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table({column: pa.array(encoded), label: pa.array(LABELS[rows])})
    if names:
        features = {label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def in_cache(cache: Path, identifier: str, revision: str = "main", commit: str = "c" * 40) -> Path:
    """The folder of a snapshot in a cache of the hub as it lies on disk."""
    home = cache / f"datasets--{identifier.replace('/', '--')}"
    ref = home / "refs" / revision
    ref.parent.mkdir(parents=True)
    ref.write_text(commit)
    return home / "snapshots" / commit


def idx(values: np.ndarray) -> bytes:
    return (
        b"\0\0\x08"
        + bytes([values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.astype(np.uint8).tobytes()
    )


def npy(shape: object, kind: str, data: bytes = b"") -> bytes:
    head = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + data


def gray_png(path: Path, mode: str = "L", size: tuple = (5, 6)) -> None:
    Image.new(mode, size).save(path)
