"""Data sets in Hugging Face's parquet layout: a folder here, or one of the hub by its id. No code of theirs runs."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgro._check import BadRequest, bad
from cgro.data.own import AS_TEST
from cgro.data.raw import Images, Raw, digest, listed

REVISIONS = (None, "refs/convert/parquet")
"""Where the hub keeps parquet files: uploaded as such, or converted by its own service."""
SHARD = re.compile(r"(?P<part>\w+)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?")
INSTALL = "pip install 'cgro[data]'"


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
    note = note or root.name
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
        import pyarrow
        import pyarrow.parquet as pq
    except ImportError as error:
        raise bad(str(paths[0]), expected="the package pyarrow", got=str(error), remedy=INSTALL) from None
    encoded, labels, contents, names, classes = [], [], [], [], None
    for path in paths:
        try:
            contents.append(path.read_bytes())
            table = pq.read_table(pyarrow.BufferReader(contents[-1]))
            image, label = _columns(table.schema, path)
            encoded += table.column(image).combine_chunks().field("bytes").to_pylist()
            labels.append(table.column(label).to_numpy())
        except (OSError, pyarrow.ArrowException) as error:
            line = " ".join(str(error).split())
            raise BadRequest(f"{path}: expected a parquet file, got {line}; fetch it again") from None
        classes = _class_names(table.schema.metadata, label)
        names += [f"{path.name}, row {k}" for k in range(len(labels[-1]))]
    y = np.concatenate(labels)
    if y.dtype.kind not in "iu" or any(e is None for e in encoded):
        raise bad(
            str(paths[0]), expected="an image and a label in every row", got="empty fields", remedy="fetch it again"
        )
    return Images(encoded, names.__getitem__, like), y.astype(np.int64), classes, contents


def _columns(schema: Any, path: Path) -> tuple[str, str]:
    """The image column and the label column: `label` if there are several of integers."""
    import pyarrow.types as kinds

    def holds_bytes(kind: Any) -> bool:
        return kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0

    images = [f.name for f in schema if holds_bytes(f.type)]
    integers = [f.name for f in schema if kinds.is_integer(f.type)]
    labels = ["label"] if "label" in integers else integers
    if len(images) != 1 or len(labels) != 1:
        raise bad(str(path), expected="one image column (bytes, path) and one integer column label",
                  got="columns " + listed(schema.names))  # fmt: skip
    return images[0], labels[0]


def _class_names(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    """Names of the classes, where the file's schema says them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError, ValueError):
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
