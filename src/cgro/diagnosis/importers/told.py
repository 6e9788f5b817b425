"""What a caller says about a file with `--map`: which column, or which place in a text, holds which curve."""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cgro._check import BadRequest, bad, number, one_line
from cgro.diagnosis.columns import ACCURACIES, ERRORS, LOSSES, Unit
from cgro.diagnosis.words import closest

Cells = Mapping[str, object]
"""A row of a table: what stands below each name."""
Rows = Callable[[], Iterable[Cells]]
"""Gives the rows of a table, anew at each call."""
NAMES = ("epoch", "lr", "prediction_share", *ERRORS, *ACCURACIES, *LOSSES)
"""What stands before the equals sign."""
_EXPECTED = "CURVE=COLUMN,... or CURVE=/PATTERN/,... with curves such as epoch, robust_error/test"
# A value: a pattern between slashes with what follows it, a name in quotation marks, or all up to the next comma.
_PAIR = re.compile(
    r"""\s*(?P<curve>[^=,]*?)\s*=\s*
    (?: /(?P<pattern>(?:[^/\\]|\\.)+)/ (?P<after>(?:/[0-9.eE+]+)?(?::[a-z]+)?)
      | (?P<quote>["'])(?P<quoted>(?:(?!(?P=quote)).)+)(?P=quote) (?P<unit>(?://[0-9.eE+]+)?(?::[a-z]+)?)
      | (?P<plain>[^,]+) )
    \s*(?:,|$)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Choice:
    """Where one curve is.

    Args:
        text: name of the column, or the pattern with one group around the number.
        pattern: whether it is a pattern.
        unit: percent or fraction where the caller says so; None leaves it to the values.
        divisor: number of examples by which a count is divided; None where it is no count.
    """

    text: str
    pattern: bool = False
    unit: Unit | None = None
    divisor: float | None = None


@dataclass(frozen=True)
class Told:
    """All that a caller says about a file.

    Args:
        choices: name as `--map` has it -> where it is.
    """

    choices: Mapping[str, Choice]

    @property
    def patterns(self) -> bool:
        """Whether curves are found by patterns in a text."""
        return any(choice.pattern for choice in self.choices.values())

    def in_percent(self, rows: Rows) -> tuple[Rows, list[str]]:
        """Rows in which the counts that the caller named are percentages.

        Args:
            rows: gives those of a table.

        Returns:
            Gives them with `45.2%` in place of a count (a cell that is no number stays), and a remark for each count.
        """
        divisors = {one.text: one.divisor for one in self.choices.values() if one.divisor is not None}
        if not divisors or self.patterns:
            return rows, []
        remarks = [f"column {name!r} counts examples, of {n:,.10g} each" for name, n in divisors.items()]
        return lambda: map(functools.partial(_in_percent, divisors=divisors), rows()), remarks

    @classmethod
    def of(cls, columns: Mapping[str, str] | None) -> "Told":
        """From curve -> text, the text as behind the equals sign of `--map`.

        Args:
            columns: see `parse_map`; None says nothing.

        Returns:
            The parsed choices.

        Raises:
            BadRequest: an unknown curve or unit, a pattern that is none or has not one group, patterns beside columns.
        """
        choices = {curve: _choice(curve, text) for curve, text in (columns or {}).items()}
        if len({choice.pattern for choice in choices.values()}) > 1:
            raise bad("--map", expected="patterns only or columns only", got="both")
        return cls(choices)


def _in_percent(row: Mapping[str, object], divisors: Mapping[str, float]) -> dict[str, object]:
    found = dict(row)
    for name in divisors.keys() & row.keys():
        try:
            found[name] = f"{100 * float(str(row[name])) / divisors[name]:.10g}%"
        except ValueError:
            continue
    return found


def parse_map(text: str) -> dict[str, str]:
    r"""`--map CURVE=COLUMN,...`; a curve is `epoch`, `lr`, or `robust_error/test` and the like, also `_accuracy`.

    COLUMN:percent or COLUMN:fraction tells the unit, and COLUMN//10000 is a count of so many examples. In a text,
    CURVE=/PATTERN/ is a regular expression with one group, and CURVE=/PATTERN//10000 a count likewise.

    Args:
        text: of the option.

    Returns:
        Curve -> column or pattern, as written.

    Raises:
        BadRequest: no such list, or a curve that does not exist.

    Example:
        >>> parse_map("epoch=step, robust_accuracy/test=PGD")
        {'epoch': 'step', 'robust_accuracy/test': 'PGD'}
        >>> parse_map(r"epoch=/Epoch: \[(\d+)/,clean_accuracy/test=/Acc, test: ([\d.]+)/:percent")["epoch"]
        '/Epoch: \\[(\\d+)/'
    """
    found: dict[str, str] = {}
    position = 0
    while position < len(text.rstrip(", ")):
        match = _PAIR.match(text, position)
        if match is None:
            raise bad("--map", expected=_EXPECTED, got=repr(text[position:]))
        position = match.end()
        curve = match.group("curve")
        if curve not in NAMES:
            raise BadRequest(one_line(f"--map: expected {_EXPECTED}, got {match[0]!r}{closest(curve, NAMES)}"))
        if curve in found:
            raise bad("--map", expected="each curve once", got=f"{curve} twice")
        if match.group("pattern") is not None:
            found[curve] = "/{}/{}".format(*match.group("pattern", "after"))
        elif match.group("quoted") is not None:
            found[curve] = match.group("quoted") + match.group("unit")
        else:
            found[curve] = match.group("plain").strip()
    Told.of(found)
    return found


def _choice(curve: str, text: str) -> Choice:
    if curve not in NAMES:
        raise BadRequest(one_line(f"--map: expected {_EXPECTED}, got {curve}={text}{closest(curve, NAMES)}"))
    body, colon, last = text.rpartition(":")
    unit: Unit | None = None
    if colon and last in ("percent", "fraction"):
        unit = "percent" if last == "percent" else "fraction"
        text = body
    match = re.fullmatch(r"/((?:[^/\\]|\\.)+)/(?:/([0-9.eE+]+))?", text)
    if match is None:
        count = re.fullmatch(r"(.+)//([0-9.eE+]+)", text)
        if count is None:
            return Choice(text, unit=unit)
        return Choice(count[1], unit=unit, divisor=_n_examples(curve, count[2]))
    try:
        n_groups = re.compile(match[1]).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise bad(f"--map {curve}", expected="a regular expression", got=f"{match[1]} ({error})") from None
    if n_groups != 1:
        raise bad(f"--map {curve}", expected="one group, around the number", got=f"{n_groups} in {match[1]}")
    divisor = None
    if match[2] is not None:
        divisor = _n_examples(curve, match[2])
    return Choice(match[1], pattern=True, unit=unit, divisor=divisor)


def _n_examples(curve: str, text: str) -> float:
    return number(text, f"--map {curve}: number of examples", low=1)
