"""Data sets in Hugging Face's parquet layout, from a folder. Nothing in the files is run or unpickled."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cgro._check import BadRequest, bad, listed, one_line
from cgro.data.images import Images
from cgro.data.raw import AS_TEST, Part, Raw, shown
from cgro.reading import ALWAYS_ROOM, attempt, parse_json, read_bytes, require_room
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

Parts = dict[str, list[Path]]
"""part, such as train -> its files in order."""


def parquet_folder(root: Path, *, config: str | None = None, note: str | None = None, remedy: str = "") -> Raw:
    """A folder of parquet files with one image column, struct{bytes, path}, and one integer column of labels.

    Files are named train.parquet, train-00000-of-00002.parquet or train/0000.parquet, for one configuration in the
    folder itself or in `data/`, for several each in a folder of its name.

    Args:
        root: the folder.
        config: which configuration; needed where there are several.
        note: what results say of the data; None: the folder's name.
        remedy: what to do about a missing training part.

    Returns:
        The training part and, where there is one, the test part; images are decoded when they are asked for.

    Raises:
        BadRequest: no training part, several configurations, a missing shard, damaged files, other columns.
    """
    parts = _choose(_files(root), root, config)
    if "train" not in parts:
        ending = f"; {remedy}" if remedy else ""
        raise BadRequest(f"{root / 'train.parquet'}: expected a file, found none{ending}")
    train = _read_part(parts["train"], None)
    note = note or shown(root.name)
    test_name = next((name for name in AS_TEST if name in parts), None)
    if test_name is None:
        note += " (no test part: a fifth of train)"
        return Raw(train.images, train.labels, None, str(root), sha256(*train.contents), note, train.classes)
    test = _read_part(parts[test_name], train.images)
    if train.classes != test.classes:
        raise bad(str(root), expected="the same class names in both parts", got="different ones")
    if test_name != "test":
        note += f" ({test_name} part as test)"
    digest = sha256(*train.contents, *test.contents)
    return Raw(
        train.images, train.labels, Part(test.images, test.labels), str(root), digest, note, classes=train.classes
    )


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
    """One part as it was read: `contents` are the bytes of its files."""

    images: Images
    labels: np.ndarray
    classes: tuple[str, ...] | None
    contents: list[bytes]


@dataclass(frozen=True)
class _Table:
    """One file: an image in its encoding (None where the field is empty) and a label per row."""

    encoded: list[bytes | None]
    labels: np.ndarray
    classes: tuple[str, ...] | None


def _read_part(paths: Sequence[Path], like: Images | None) -> _Read:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise bad(str(paths[0]), expected="the package pyarrow", got=str(error), remedy=INSTALL) from None
    contents: list[bytes] = []
    tables: list[_Table] = []
    names: list[str] = []
    for path in paths:
        content = read_bytes(path)
        table = _parsed(content, path)
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
        raise bad(str(paths[0]), expected="an image and a label in every row", got="empty fields", remedy=AGAIN)
    images = Images(encoded, names.__getitem__, like)
    return _Read(images, labels.astype(np.int64), tables[-1].classes, contents)


def _parsed(content: bytes, path: Path) -> _Table:
    try:
        return _table(content, path)
    except BadRequest:
        raise
    except Exception as error:  # of arrow's types and of Python's: each means the same to the caller
        line = one_line(str(error), 200) or type(error).__name__
        raise bad(str(path), expected="a parquet file", got=line, remedy=AGAIN) from None


def _table(content: bytes, path: Path) -> _Table:
    """One file, asked for its size before it is decoded."""
    import pyarrow
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pyarrow.BufferReader(content))
    about = file.metadata
    groups = [about.row_group(k).total_byte_size for k in range(about.num_row_groups)]
    require_room(sum(groups), len(content), str(path))
    image, label = _columns(file.schema_arrow, path)
    # A dictionary lets every row be as long as its whole group; so few rows at once that even these have room.
    n_rows = min(MOST_AT_ONCE, max(1, 2 * ALWAYS_ROOM // max([1, *groups])))
    encoded: list[bytes | None] = []
    labels: list[np.ndarray] = []
    n_bytes = 0
    for batch in file.iter_batches(n_rows, columns=[image, label], use_threads=False):
        n_bytes += batch.nbytes
        require_room(n_bytes, len(content), str(path))
        encoded += batch.column(batch.schema.get_field_index(image)).field("bytes").to_pylist()
        labels.append(batch.column(batch.schema.get_field_index(label)).to_numpy(zero_copy_only=False))
    if not labels:
        labels.append(np.empty(0, np.int64))
    return _Table(encoded, np.concatenate(labels), _class_names(file.schema_arrow.metadata, label))


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
