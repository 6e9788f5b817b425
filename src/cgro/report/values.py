"""What the values in files of a run must be, beside their types, before they are drawn.

A run may come from somebody else, or be damaged. `cgro.results.read_value` reads a value into its type, or refuses it
with its place in the file; here is what types do not say.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar, get_type_hints

import msgspec
import numpy as np

from cgro._check import BadRequest, bad
from cgro.reading import read_npz

DEEPEST = 20
"""Levels of a value that is only printed, as settings are. A choice; ours have four."""
LARGEST = 1e300
"""Magnitude of a number that is drawn: beyond it the arithmetic of axes overflows."""

Number: TypeAlias = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
"""A finite number; NaN lies in no interval."""
T = TypeVar("T")


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


def drawable(values: Sequence[float | None] | Sequence[Sequence[float | None]] | np.ndarray) -> np.ndarray:
    """Make an array of numbers that matplotlib and the charts of the page can draw.

    Args:
        values: numbers, None where one is not known.

    Returns:
        The same, NaN for those that are not known, infinite, or so large that the arithmetic of axes overflows.

    Example:
        >>> drawable([1, None, float("inf"), -1e308])
        array([ 1., nan, nan, nan])
    """
    found = np.array(values, float)
    found[~(np.abs(found) <= LARGEST)] = np.nan
    return found


def radius_text(radius: float) -> str:
    """A radius as people write it.

    Args:
        radius: in units of the input.

    Returns:
        Up to four digits where these are the number, else k/255 where it is that many steps of 8 bits.

    Example:
        >>> [radius_text(r) for r in (0.2, 8 / 255, 0.5 / 255, 0.123456)]
        ['0.2', '8/255', '0.001961', '0.1235']
    """
    short, scaled = f"{radius:.4g}", 255 * radius
    if float(short) == radius or not 0.5 < scaled < LARGEST:
        return short
    steps = round(scaled)
    if math.isclose(radius, steps / 255, rel_tol=1e-6):
        return f"{steps}/255"
    return short


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
