"""How a name of data is understood: a data set that has a name, a path, a function, or an id of the hub."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cgro._check import bad
from cgro.data.folders import class_folders
from cgro.data.foreign import not_read
from cgro.data.hub import hub
from cgro.data.idx import read_idx as read_idx  # this module had it: scripts of others import it from here
from cgro.data.links import folders_below, links_out_of
from cgro.data.named import SOURCES
from cgro.data.own import function, npz
from cgro.data.parquet import parquet_folder
from cgro.data.raw import Raw, shown
from cgro.data.storage import AS_STORED, Storage
from cgro.trust import code_of, path_of

OTHER_NAMES = "owner/name of the Hugging Face hub, a folder of class folders, a file.npz, package.module:function"
"""What data may be called beside the names of `SOURCES`, in messages."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w./-]+)?")


def kind_of(name: str) -> Literal["named", "path", "code", "hub"] | None:
    """How a name of data is understood; None if it is not. What others named is checked by this before it is read.

    Args:
        name: of data, as `read` takes it.

    Returns:
        `named`: of `SOURCES`. `path`: of a folder or an .npz. `code`: a function to import. `hub`: an id of the hub.

    Example:
        >>> [kind_of(name) for name in ("digits", "arrays.npz", "mine:data", "owner/name:plain", "imagenet")]
        ['named', 'path', 'code', 'hub', None]
    """
    if name in SOURCES:
        return "named"
    if name and path_of(name) is not None:
        return "path"
    if code_of(name) is not None:
        return "code"
    if HUB_ID.fullmatch(name):
        return "hub"
    return None


def read(name: str, *, download: bool = True, storage: Storage = AS_STORED) -> Raw:
    """Read a data set. This runs code, if the name says so: of a run or a file of others, ask `kind_of` first.

    Args:
        name: of `SOURCES`; a path of an .npz or of a folder (of class folders, or of parquet files);
            `package.module:function`; or an id of the Hugging Face hub, `owner/name` or `owner/name:configuration`.
        download: False takes from the hub only what is in its cache; no request is made.
        storage: of images in files: held or streamed, and their size.

    Returns:
        The examples as they are stored.

    Raises:
        BadRequest: an unknown name, a missing package or file, a damaged file, labels with gaps, no network, a function
            that fails, a choice of storage that has no effect.
        cgro.data.hub.NotCached: `download` is False and the cache does not have it.
    """
    kind = kind_of(name)
    path = path_of(name)
    if kind in ("named", "code") or (path is not None and path.suffix == ".npz"):
        storage.refuse_for_arrays(shown(name))
    if kind == "named":
        raw = SOURCES[name].read(download=download)
    elif kind == "path" and path is not None:
        raw = _from_path(path, storage)
    elif kind == "code":
        raw = function(name)
    elif kind == "hub":
        raw = hub(name, download=download, storage=storage)
    else:
        raise bad("--data", expected=f"one of {', '.join(SOURCES)}, or {OTHER_NAMES}", got=repr(name))
    return raw.checked(name)


def _from_path(path: Path, storage: Storage) -> Raw:
    if path.suffix == ".npz":
        return npz(path)
    try:
        if not path.is_dir():
            got = "a file" if path.exists() else "none"
            refusal = not_read(path) if path.is_file() else None
            raise refusal or bad(str(path), expected="a folder of class folders, or an .npz", got=got)
        if next(path.rglob("*.parquet"), None) is not None:
            raw = parquet_folder(path, storage=storage)
            said = links_out_of(path, folders_below(path), lambda name: name.endswith(".parquet"))
            return replace(raw, remarks=(*raw.remarks, *said))
        refusal = not_read(path)
        if refusal is not None:
            raise refusal
        return class_folders(path, storage)
    except OSError as error:  # a folder in it that may not be listed, a name that is too long
        raise bad(str(path), expected="a folder that can be read", got=error.strerror or str(error)) from None
