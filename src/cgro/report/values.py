"""Values from files of a run, as typed values: one line with the place where a file holds something else.

A run may come from somebody else, or be damaged. What is drawn is read into a `msgspec.Struct` first; entries that no
figure needs may be anything and are left out. The types below are what such structs are made of.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar, get_type_hints

import msgspec

from cgro._check import BadRequest, bad, one_line
from cgro.reading import read_npz

DEEPEST = 20
"""Levels of a value that is only printed, as settings are. A choice; ours have four."""
LARGEST = 1e300
"""Magnitude of a number that is drawn: beyond it the arithmetic of axes overflows."""

Number: TypeAlias = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
"""A finite number; NaN lies in no interval."""
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Extended: TypeAlias = Number | Literal["inf", "-inf"]
"""A number as strict JSON has it: infinities are text."""
Interval: TypeAlias = tuple[Extended, Extended]
Series: TypeAlias = list[float | Literal["inf", "-inf"] | None]
"""Measured values of which some may have diverged; null is NaN."""

T = TypeVar("T")


def typed(value: object, shape: type[T], what: str) -> T:
    """Read a value that was parsed from a file.

    Args:
        value: as parsed: objects, lists, text, numbers.
        shape: the type that is read; of a struct, entries that it does not name are left out.
        what: the file, as messages call it.

    Returns:
        The value as that type.

    Raises:
        BadRequest: another value; names the file and the place in it.

    Example:
        >>> typed([1, 2], list[Number], "a.json")
        [1.0, 2.0]
        >>> typed([1, "2"], list[Number], "a.json")
        Traceback (most recent call last):
            ...
        cgro._check.BadRequest: a.json: Expected `float`, got `str` - at `$[1]`; damaged, or not written by cgro
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{what}: {one_line(str(error))}; damaged, or not written by cgro") from None


def damaged(what: str, *, expected: str, got: object) -> BadRequest:
    """Build the error for values of the right types that do not fit each other.

    Args:
        what: the file, as messages call it.
        expected: what should be there, and where.
        got: what is there.

    Returns:
        The exception, to be raised.
    """
    return bad(what, expected=expected, got=got, remedy="damaged, or not written by cgro")


def read_arrays(path: Path, shape: type[T], *, writer: str) -> T:
    """Read an `.npz` into a dataclass of arrays.

    Args:
        path: the file.
        shape: a dataclass whose fields are named as the arrays are; others are left out.
        writer: what writes such files, as messages call it.

    Returns:
        The arrays, of any types and shapes.

    Raises:
        BadRequest: see `cgro.reading.read_npz`; an array is missing.
    """
    arrays = read_npz(path, follow=False)
    names = list(get_type_hints(shape))
    missing = ", ".join(name for name in names if name not in arrays)
    if missing:
        raise bad(str(path), expected=f"the arrays of {writer}", got=f"none called {missing}")
    return shape(**{name: arrays[name] for name in names})


def require_shallow(value: object, what: str) -> None:
    """Check that a value of any kind, which is printed as it is, can be printed.

    Args:
        value: as parsed.
        what: the file, as messages call it.

    Raises:
        BadRequest: nested more than `DEEPEST` levels deep.
    """
    if not _is_shallow(value, DEEPEST):
        raise damaged(what, expected=f"values nested at most {DEEPEST} deep", got="deeper ones")


def _is_shallow(value: object, levels: int) -> bool:
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        return True
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in parts)
