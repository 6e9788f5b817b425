"""What values from files of a run must look like before they are drawn: one line with the place where one does not.

A shape is written as the value is:

    TEXT, NUMBER, ...       one value of a kind
    Maybe(shape)            such a value, or null, or no entry
    [shape]                 a list of such values
    {"name": shape}         an object with these entries; it may have others, which are not read
    {...: shape}            an object with any names and such values
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cgro._check import BadRequest, bad

DEEPEST = 20
"""Levels of a value that is only printed, as settings are. A choice; ours have four."""
LARGEST = 1e300
"""Magnitude of a number that is drawn: beyond it the arithmetic of axes overflows."""


@dataclass(frozen=True)
class Kind:
    """Values of one kind: how messages call them, and how they are told."""

    words: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Maybe:
    """A value that may be null or missing."""

    shape: Any


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST  # false for NaN


def _is_extended(value: Any) -> bool:
    return _is_number(value) or value in ("inf", "-inf")


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_shallow(value: Any, levels: int = DEEPEST) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return True
    parts = value.values() if isinstance(value, Mapping) else value
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in parts)


TEXT = Kind("text", lambda value: isinstance(value, str))
NUMBER = Kind("a finite number", _is_number)
EXTENDED = Kind('a number, "inf" or "-inf"', _is_extended)
SHARE = Kind("a share in [0, 1]", _is_share)
INTERVAL = Kind("two numbers", lambda v: isinstance(v, list) and len(v) == 2 and all(_is_extended(end) for end in v))
SHALLOW = Kind(f"values nested at most {DEEPEST} deep", _is_shallow)


def require(value: Any, shape: Any, what: str) -> None:
    """Check a value that was read from a file.

    Args:
        value: as parsed.
        shape: what it must look like; see above.
        what: the file, as messages call it.

    Raises:
        BadRequest: another value; names the file and the place in it.

    Example:
        >>> require({"epochs": [1, 2], "note": "x"}, {"epochs": [NUMBER]}, "a.json")
        >>> require({"epochs": [1, "2"]}, {"epochs": [NUMBER]}, "a.json")
        Traceback (most recent call last):
            ...
        cgro._check.BadRequest: a.json: expected a finite number at epochs[1], got '2'; damaged, or not written by cgro
    """
    fault = _fault(value, shape, "")
    if fault is not None:
        raise fault_in(what, *fault)


def fault_in(what: str, place: str, expected: str, got: str) -> BadRequest:
    """The error for a value of another shape, in a file called `what`."""
    where = f" at {place.removeprefix('.')}" if place else ""
    return bad(what, expected=expected + where, got=got, remedy="damaged, or not written by cgro")


def _fault(value: Any, shape: Any, place: str) -> tuple[str, str, str] | None:
    """Place, what was expected there and what is there; None if the value has its shape."""
    if isinstance(shape, Maybe):
        return None if value is None else _fault(value, shape.shape, place)
    if isinstance(shape, Kind):
        return None if shape.holds(value) else (place, shape.words, _about(value))
    if isinstance(shape, list):
        if not isinstance(value, list):
            return place, "a list", _about(value)
        parts = [(item, shape[0], f"{place}[{k}]") for k, item in enumerate(value)]
    else:
        if not isinstance(value, Mapping):
            return place, "an object", _about(value)
        named = shape if ... not in shape else dict.fromkeys(value, shape[...])
        missing = [k for k, entry in named.items() if k not in value and not isinstance(entry, Maybe)]
        if missing:
            return place, f"an entry {missing[0]!r}", "none"
        parts = [(value.get(name), entry, f"{place}.{name}") for name, entry in named.items()]
    faults = (_fault(*part) for part in parts)
    return next((fault for fault in faults if fault is not None), None)


def _about(value: Any) -> str:
    """The value in a message: short ones themselves, others by their type."""
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list) else repr(value)
