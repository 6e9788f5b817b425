"""What an artifact found: a frozen type, written to findings.json and read from it strictly.

All that is said of an artifact, its claims, tables and figures, follows from its findings alone, so that stored results
can be judged again by later rules.
"""

import json
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from cgro._check import bad
from cgro.jobs.plan import Scale
from cgro.reading import read_bytes
from cgro.runs import plain

FILE = "findings.json"
LARGEST = 64 << 20
"""Bytes of a findings.json that is read. A choice; ours have 300,000 at most."""


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of findings: an unknown name is refused."""


class Findings(Part, frozen=True, kw_only=True):
    """What every artifact's findings begin with.

    Attributes:
        scale: at which it was run.
    """

    scale: Scale


F = TypeVar("F", bound=Findings)


def encode(findings: Findings) -> bytes:
    """The content of findings.json.

    Args:
        findings: of an artifact.

    Returns:
        One line of strict JSON.

    Raises:
        msgspec.ValidationError: a value is not of the type that its field has: a fault of the artifact.
    """
    values = plain(msgspec.to_builtins(findings, enc_hook=_ordinary))
    msgspec.convert(values, type(findings))
    return (json.dumps(values, allow_nan=False) + "\n").encode()


def _ordinary(value: object) -> float:
    """An ordinary float of one that a summary marked as possibly infinite."""
    if isinstance(value, float):
        return float(value)
    raise NotImplementedError(type(value))


def read_findings(path: Path, kind: type[F]) -> F:
    """The findings in a file.

    Args:
        path: findings.json.
        kind: their type.

    Returns:
        A value of it.

    Raises:
        BadRequest: missing, damaged, or of another artifact or version.
    """
    try:
        return msgspec.json.decode(read_bytes(path, limit=LARGEST, follow=False), type=kind)
    except msgspec.DecodeError as error:
        raise bad(
            str(path), expected=f"the findings of this version ({error})", got="others", remedy="run it again"
        ) from None
