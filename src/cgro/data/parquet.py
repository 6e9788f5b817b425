"""Data sets in Hugging Face's parquet layout, from a folder. Nothing in the files is run or unpickled."""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cgro._check import BadRequest, bad, listed, one_line
from cgro.data.images import Images
from cgro.data.raw import AS_TEST, Part, Raw, shown
from cgro.data.spool import cache_folder, spooled
from cgro.data.storage import AS_STORED, Storage
from cgro.reading import ALWAYS_ROOM, attempt, open_regular, parse_json, read_bytes, require_room
from cgro.writing import sha256

if TYPE_CHECKING:
    import pyarrow

INSTALL = "pip install 'cgro[data]'"
AGAIN = "fetch it again"
DEFAULT = "default"
"""The configuration whose files lie in the folder itself or in `data/`."""
SHARD = re.compile(r"(?P<part>\w+)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?")
MOST_AT_ONCE = 1024
"""Rows that are decoded at once, at most. A choice."""
TAIL = 1 << 20
"""Bytes at the end of a file that count in the checksum of a set that is streamed; footers are shorter mostly."""
BUFFER = 1 << 20
"""Bytes that are read of a column at once, instead of a row group's."""

Parts = dict[str, list[Path]]
"""part, such as train -> its files in order."""


def parquet_folder(
    root: Path, *, config: str | None = None, note: str | None = None, remedy: str = "", storage: Storage = AS_STORED
) -> Raw:
    """A folder of parquet files with one image column, struct{bytes, path}, and one integer column of labels.

    Files are named train.parquet, train-00000-of-00002.parquet or train/0000.parquet, for one configuration in the
    folder itself or in `data/`, for several each in a folder of its name. The checksum is of their bytes; of a set that
    is streamed, of their names, sizes and last `TAIL` bytes, where parquet keeps the place, the size and the extremes
    of every column of every row group. Such a set is unpacked once (see `cgro.data.spool`).

    Args:
        root: the folder.
        config: which configuration; needed where there are several.
        note: what results say of the data; None: the folder's name.
        remedy: what to do about a missing training part.
        storage: whether images are held or streamed, and their size.

    Returns:
        The training part and, where there is one, the test part; images are decoded when they are asked for.

    Raises:
        BadRequest: no training part, several configurations, a missing shard, damaged files, other columns.
    """
    parts = _choose(_files(root), root, config)
    if "train" not in parts:
        ending = f"; {remedy}" if remedy else ""
        raise BadRequest(f"{root / 'train.parquet'}: expected a file, found none{ending}")
    note = (note or shown(root.name)) + storage.note()
    test_name = next((name for name in AS_TEST if name in parts), None)
    chosen = [parts["train"]]
    if test_name is None:
        note += " (no test part: a fifth of train)"
    else:
        chosen.append(parts[test_name])
        if test_name != "test":
            note += f" ({test_name} part as test)"
    _require_pyarrow(chosen[0][0])
    streamed, remarks = _is_streamed(chosen, storage, shown(root.name))
    read = _read_streamed if streamed else _read_part
    train = read(chosen[0], None, storage)
    if test_name is None:
        digest = _digest(train.digested, storage)
        return Raw(train.images, train.labels, None, str(root), digest, note, train.classes, remarks)
    test = read(chosen[1], train.images, storage)
    if train.classes != test.classes:
        raise bad(str(root), expected="the same class names in both parts", got="different ones")
    digest = _digest([*train.digested, *test.digested], storage)
    tested = Part(test.images, test.labels)
    return Raw(train.images, train.labels, tested, str(root), digest, note, train.classes, remarks)


def _digest(digested: list[bytes], storage: Storage) -> str:
    if storage.image_size is not None:
        digested = [*digested, f"at {storage.image_size}".encode()]
    return sha256(*digested)


def _files(root: Path) -> dict[str, Parts]:
    """The parquet files of a folder by configuration.

    Raises:
        BadRequest: some shards of a part are missing.
    """
    found: dict[str, Parts] = {}
    totals: dict[tuple[str, str], int] = {}
    for path in sorted(root.rglob("*.parquet")):
        folder = path.relative_to(root).parent
        shard = SHARD.fullmatch(path.stem)
        if path.stem.isdecimal() and folder.name:  # train/0000.parquet
            part = folder.name
            folder = folder.parent
        elif shard is not None:
            part = shard.group("part")
        else:
            part = path.stem
        config = folder.as_posix()
        if config in (".", "data"):
            config = DEFAULT
        found.setdefault(config, {}).setdefault(part, []).append(path)
        if shard is not None:
            totals[config, part] = int(shard.group("total"))
    for (config, part), total in totals.items():
        n_files = len(found[config][part])
        if n_files != total:
            raise bad(f"{root}: {part}", expected=f"{total} files", got=n_files, remedy=AGAIN)
    return found


def _choose(found: Mapping[str, Parts], root: Path, config: str | None) -> Parts:
    """The files of the configuration that was asked for, of the only one, or of the default."""
    if config is None and not found:
        return {}
    if config is None and DEFAULT in found:
        config = DEFAULT
    elif config is None and len(found) == 1:
        (config,) = found
    if config is None or config not in found:
        raise bad(
            str(root),
            expected="one configuration, of " + (listed(sorted(found)) or "none here"),
            got=config or "several",
            remedy="write it behind the id, as owner/name:configuration",
        )
    return found[config]


@dataclass(frozen=True)
class _Read:
    """One part as it was read: `digested` are the bytes of its files that count in the checksum."""

    images: Images
    labels: np.ndarray
    classes: tuple[str, ...] | None
    digested: list[bytes]


@dataclass(frozen=True)
class _Table:
    """One file: an image in its encoding (None where the field is empty) and a label per row."""

    encoded: list[bytes | None]
    labels: np.ndarray
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class _About:
    """What the footer of a file says, which is not believed before it is read."""

    n_rows: int
    groups: list[int]
    classes: tuple[str, ...] | None
    tail: bytes


def _require_pyarrow(path: Path) -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise bad(str(path), expected="the package pyarrow", got=str(error), remedy=INSTALL) from None


def _is_streamed(parts: Sequence[Sequence[Path]], storage: Storage, name: str) -> tuple[bool, tuple[str, ...]]:
    """The decision, by the footers and the header of the first image, and what is said of it."""
    if storage.stream == "no":
        return False, ()
    n_images = 0
    n_bytes = 0
    for paths in parts:
        for path in paths:
            about = _parsed(_about, path)
            n_images += about.n_rows
            n_bytes += sum(about.groups)
    first = parts[0][0]
    encoded = next(_rows_of(first), None)
    if encoded is not None:
        form = Images([encoded[0]], lambda row: f"{first.name}, row {row}", side=storage.image_size).form
        n_bytes += n_images * math.prod(form)
    if encoded is None or not storage.streams(n_bytes):
        return False, ()
    remark = f"{storage.remark(name, n_images, n_bytes)}; unpacked once to {cache_folder()}"
    return True, (remark,)


def _read_streamed(paths: Sequence[Path], like: Images | None, storage: Storage) -> _Read:
    abouts = [_parsed(_about, path) for path in paths]
    digested: list[bytes] = []
    for path, about in zip(paths, abouts, strict=True):
        digested += [f"{path.name}\0{path.stat().st_size}\0".encode(errors="surrogateescape"), about.tail]
    ends = np.cumsum([about.n_rows for about in abouts])

    def rows() -> Iterator[tuple[bytes, int]]:
        for path in paths:
            yield from _rows_of(path)

    def name_of(row: int) -> str:
        file = min(int(np.searchsorted(ends, row, side="right")), len(paths) - 1)
        return f"{paths[file].name}, row {row - int(ends[file]) + abouts[file].n_rows}"

    n_bytes = sum(sum(about.groups) for about in abouts)
    what = shown(paths[0].parent.name)
    spool = spooled(sha256(*digested), rows, n_images=int(ends[-1]), n_bytes=n_bytes, what=what)
    images = Images(spool, name_of, like, sizes=spool.sizes, side=storage.image_size)
    return _Read(images, spool.labels, abouts[-1].classes, digested)


def _about(path: Path) -> _About:
    """The footer of a file, and its last bytes."""
    import pyarrow.parquet as pq

    with open_regular(path) as opened:
        file = pq.ParquetFile(opened)
        about = file.metadata
        groups = [about.row_group(k).total_byte_size for k in range(about.num_row_groups)]
        _, label = _columns(file.schema_arrow, path)
        classes = _class_names(file.schema_arrow.metadata, label)
        size = opened.seek(0, os.SEEK_END)
        require_room(max([0, *groups]), size, str(path))
        opened.seek(max(0, size - TAIL))
        return _About(about.num_rows, groups, classes, opened.read(TAIL))


def _rows_of(path: Path) -> Iterator[tuple[bytes, int]]:
    """The images of a file with their labels, few at a time."""
    with open_regular(path) as opened:
        try:
            for batch in _batches(opened, os.fstat(opened.fileno()).st_size, path):
                if batch.labels.dtype.kind not in "iu" or None in batch.encoded:
                    raise _empty_fields(path)
                for image, label in zip(batch.encoded, batch.labels.tolist(), strict=True):
                    assert image is not None, "asked above"
                    yield image, label
        except BadRequest:
            raise
        except Exception as error:  # as in `_parsed`
            raise _damaged(path, error) from None


def _read_part(paths: Sequence[Path], like: Images | None, storage: Storage) -> _Read:
    contents: list[bytes] = []
    tables: list[_Table] = []
    names: list[str] = []
    for path in paths:
        content = read_bytes(path)
        table = _parsed(partial(_table, content), path)
        contents.append(content)
        tables.append(table)
        names += [f"{path.name}, row {row}" for row in range(len(table.labels))]
    labels = np.concatenate([table.labels for table in tables])
    encoded: list[bytes] = []
    n_empty = 0
    for table in tables:
        for image in table.encoded:
            if image is None:
                n_empty += 1
            else:
                encoded.append(image)
    if labels.dtype.kind not in "iu" or n_empty:  # a column with an empty label comes as floating point
        raise _empty_fields(paths[0])
    images = Images(encoded, names.__getitem__, like, side=storage.image_size)
    return _Read(images, labels.astype(np.int64), tables[-1].classes, contents)


def _empty_fields(path: Path) -> BadRequest:
    return bad(str(path), expected="an image and a label in every row", got="empty fields", remedy=AGAIN)


Parsed = TypeVar("Parsed")


def _parsed(read: Callable[[Path], Parsed], path: Path) -> Parsed:
    try:
        return read(path)
    except BadRequest:
        raise
    except Exception as error:  # of arrow's types and of Python's: each means the same to the caller
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> BadRequest:
    line = one_line(str(error), 200) or type(error).__name__
    return bad(str(path), expected="a parquet file", got=line, remedy=AGAIN)


def _table(content: bytes, path: Path) -> _Table:
    """One file, asked for its size before it is decoded."""
    import pyarrow
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pyarrow.BufferReader(content))
    about = file.metadata
    require_room(sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups)), len(content), str(path))
    _, label = _columns(file.schema_arrow, path)
    encoded: list[bytes | None] = []
    labels: list[np.ndarray] = [np.empty(0, np.int64)]
    n_bytes = 0
    for batch in _batches(pyarrow.BufferReader(content), len(content), path):
        n_bytes += batch.n_bytes
        require_room(n_bytes, len(content), str(path))
        encoded += batch.encoded
        labels.append(batch.labels)
    return _Table(encoded, np.concatenate(labels), _class_names(file.schema_arrow.metadata, label))


@dataclass(frozen=True)
class _Batch:
    """Some rows of a file."""

    encoded: list[bytes | None]
    labels: np.ndarray
    n_bytes: int


def _batches(source: object, n_stored: int, path: Path) -> Iterator[_Batch]:
    """The rows of a file in their order.

    Args:
        source: the file, open, or a buffer.
        n_stored: bytes of it.
        path: for messages.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source, buffer_size=BUFFER)
    image, label = _columns(file.schema_arrow, path)
    about = file.metadata
    groups = [about.row_group(k).total_byte_size for k in range(about.num_row_groups)]
    # A dictionary lets every row be as long as its whole group; so few rows at once that even these have room.
    n_rows = min(MOST_AT_ONCE, max(1, 2 * ALWAYS_ROOM // max([1, *groups])))
    for k in range(about.num_row_groups):
        # Group by group: over several, pyarrow 26 keeps most of what it has read until the last, 0.8 of the file.
        for batch in file.iter_batches(n_rows, row_groups=[k], columns=[image, label], use_threads=False):
            require_room(batch.nbytes, n_stored, str(path))
            encoded = batch.column(batch.schema.get_field_index(image)).field("bytes").to_pylist()
            labels = batch.column(batch.schema.get_field_index(label)).to_numpy(zero_copy_only=False)
            yield _Batch(encoded, labels, batch.nbytes)


def _columns(schema: "pyarrow.Schema", path: Path) -> tuple[str, str]:
    """The image column and the label column: `label` if there are several of integers."""
    import pyarrow.types as kinds

    images: list[str] = []
    integers: list[str] = []
    for field in schema:
        if _holds_bytes(field.type):
            images.append(field.name)
        if kinds.is_integer(field.type):
            integers.append(field.name)
    labels = ["label"] if "label" in integers else integers
    if len(images) != 1 or len(labels) != 1:
        raise bad(
            str(path),
            expected="one image column (bytes, path) and one integer column label",
            got="columns " + listed(schema.names),
        )
    return images[0], labels[0]


def _holds_bytes(kind: "pyarrow.DataType") -> bool:
    """Whether a column is a struct with a field `bytes` of binary values."""
    import pyarrow.types as kinds

    if not kinds.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    stored = kind.field("bytes").type
    return kinds.is_binary(stored) or kinds.is_large_binary(stored)


def _class_names(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    """Names of the classes, where the file's schema says them: {"info": {"features": {label: {"names": [...]}}}}."""
    text = (metadata or {}).get(b"huggingface", b"null")
    value: object = attempt(lambda: parse_json(text, "features"))
    for key in ("info", "features", label, "names"):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    if not isinstance(value, list):
        return None
    return tuple(str(name) for name in value)
