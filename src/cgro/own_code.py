"""Which text of the caller's own modules a run was made with: digests of their files. Nothing is imported here.

A run names its code, such as `mine:Net`, and whoever edits the file meanwhile makes another network of that name.
"""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from cgro.results.records import Json
from cgro.trust import code_of
from cgro.writing import sha256

CODE = "code"
"""In environment.json: module -> digest of its file. Only in runs that name code."""
SHOWN = 8
"""Digits of a digest in a message."""


def digests_of_code(settings: Mapping[str, object]) -> dict[str, str]:
    """Digests of the files of modules that settings name, as far as they have been imported.

    What such a module imports in turn is not looked at.

    Args:
        settings: of a run; texts and lists of them are looked at.

    Returns:
        Module -> SHA-256 of its file in hexadecimal, when this process first asked: a file that is edited later is not
        what was imported.

    Example:
        >>> list(digests_of_code({"model": "cgro.own_code:cache", "data": "digits", "objective": "trades:beta=6"}))
        ['cgro.own_code']
    """
    found: dict[str, str] = {}
    for value in settings.values():
        for word in value if isinstance(value, list) else [value]:
            code = code_of(word) if isinstance(word, str) else None
            module = "" if code is None else code.partition(":")[0]
            digest = _digest(module) if module in sys.modules else None
            if digest is not None:
                found[module] = digest
    return found


@cache
def _digest(module: str) -> str | None:
    file = getattr(sys.modules[module], "__file__", None)
    with contextlib.suppress(OSError, TypeError):  # built in, or gone
        return sha256(Path(file).read_bytes())  # type: ignore[arg-type]  # None raises TypeError
    return None


def codes_of(made_in: Mapping[str, Json]) -> list[Mapping[str, str]]:
    """What a run says of its code: as it was begun, and as it was each time it was resumed in another environment.

    Args:
        made_in: its environment.json, which may be damaged.

    Returns:
        Module -> digest, of each time.

    Example:
        >>> codes_of({"code": {"mine": "ab"}, "resumed": [{"environment": {"code": {"mine": "cd"}}}]})
        [{'mine': 'ab'}, {'mine': 'cd'}]
    """
    found: list[Mapping[str, str]] = []
    resumed = made_in.get("resumed")
    times: list[object] = [made_in]
    for entry in resumed if isinstance(resumed, list) else []:
        times.append(entry.get("environment") if isinstance(entry, dict) else None)
    for time in times:
        code = time.get(CODE) if isinstance(time, Mapping) else None
        if isinstance(code, dict):
            found.append({str(name): str(digest) for name, digest in code.items()})
    return found


def changed_code(codes: Mapping[str, Sequence[Mapping[str, str]]]) -> list[str]:
    """Which modules changed between runs that are compared.

    Args:
        codes: run -> what it says of its code; see `codes_of`.

    Returns:
        A sentence for each module of which there are several texts.

    Example:
        >>> changed_code({"plain": [{"mine": "ab"}], "ema": [{"mine": "cd"}], "swa": [{"mine": "cd"}]})[0][:93]
        'the file of mine was changed between trainings: ab for plain, cd for ema and 1 more. Where th'
    """
    texts: dict[str, dict[str, list[str]]] = {}
    for run, times in codes.items():
        for code in times:
            for module, digest in code.items():
                texts.setdefault(module, {}).setdefault(digest, []).append(run)
    found: list[str] = []
    for module, by_digest in texts.items():
        if len(by_digest) > 1:
            parts = ", ".join(f"{digest[:SHOWN]} for {_first_of(runs)}" for digest, runs in by_digest.items())
            found.append(
                f"the file of {module} was changed between trainings: {parts}. Where that changed what they do, their "
                "differences are not those of remedies"
            )
    return found


def _first_of(runs: Sequence[str]) -> str:
    more = len(runs) - 1
    return f"{runs[0]} and {more} more" if more else runs[0]
