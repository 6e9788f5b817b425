"""Digests of a run's files: what was changed since they were written is noticed when they are read. No torch here.

They tell damage, not forgery: whoever changes a file can change its digest as well.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cgro._check import BadRequest, bad
from cgro.reading import attempt, open_regular, parse_json, read_bytes
from cgro.writing import dump_json, plain, sha256

DIGESTED = ("environment.json", "metrics.jsonl", "index_sets.json", "memory.json")
"""Files whose SHA-256 stands in the summary. The settings of config.yaml are compared with those in environment.json,
checkpoints carry their own digest, and arrays have the checksums of their archive."""
TIMED = ("seconds", "attack_seconds")
"""Entries of a row that no second call repeats."""
SUMMARY = "summary.json"
LONGEST_HEADER = 100 << 20
"""Bytes of a safetensors header; the format's own limit."""


def digest_in_header(path: Path) -> str | None:
    """The digest that a checkpoint carries.

    Args:
        path: of a safetensors file, whose header begins with its length and has a JSON text `state` in its metadata.

    Returns:
        The digest in hexadecimal; None where there is none, or no header that can be read.
    """
    try:
        with open_regular(path, follow=False) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = parse_json(file.read(min(length, LONGEST_HEADER)), str(path))
    except (BadRequest, struct.error, OSError):
        return None
    text = entry(header, "__metadata__").get("state")
    if not isinstance(text, str):
        return None
    state = attempt(lambda: parse_json(text, str(path)))
    digest = state.get("sha256") if isinstance(state, dict) else None
    return digest if isinstance(digest, str) else None


def digests_of_files(folder: Path) -> dict[str, str]:
    """Digests of the files that lie in a run.

    Args:
        folder: of the run.

    Returns:
        Name -> digest in hexadecimal, of those of `DIGESTED` that are there.

    Raises:
        BadRequest: one is no regular file.
    """
    digests = {}
    for name in DIGESTED:
        path = folder / name
        if path.exists():
            digests[name] = digest_of_file(name, read_bytes(path, follow=False))
    return digests


def digests_of_checkpoints(folder: Path) -> dict[str, str]:
    """The digests that the checkpoints of a run carry.

    Args:
        folder: of the run.

    Returns:
        Name -> digest in hexadecimal, of those that carry one.
    """
    digests = {}
    for path in sorted((folder / "checkpoints").glob("*.safetensors")):
        digest = digest_in_header(path)
        if digest is not None:
            digests[path.name] = digest
    return digests


def check_files(folder: Path, digests: Mapping[str, object]) -> None:
    """Compare the files of a finished run with the digests in its summary.

    Args:
        folder: of the run.
        digests: file name -> digest, as the summary has them.

    Raises:
        BadRequest: a file was changed or is missing; a name is none of `DIGESTED`.
    """
    for name, digest in digests.items():
        path = folder / name
        if name not in DIGESTED:
            raise bad(str(folder / SUMMARY), expected="digests of files of a run", got=name)
        if digest_of_file(name, read_bytes(path, follow=False)) != digest:
            raise BadRequest(
                f"{path}: not as it was when the run was finished; restore it, or run again with another --out"
            )


def digest_of_rows(rows: Sequence[Mapping[str, object]]) -> str:
    """SHA-256 of rows without their times, as they come back from a file.

    Args:
        rows: of `metrics.jsonl`, in their order.

    Returns:
        The digest in hexadecimal.
    """
    timeless: list[dict[str, object]] = []
    for row in rows:
        timeless.append(_without(row, *TIMED))
    return sha256(json.dumps(plain(timeless), sort_keys=True).encode())


def sealed(result: Mapping[str, object], files: Mapping[str, str], checkpoints: Mapping[str, str]) -> dict[str, object]:
    """A summary with its digests under `provenance`, beside a text on where it came from, if it had one.

    Args:
        result: the summary, sealed before or not.
        files: name -> digest, of the files in `DIGESTED`.
        checkpoints: name -> digest.

    Returns:
        Plain values, with a digest of themselves.
    """
    source = result.get("provenance")
    if not isinstance(source, str):
        source = entry(result, "provenance").get("source")
    provenance: dict[str, object] = {"source": source, "files": dict(files), "checkpoints": dict(checkpoints)}
    found = plain(_without(result, "provenance"))
    # The digest covers all but itself, and is written last.
    digest = digest_of_summary({**found, "provenance": provenance})
    return {**found, "provenance": {**provenance, "summary": digest}}


def _without(values: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in values.items() if name not in names}


def resealed(copies: Mapping[str, bytes]) -> dict[str, bytes]:
    """Copies of a run's files in which words were replaced, such as the name of a folder, with their own digests.

    Args:
        copies: file name -> content; summary.json among them.

    Returns:
        The same with a summary that tells damage to these copies.
    """
    result = parse_json(copies[SUMMARY], SUMMARY)
    assert isinstance(result, dict)  # a copy of a summary that was read
    files: dict[str, str] = {}
    for name in DIGESTED:
        if name in copies:
            files[name] = digest_of_file(name, copies[name])
    checkpoints = entry(result.get("provenance"), "checkpoints")
    return {**copies, SUMMARY: dump_json(sealed(result, files, checkpoints))}


def digest_of_file(name: str, content: bytes) -> str:
    """SHA-256 of a file; of rows without their times, so that a run that was resumed ends in the same summary.

    Args:
        name: of the file in its run.
        content: all of its bytes.

    Returns:
        The digest in hexadecimal; "" for rows that are damaged.
    """
    if name != "metrics.jsonl":
        return sha256(content)
    try:
        return digest_of_rows([_row(line) for line in content.splitlines()])
    except (BadRequest, AttributeError):  # damaged; whoever reads the rows says where
        return ""


def _row(line: bytes) -> Any:
    return parse_json(line, "metrics.jsonl", non_finite=True)


def digest_of_summary(found: Mapping[str, object]) -> str:
    """SHA-256 of a summary, without that digest itself.

    Args:
        found: the summary, plain values in the order of the file.

    Returns:
        The digest in hexadecimal.
    """
    provenance = _without(entry(found, "provenance"), "summary")
    return sha256(dump_json({**found, "provenance": provenance}))


def entry(value: object, key: str) -> dict[str, Any]:
    """An entry of a file that should be a mapping.

    Args:
        value: what should hold it.
        key: its name.

    Returns:
        The mapping; an empty one where it is none.
    """
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, dict) else {}
