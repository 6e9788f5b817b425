"""The few input checks. Every message says what was expected, what came, and what to do."""

import math
from collections.abc import Iterable
from typing import TypeVar

Name = TypeVar("Name", bound=str)


LONGEST_VALUE = 200
"""Characters of a caller's value that a message repeats. A choice: a terminal's two lines."""
LONGEST_LINE = 600
"""Characters of a whole message on the terminal. A choice."""


class BadRequest(ValueError):
    """The caller asked for something that cannot be done. The command line prints it as one line and exits 2."""


def one_line(text: str, limit: int = LONGEST_LINE) -> str:
    r"""Text that is safe to print on one line of a terminal, whoever wrote it.

    White space becomes single spaces, control characters (escape sequences among them) and lone surrogates are written as
    escapes, and what is longer than `limit` loses its middle.

    Args:
        text: any text.
        limit: longest result, in characters.

    Returns:
        One printable line.

    Example:
        >>> one_line("red \x1b[31m\n  text")
        'red \\x1b[31m text'
        >>> one_line("0123456789" * 3, limit=15)
        '01234 ... 56789'
    """
    pieces = []
    for character in " ".join(text.split()):
        if character.isprintable():
            pieces.append(character)
        else:
            pieces.append(character.encode("unicode_escape", "surrogatepass").decode())
    line = "".join(pieces)
    if len(line) <= limit:
        return line
    side = max(1, (limit - 5) // 2)
    return f"{line[:side]} ... {line[-side:]}"


def bad(what: str, *, expected: object, got: object, remedy: str = "") -> BadRequest:
    """Build the error for a wrong value.

    >>> str(bad("radius", expected="a number >= 0", got=-1, remedy="use 8/255"))
    'radius: expected a number >= 0, got -1; use 8/255'
    """
    message = f"{one_line(what, LONGEST_VALUE)}: expected {expected}, got {one_line(str(got), LONGEST_VALUE)}"
    return BadRequest(f"{message}; {remedy}" if remedy else message)


def number(value: float | str, what: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Read a finite number, also written as a fraction, and check that it lies in [low, high].

    >>> number("8/255", "radius")
    0.03137254901960784
    """
    try:
        if isinstance(value, str) and "/" in value:
            top, bottom = value.split("/")
            result = float(top) / float(bottom)
        else:
            result = float(value)
    except (ValueError, TypeError, ZeroDivisionError):
        raise bad(what, expected="a number such as 0.1 or 8/255", got=repr(value)) from None
    if not math.isfinite(result) or not low <= result <= high:
        raise bad(what, expected=f"a finite number in [{low:g}, {high:g}]", got=value)
    return result


def count(value: int, what: str, *, low: int = 1, high: int | None = None) -> int:
    """Check that a count is an integer in [low, high]."""
    try:
        whole = not isinstance(value, bool) and int(value) == value
    except (TypeError, ValueError, OverflowError):  # None, a word, infinity
        whole = False
    if not whole or value < low or (high is not None and value > high):
        limit = f">= {low}" if high is None else f"in [{low}, {high}]"
        raise bad(what, expected=f"an integer {limit}", got=value)
    return int(value)


def one_of(value: str, what: str, choices: Iterable[Name]) -> Name:
    """The choice of this name; the known ones are listed when there is none.

    >>> one_of("gram", "backend", ("direct", "gram"))
    'gram'
    """
    names = list(choices)
    for name in names:
        if name == value:
            return name
    raise bad(what, expected="one of " + ", ".join(names), got=repr(value))


class CheckFailed(Exception):
    """A check that was asked for came out false. Results are written; the command line exits 1."""
