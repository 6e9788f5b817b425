"""Conditions on columns of a list, such as `robust_error/test<0.3`, as text from the command line."""

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cgro._check import BadRequest, bad, listed, number
from cgro.catalog import Listed, Value

NUMERIC: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
NONE = ("none", "null", "")
"""Spellings of a cell without a value."""
_CONDITION = re.compile(r"(?P<column>[^=!<>~]+)(?P<sign>!=|<=|>=|==?|<|>|~)(?![=<>~])(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """A condition on one column.

    Attributes:
        column: its name.
        sign: one of = != < <= > >= and ~, which asks whether a text occurs.
        value: as written.
    """

    column: str
    sign: str
    value: str

    def holds(self, run: Listed) -> bool:
        """Whether a run meets it.

        Args:
            run: as found.

        Returns:
            Numbers are compared as numbers, 8/255 among them. Where the run has no such value only `!=` holds.
        """
        cell = run.get(self.column)
        if self.sign == "~":
            return cell is not None and self.value.lower() in str(cell).lower()
        if self.sign in NUMERIC:
            there = as_number(cell)
            return there is not None and NUMERIC[self.sign](there, number(self.value, self.column))
        return _equal(cell, self.value) == (self.sign == "=")


def as_number(cell: Value) -> float | None:
    """The number in a cell.

    Args:
        cell: a value, or text such as 8/255.

    Returns:
        The number; None where there is none.

    Example:
        >>> as_number("1/4"), as_number("adam"), as_number(True)
        (0.25, None, None)
    """
    if cell is None or isinstance(cell, bool):
        return None
    try:
        return number(cell, "")
    except BadRequest:
        return None


def _equal(cell: Value, text: str) -> bool:
    if cell is None:
        return text.lower() in NONE
    if isinstance(cell, bool):
        return str(cell).lower() == text.lower()
    ours, theirs = as_number(cell), as_number(text)
    if ours is not None and theirs is not None:
        return ours == theirs
    return str(cell) == text


def read_conditions(texts: Sequence[str], columns: Sequence[str]) -> list[Condition]:
    """Conditions from the command line.

    Args:
        texts: such as ["model=lenet", "robust_error/test<0.3"].
        columns: all there are.

    Returns:
        One each.

    Raises:
        BadRequest: no condition, a column that no run has, a bound that is no number.

    Example:
        >>> read_conditions(["width>=4", "model == 'lenet'"], ["width", "model"])
        [Condition(column='width', sign='>=', value='4'), Condition(column='model', sign='=', value='lenet')]
    """
    conditions: list[Condition] = []
    for text in texts:
        parts = _CONDITION.fullmatch(text)
        if parts is None:
            raise bad("--where", expected="COLUMN=VALUE, or with != < <= > >= ~ in place of =", got=text)
        column, sign, value = parts.group("column", "sign", "value")
        sign = sign.replace("==", "=")  # as Python spells it
        condition = Condition(column.strip(), sign, _unquoted(value.strip()))
        require_column(condition.column, columns, "--where")
        if condition.sign in NUMERIC:
            number(condition.value, f"--where {condition.column}")
        conditions.append(condition)
    return conditions


def _unquoted(text: str) -> str:
    """A value without the quotes that a shell left on it: `--where 'model == "lenet"'`."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def require_column(name: str, columns: Sequence[str], option: str) -> None:
    """Refuse a column that no run has.

    Args:
        name: of the column.
        columns: all there are.
        option: the option that asked for it.

    Raises:
        BadRequest: it is none of them; names those that are spelled alike, or some.
    """
    if name in columns:
        return
    close = difflib.get_close_matches(name, columns, n=3, cutoff=0.5)
    remedy = f"such as {listed(columns, 12)}"
    if close:
        remedy = f"did you mean {' or '.join(close)}?"
    raise bad(option, expected="a setting or a metric of these runs", got=name, remedy=remedy)
