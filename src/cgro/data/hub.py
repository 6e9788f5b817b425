"""Data sets in Hugging Face's parquet layout: a folder here, or one of the hub by its id. No code of theirs runs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgro._check import BadRequest, bad, one_line
from cgro.data.own import AS_TEST
from cgro.data.raw import Images, Raw, digest, listed, shown
from cgro.reading import ALWAYS_ROOM, attempt, parse_json, read_bytes, require_room

REVISIONS = (None, "refs/convert/parquet")
"""Where the hub keeps parquet files: uploaded as such, or converted by its own service."""
SHARD = re.compile(r"(?P<part>\w+)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?")
INSTALL = "pip install 'cgro[data]'"
MOST_AT_ONCE = 1024
"""Rows that are decoded at once, at most. A choice."""


class NotCached(BadRequest):
    """The cache of the hub does not have a data set, and the hub was not to be asked."""


Files = dict[str, dict[str, list[Path]]]
"""configuration -> part -> files in order."""


def parquet_folder(root: Path, *, config: str | None = None, note: str | None = None, remedy: str = "") -> Raw:
    """A folder of parquet files with one image column, struct{bytes, path}, and one integer column of labels.

    Files are named train.parquet, train-00000-of-00002.parquet or train/0000.parquet, for one configuration in the
    folder itself or in `data/`, for several each in a folder of its name.

    Args:
        config: which configuration; needed where there are several. remedy: for a missing training part.

    Raises:
        BadRequest: no training part, several configurations, a missing shard, damaged files, other columns.
    """
    parts = _choose(_files(root), root, config)
    if "train" not in parts:
        raise BadRequest(f"{root / 'train.parquet'}: expected a file, found none" + (f"; {remedy}" if remedy else ""))
    x, y, classes, contents = _read(parts["train"], None)
    tests = [p for p in AS_TEST if p in parts]
    note = note or shown(root.name)
    if not tests:
        return Raw(x, y, None, str(root), digest(*contents), f"{note} (no test part: a fifth of train)", classes)
    x_test, y_test, test_classes, test_contents = _read(parts[tests[0]], x)
    if classes != test_classes:
        raise bad(str(root), expected="the same class names in both parts", got="different ones")
    note += "" if tests[0] == "test" else f" ({tests[0]} part as test)"
    return Raw(x, y, (x_test, y_test), str(root), digest(*contents, *test_contents), note, classes)


def _files(root: Path) -> Files:
    """The parquet files of a folder by configuration and part.

    Raises:
        BadRequest: some shards of a part are missing.
    """
    found: Files = {}
    totals: dict[tuple[str, str], int] = {}
    for path in sorted(root.rglob("*.parquet")):
        folder, shard = path.relative_to(root).parent, SHARD.fullmatch(path.stem)
        if path.stem.isdecimal() and folder.name:
            part, folder = folder.name, folder.parent
        else:
            part = shard["part"] if shard else path.stem
        config = "default" if folder.as_posix() in (".", "data") else folder.as_posix()
        found.setdefault(config, {}).setdefault(part, []).append(path)
        if shard:
            totals[config, part] = int(shard["total"])
    for (config, part), total in totals.items():
        if len(found[config][part]) != total:
            raise bad(
                f"{root}: {part}", expected=f"{total} files", got=len(found[config][part]), remedy="fetch it again"
            )
    return found


def _choose(found: Files, root: Path, config: str | None) -> dict[str, list[Path]]:
    if config is None and (len(found) == 1 or "default" in found):
        config = "default" if "default" in found else next(iter(found))
    if config is None and not found:
        return {}
    if config not in found:
        raise bad(str(root), expected="one configuration, of " + (listed(sorted(found)) or "none here"),
                  got=config or "several", remedy="write it behind the id, as owner/name:configuration")  # fmt: skip
    return found[config]


def _read(paths: Sequence[Path], like: Images | None) -> tuple[Images, np.ndarray, tuple[str, ...] | None, list[bytes]]:
    """Images, labels, class names and the bytes of the files of one part."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise bad(str(paths[0]), expected="the package pyarrow", got=str(error), remedy=INSTALL) from None
    encoded, labels, contents, names, classes = [], [], [], [], None
    for path in paths:
        contents.append(read_bytes(path))
        try:
            images, here, classes = _one_file(contents[-1], path)
        except BadRequest:
            raise
        except Exception as error:  # of arrow's types and of Python's: each means the same to the caller
            line = one_line(str(error), 200) or type(error).__name__
            raise bad(str(path), expected="a parquet file", got=line, remedy="fetch it again") from None
        encoded += images
        labels.append(here)
        names += [f"{path.name}, row {k}" for k in range(len(here))]
    y = np.concatenate(labels)
    if y.dtype.kind not in "iu" or any(e is None for e in encoded):
        raise bad(
            str(paths[0]), expected="an image and a label in every row", got="empty fields", remedy="fetch it again"
        )
    return Images(encoded, names.__getitem__, like), y.astype(np.int64), classes, contents


def _one_file(content: bytes, path: Path) -> tuple[list[Any], np.ndarray, tuple[str, ...] | None]:
    """Encoded images, labels and class names of one file, asked for their size before they are decoded."""
    import pyarrow
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pyarrow.BufferReader(content))
    about = file.metadata
    groups = [about.row_group(k).total_byte_size for k in range(about.num_row_groups)]
    require_room(sum(groups), len(content), str(path))
    image, label = _columns(file.schema_arrow, path)
    # A dictionary lets every row be as long as its whole group; so few rows at once that even these have room.
    rows = min(MOST_AT_ONCE, max(1, 2 * ALWAYS_ROOM // max([1, *groups])))
    encoded: list[Any] = []
    labels, total = [np.empty(0, np.int64)], 0
    for batch in file.iter_batches(rows, columns=[image, label], use_threads=False):
        require_room(total + batch.nbytes, len(content), str(path))
        new = batch.column(batch.schema.get_field_index(image)).field("bytes").to_pylist()
        total += batch.nbytes
        encoded += new
        labels.append(batch.column(batch.schema.get_field_index(label)).to_numpy(zero_copy_only=False))
    return encoded, np.concatenate(labels[1:] or labels), _class_names(file.schema_arrow.metadata, label)


def _columns(schema: Any, path: Path) -> tuple[str, str]:
    """The image column and the label column: `label` if there are several of integers."""
    import pyarrow.types as kinds

    def holds_bytes(kind: Any) -> bool:
        if not kinds.is_struct(kind) or kind.get_field_index("bytes") < 0:
            return False
        stored = kind.field("bytes").type
        return kinds.is_binary(stored) or kinds.is_large_binary(stored)

    images = [f.name for f in schema if holds_bytes(f.type)]
    integers = [f.name for f in schema if kinds.is_integer(f.type)]
    labels = ["label"] if "label" in integers else integers
    if len(images) != 1 or len(labels) != 1:
        raise bad(str(path), expected="one image column (bytes, path) and one integer column label",
                  got="columns " + listed(schema.names))  # fmt: skip
    return images[0], labels[0]


def _class_names(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    """Names of the classes, where the file's schema says them."""
    about: Any = attempt(lambda: parse_json((metadata or {}).get(b"huggingface", b"null"), "features"))
    try:
        features = about["info"]["features"]
        return tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError):
        return None


def hub(identifier: str, *, download: bool = True, note: str | None = None, remedy: str = "") -> Raw:
    """A data set of the Hugging Face hub, `owner/name` or `owner/name:configuration`, from the cache or the network.

    Only parquet files are fetched; scripts of a data set are never run. Without network the cached files are used.

    Args:
        download: False looks in the cache only, and makes no request. note: what results say; default the id. remedy: what to do
            without network.

    Raises:
        NotCached: the cache does not have it, and `download` is False.
        BadRequest: no such id, no network and nothing in the cache, no parquet files, or see `parquet_folder`.
    """
    name, _, config = identifier.partition(":")
    failure = bad(identifier, expected="a data set with parquet files", got="none there",
                  remedy="use a folder, an .npz or package.module:function")  # fmt: skip
    for revision in REVISIONS:
        try:
            folder = _snapshot(name, revision, download, remedy)
        except BadRequest as error:
            failure = error
            continue
        if folder is not None and next(folder.rglob("*.parquet"), None) is not None:
            return parquet_folder(folder, config=config or None, note=note or f"{identifier} (Hugging Face)")
    raise failure


def _snapshot(name: str, revision: str | None, download: bool, remedy: str) -> Path | None:
    """The folder of the parquet files of a revision; None if there is no such revision."""
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as error:
        raise bad(name, expected="the package huggingface_hub", got=str(error), remedy=INSTALL) from None
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=["*.parquet"],
                                      local_files_only=not download))  # fmt: skip
    except errors.RevisionNotFoundError:
        return None
    except errors.GatedRepoError:
        raise bad(name, expected="a data set open to you", got="one whose terms must be accepted on the hub first",
                  remedy="accept them there and run: hf auth login") from None  # fmt: skip
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        if not download:
            raise NotCached(f"{name}: not in the cache of the Hugging Face hub") from None
        raise bad(name, expected="a folder here or an id that the Hugging Face hub has", got="neither",
                  remedy="check the spelling; a private set needs: hf auth login") from None  # fmt: skip
    except Exception as error:  # the network fails in many types, of several libraries
        got = f"no network and nothing in the cache ({type(error).__name__})" if download else "nothing in the cache"
        failure = bad(name, expected="a folder here, or a data set in the Hugging Face cache or on its hub", got=got,
                      remedy=remedy or "connect, or set HF_HOME to a cache that has it")  # fmt: skip
        raise (failure if download else NotCached(str(failure))) from None
