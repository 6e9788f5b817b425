"""Data sets of the Hugging Face hub by their id, from its cache or the network. No code of theirs runs."""

from pathlib import Path

from cgro._check import BadRequest, bad
from cgro.data.parquet import INSTALL, parquet_folder
from cgro.data.raw import Raw
from cgro.data.storage import AS_STORED, Storage

REVISIONS = (None, "refs/convert/parquet")
"""Where the hub keeps parquet files: uploaded as such, or converted by its own service."""


class NotCached(BadRequest):
    """The cache of the hub does not have a data set, and the hub was not to be asked."""


def hub(
    identifier: str,
    *,
    download: bool = True,
    note: str | None = None,
    remedy: str = "",
    storage: Storage = AS_STORED,
) -> Raw:
    """A data set of the Hugging Face hub, from the cache or the network.

    Only parquet files are fetched; scripts of a data set are never run. Without network the cached files are used.

    Args:
        identifier: `owner/name` or `owner/name:configuration`.
        download: False looks in the cache only, and makes no request.
        note: what results say of the data; None: the id.
        remedy: what to do without network.
        storage: whether images are held or streamed, and their size.

    Returns:
        The data set, as `cgro.data.parquet.parquet_folder` reads it.

    Raises:
        NotCached: the cache does not have it, and `download` is False.
        BadRequest: no such id, no network and nothing in the cache, no parquet files, or see `parquet_folder`.
    """
    name, _, config = identifier.partition(":")
    failure = bad(
        identifier,
        expected="a data set with parquet files",
        got="none there",
        remedy="use a folder, an .npz or package.module:function",
    )
    for revision in REVISIONS:
        try:
            folder = _snapshot(name, revision, download, remedy)
        except BadRequest as error:
            failure = error
            continue
        if folder is not None and next(folder.rglob("*.parquet"), None) is not None:
            note = note or f"{identifier} (Hugging Face)"
            return parquet_folder(folder, config=config or None, note=note, storage=storage)
    raise failure


def _snapshot(name: str, revision: str | None, download: bool, remedy: str) -> Path | None:
    """The folder of the parquet files of a revision; None if there is no such revision."""
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as error:
        raise bad(name, expected="the package huggingface_hub", got=str(error), remedy=INSTALL) from None
    try:
        folder = snapshot_download(
            name,
            repo_type="dataset",
            revision=revision,
            allow_patterns=["*.parquet"],
            local_files_only=not download,
        )
    except errors.RevisionNotFoundError:
        return None
    except errors.GatedRepoError:
        raise bad(
            name,
            expected="a data set open to you",
            got="one whose terms must be accepted on the hub first",
            remedy="accept them there and run: hf auth login",
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        if not download:
            raise NotCached(f"{name}: not in the cache of the Hugging Face hub") from None
        raise bad(
            name,
            expected="a folder here or an id that the Hugging Face hub has",
            got="neither",
            remedy="check the spelling; a private set needs: hf auth login",
        ) from None
    except Exception as error:  # the network fails in many types, of several libraries
        raise _unavailable(name, error, download, remedy) from None
    return Path(folder)


def _unavailable(name: str, error: Exception, download: bool, remedy: str) -> BadRequest:
    got = "nothing in the cache"
    if download:
        got = f"no network and nothing in the cache ({type(error).__name__})"
    failure = bad(
        name,
        expected="a folder here, or a data set in the Hugging Face cache or on its hub",
        got=got,
        remedy=remedy or "connect, or set HF_HOME to a cache that has it",
    )
    if download:
        return failure
    return NotCached(str(failure))
