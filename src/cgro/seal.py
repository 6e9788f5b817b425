"""Digests of a run's files: what was changed since they were written is noticed when they are read. No torch here.

They tell damage, not forgery: whoever changes a file can change its digest as well.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgro._check import BadRequest
from cgro.reading import attempt, open_regular, parse_json
from cgro.writing import dump_json, plain, sha256

DIGESTED = ("environment.json", "metrics.jsonl", "index_sets.json", "memory.json")
"""Files whose SHA-256 stands in the summary. The settings of config.yaml are compared with those in environment.json,
checkpoints carry their own digest, and arrays have the checksums of their archive."""
TIMED = ("seconds", "attack_seconds")
"""Entries of a row that no second call repeats."""
LONGEST_HEADER = 100 << 20
"""Bytes of a safetensors header; the format's own limit."""


def digest_in_header(path: Path) -> str | None:
    """The digest that a checkpoint carries; None where it has none or no header that can be read."""
    try:
        with open_regular(path, follow=False) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = parse_json(file.read(min(length, LONGEST_HEADER)), str(path))
    except (BadRequest, struct.error, OSError):
        return None
    text = entry(header, "__metadata__").get("state")
    state = attempt(lambda: parse_json(text, str(path))) if isinstance(text, str) else None
    digest = state.get("sha256") if isinstance(state, dict) else None
    return digest if isinstance(digest, str) else None


def digest_of_rows(rows: list[dict[str, Any]]) -> str:
    """SHA-256 of rows without their times, as they come back from a file."""
    timeless = [{k: v for k, v in row.items() if k not in TIMED} for row in rows]
    return sha256(json.dumps(plain(timeless), sort_keys=True).encode())


def sealed(result: Mapping[str, Any], files: Mapping[str, str], checkpoints: Mapping[str, str]) -> dict[str, Any]:
    """A summary with its digests under `provenance`, beside a text on where it came from, if it had one."""
    before = result.get("provenance")
    source = before if isinstance(before, str) else entry(result, "provenance").get("source")
    found = plain({k: v for k, v in result.items() if k != "provenance"})
    found["provenance"] = {"source": source, "files": dict(files), "checkpoints": dict(checkpoints)}
    found["provenance"]["summary"] = digest_of_summary(found)
    return found


def resealed(copies: Mapping[str, bytes]) -> dict[str, bytes]:
    """Copies of a run's files in which words were replaced, such as the name of a folder, with their own digests.

    Args:
        copies: file name -> content; summary.json among them.

    Returns:
        The same with a summary that tells damage to these copies.
    """
    result = parse_json(copies["summary.json"], "summary.json")
    files = {name: digest_of_file(name, copies[name]) for name in DIGESTED if name in copies}
    checkpoints = entry(result.get("provenance"), "checkpoints")
    return {**copies, "summary.json": dump_json(sealed(result, files, checkpoints))}


def digest_of_file(name: str, content: bytes) -> str:
    """SHA-256 of a file; of rows without their times, so that a run that was resumed ends in the same summary."""
    if name != "metrics.jsonl":
        return sha256(content)
    try:
        return digest_of_rows([json.loads(line) for line in content.splitlines()])
    except (ValueError, RecursionError, AttributeError):  # damaged; whoever reads the rows says where
        return ""


def digest_of_summary(found: Mapping[str, Any]) -> str:
    """SHA-256 of a summary, without that digest itself."""
    provenance = {k: v for k, v in entry(found, "provenance").items() if k != "summary"}
    return sha256(dump_json({**found, "provenance": provenance}))


def entry(value: Any, key: str) -> dict[str, Any]:
    """An entry that should be a mapping; an empty one where it is none."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, dict) else {}
