"""The few input checks. Every message says what was expected, what came, and what to do."""

import math
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

Name = TypeVar("Name", bound=str)

LONGEST_VALUE = 200
"""Characters of a caller's value that a message repeats. A choice: a terminal's two lines."""
LONGEST_LINE = 600
"""Characters of a whole message on the terminal. A choice."""
LARGEST_COUNT = 1 << 53
"""Largest integer that is taken where nothing else limits it: larger ones are no numbers of double precision, so that
readers of JSON in other languages lose their digits, and torch ends in an error of its own beyond 64 bits."""
WHITE = 255
"""Largest value of 8 bits."""
WHITE_OF_16_BITS = 65535
FEWER_BITS = "fewer bits than 16 have a smaller largest value"
LARGEST_FLOAT32 = 3.4e38
"""Largest number that torch takes where it computes in float32."""


class BadRequest(ValueError):
    """The caller asked for something that cannot be done. The command line prints it as one line and exits 2."""


def printable(text: str) -> str:
    r"""Text whose control characters, escape sequences among them, and lone surrogates are written as escapes.

    Args:
        text: any text.

    Returns:
        The same with its lines, printable.

    Example:
        >>> printable("two\n  lines\x07")
        'two\n  lines\\x07'
    """
    pieces: list[str] = []
    for character in text:
        if character.isprintable() or character == "\n":
            pieces.append(character)
        else:
            pieces.append(character.encode("unicode_escape", "surrogatepass").decode())
    return "".join(pieces)


def one_line(text: str, limit: int = LONGEST_LINE) -> str:
    r"""Text that is safe to print on one line of a terminal, whoever wrote it.

    White space becomes single spaces, control characters (escape sequences among them) and lone surrogates are written
    as escapes, and what is longer than `limit` loses its middle.

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
    if len(text) > 40 * limit:  # enough of both ends for the result; a text of megabytes is not walked through
        text = f"{text[: 20 * limit]} ... {text[-20 * limit :]}"
    line = printable(" ".join(text.split()))
    if len(line) <= limit:
        return line
    side = max(1, (limit - 5) // 2)
    return f"{line[:side].rstrip()} ... {line[-side:].lstrip()}"  # one space: a line of a line is the same line


def listed(values: Iterable[object], most: int = 8, *, n: int | None = None) -> str:
    """The first few of many values, for one line.

    Args:
        values: all of them, or the first few alone where `n` says how many there are.
        most: values that are written out.
        n: number of values in all; None: those that `values` holds.

    Returns:
        The values separated by commas, and how many more there are.

    Example:
        >>> listed([1, 2, 3], most=2)
        '1, 2 and 1 more'
    """
    texts = [str(value) for value in values]
    n_more = (len(texts) if n is None else n) - most
    text = ", ".join(texts[:most])
    if n_more > 0:
        text += f" and {n_more} more"
    return text


def apart(*values: float, digits: int = 6) -> list[str]:
    """Numbers as text, with as many digits as it takes to tell the different ones apart.

    A message with a limit and a value beyond it must not print the two alike.

    Args:
        values: such as a limit and what came.
        digits: significant digits where they suffice.

    Returns:
        One text per value.

    Example:
        >>> apart(0.3, 0.25), apart(0.3725490196, 0.3725490197)
        (['0.3', '0.25'], ['0.3725490196', '0.3725490197'])
    """
    n_different = len(set(values))
    for n_digits in range(digits, 17):
        texts = [f"{value:.{n_digits}g}" for value in values]
        if len(set(texts)) == n_different:
            return texts
    return [repr(value) for value in values]


def bad(what: str, *, expected: object, got: object, remedy: str = "") -> BadRequest:
    """Build the error for a wrong value.

    Args:
        what: the value, or the option or file that it came from.
        expected: what would have been right.
        got: the value, or words about it.
        remedy: what to do; "" where the rest says it.

    Returns:
        The error, to be raised.

    Example:
        >>> str(bad("radius", expected="a number >= 0", got=-1, remedy="use 8/255"))
        'radius: expected a number >= 0, got -1; use 8/255'
    """
    message = f"{one_line(what, LONGEST_VALUE)}: expected {expected}, got {one_line(_written(got), LONGEST_VALUE)}"
    if remedy:
        message += f"; {remedy}"
    return BadRequest(message)


def _written(value: object, write: Callable[[object], str] = str) -> str:
    """A value as text; Python writes no integer of more than 4,300 digits."""
    try:
        return write(value)
    except ValueError:
        return "an integer of thousands of digits"


def number(
    value: float | str,
    what: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """Read a finite number, also written as a fraction, and check that it lies in [low, high]; either end may be open.

    Args:
        value: a number, or a text such as 0.1 or 8/255.
        what: how the message calls it.
        low: smallest value that is taken.
        high: largest value that is taken.
        above: largest value that is not taken, in place of `low`.
        below: smallest value that is not taken, in place of `high`.

    Returns:
        The number.

    Raises:
        BadRequest: no number, not finite, or outside of the range.

    Example:
        >>> number("8/255", "radius")
        0.03137254901960784
    """
    try:
        if isinstance(value, str) and "/" in value:
            top, bottom = value.split("/")
            result = float(top) / float(bottom)
        else:
            result = float(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise bad(what, expected="a number such as 0.1 or 8/255", got=_written(value, repr)) from None
    if not math.isfinite(result) or not low <= result <= high or not above < result < below:
        least, largest, _ = apart(max(low, above), min(high, below), result)
        where = _interval(least, largest, open_low=above >= low, open_high=below <= high)
        raise bad(what, expected=f"a finite number{where}", got=value)
    return result


def _interval(least: str, largest: str, *, open_low: bool, open_high: bool) -> str:
    """Where a number may lie, with a blank in front; nothing where it may lie anywhere."""
    if largest != "inf":
        begin = "(" if open_low else "["
        end = ")" if open_high else "]"
        return f" in {begin}{least}, {largest}{end}"
    if least == "-inf":
        return ""
    relation = ">" if open_low else ">="
    return f" {relation} {least}"


def seconds_of(text: str, what: str, *, expected: str = "a time such as 90s, 10m or 2h") -> float:
    """Read a time.

    Args:
        text: a number above 0 with its unit: s, m or h.
        what: how the message calls it.
        expected: as the message says it.

    Returns:
        Seconds.

    Raises:
        BadRequest: another text.

    Example:
        >>> seconds_of("1.5m", "--budget")
        90.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or not float(match[1]):
        raise bad(what, expected=expected, got=repr(text))
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def count(value: float, what: str, *, low: int = 1, high: int = LARGEST_COUNT) -> int:
    """Check that a count is an integer in [low, high].

    Args:
        value: the count; 3.0 is taken as 3, True is not taken.
        what: how the message calls it.
        low: smallest value that is taken.
        high: largest value that is taken.

    Returns:
        The integer.

    Raises:
        BadRequest: no integer, or outside of the range.

    Example:
        >>> count(3.0, "n_steps")
        3
    """
    whole = _whole(value)
    if whole is None or not low <= whole <= high:
        is_limit_of_all = high == LARGEST_COUNT and (whole is None or whole < low)
        limit = f">= {low}" if is_limit_of_all else f"in [{low}, {high}]"
        got = repr(value) if isinstance(value, str) else value  # "10" is no integer, and looks like one
        raise bad(what, expected=f"an integer {limit}", got=got)
    return whole


def count_field(owner: object, name: str, what: str = "", *, low: int = 1, high: int = LARGEST_COUNT) -> None:
    """As `count`, of a field of a frozen value; what is taken for an integer is stored as one.

    Args:
        owner: the value that is being made.
        name: of its field.
        what: how the message calls it; "": by its name.
        low: smallest value that is taken.
        high: largest value that is taken.

    Raises:
        BadRequest: no integer, or outside of the range.
    """
    given = getattr(owner, name)
    whole = count(given, what or name, low=low, high=high)
    if type(given) is not int:
        object.__setattr__(owner, name, whole)


def number_field(owner: object, name: str, what: str = "", *, low: float = -math.inf, high: float = math.inf) -> None:
    """As `number`, of a field of a frozen value; what is taken for a number, such as 2/255, is stored as one.

    Args:
        owner: the value that is being made.
        name: of its field.
        what: how the message calls it; "": by its name.
        low: smallest value that is taken.
        high: largest value that is taken.

    Raises:
        BadRequest: no number, not finite, or outside of the range.
    """
    given = getattr(owner, name)
    value = number(given, what or name, low=low, high=high)
    if type(given) not in (int, float):
        object.__setattr__(owner, name, value)


def white_of(low: float, high: float) -> int | None:
    """The value that stands for white in images, as far as their range says it.

    Args:
        low: their smallest value.
        high: their largest value.

    Returns:
        255 of 8 bits and 65535 of 16, the smallest that all values fit; None for values that are 0 and 1 alone, below
        0 or beyond 16 bits.

    Example:
        >>> white_of(0, 17), white_of(0, 4095), white_of(0, 1), white_of(-1, 17)
        (255, 65535, None, None)
    """
    if low < 0 or high <= 1:
        return None
    for white in (WHITE, WHITE_OF_16_BITS):
        if high <= white:
            return white
    return None


def seed_number(value: float) -> int:
    """A seed as Python's integer: numbers are named by its text, and numpy's 0 is written in another way than 0.

    Args:
        value: an integer of any type; a negative one is taken.

    Returns:
        The integer.

    Raises:
        BadRequest: no integer.

    Example:
        >>> seed_number(3.0)
        3
    """
    return count(value, "seed", low=-(2**63), high=2**63 - 1)


def _whole(value: float) -> int | None:
    """The integer that a value is; None if it is none."""
    if isinstance(value, bool):
        return None
    try:
        whole = int(value)
        return whole if whole == value else None
    except (ValueError, TypeError, OverflowError):  # text, None, not finite
        return None


def one_of(value: str, what: str, choices: Iterable[Name]) -> Name:
    """The choice of this name; the known ones are listed when there is none.

    Args:
        value: the name that was asked for.
        what: how the message calls it.
        choices: the names that there are.

    Returns:
        The name, with the type of the choices.

    Raises:
        BadRequest: another name.

    Example:
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
