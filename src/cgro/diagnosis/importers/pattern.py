"""Any text, by one regular expression per curve: the way in for what a program only printed."""

import re
import shlex
from collections.abc import Iterator

from cgro._check import bad, one_line
from cgro.diagnosis.columns import ERRORS, Unit
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.line.epochs import ABOVE, says_over
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Choice, Told

MOST_CHARACTERS = 2_000
"""Characters of a line in which a pattern is searched: a pattern may take the square of them. A choice."""


_COUNTED = re.compile(
    r"(?P<before>(?<![A-Za-z])ep\w*[^\w|]{1,4}|^\W{0,3}[A-Za-z]*\W{1,3})(?P<n>\d{1,6})(?![\d.:-])", re.IGNORECASE
)
"""A number behind a word that begins with ep, or behind the first word or sign of a line; no date, time or fraction."""
_ROBUST = re.compile(
    r"(?<![A-Za-z])(?:adv|rob|pgd|aa(?![a-z])|autoattack)[\w-]*[^\d,;|]{0,30}?[\s:=]\W{0,3}(?=\d+\.\d)", re.IGNORECASE
)
"""A name that may be of a robust value, up to its number."""
_COMMON = (r"Epoch:? (\d+)", r"PGD acc:? ([\d.]+)")


def option_for(line: str) -> str:
    """The option that reads lines such as one: what may be its epoch, and the last value that may be robust.

    Args:
        line: with a number.

    Returns:
        `--map ...` with patterns that match the line where it has both, else those of a common form.

    Example:
        >>> print(option_for("Round 3 | clean 80.1 | adv acc 45.2"))
        --map 'epoch=/Round (\\d+)/,robust_accuracy/test=/adv acc ([\\d.]+)/'
    """
    line = line[:MOST_CHARACTERS]
    epoch = _COUNTED.search(line)
    robust = list(_ROBUST.finditer(line))
    patterns = _COMMON
    part = "test"
    if epoch is not None and robust and "train" not in line[: robust[-1].start()].lower().rpartition("test")[2]:
        patterns = (rf"{_literal(epoch['before'])}(\d+)", rf"{_literal(robust[-1][0])}([\d.]+)")
        if "val" in line[: robust[-1].end()][-30:].lower():
            part = "validation"
    return f"--map {shlex.quote(f'epoch=/{patterns[0]}/,robust_accuracy/{part}=/{patterns[1]}/')}"


def _literal(text: str) -> str:
    """A pattern of just this text, and readable: blanks and letters of all languages stand for themselves."""
    return re.sub(r"([\\.^$*+?{}\[\]|()/])", r"\\\1", text)


class Pattern:
    r"""Texts that say `Epoch: 3 ... robust acc 45.2` in any form.

    `--map 'epoch=/Epoch: (\d+)/,robust_accuracy/test=/robust acc ([\d.]+)/'`: every line is searched for every pattern.
    What stands between two epochs belongs to the earlier one, or to the later one where its line says that it is over
    and values stand before the first; the last match in it counts.
    """

    name = "text by patterns"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`. It reads what the caller gave patterns for, and nothing else.

        Args:
            text: of the file.

        Returns:
            0.
        """
        return 0.0

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        Args:
            text: of the file.
            told: the patterns.

        Returns:
            One value.

        Raises:
            BadRequest: a pattern that matches nowhere, or something that is no number; see `curves_of`.
        """
        rows, n_matches, remarks = _rows(text, told)
        unmatched = [curve for curve in told.choices if not n_matches[curve]]
        if unmatched:
            got = f"no match of /{told.choices[unmatched[0]].text}/ in {len(text.lines):,} lines"
            example = next((line for line in text.lines if re.search(r"\d", line)), "")
            raise bad(
                f"{text.source}: {unmatched[0]}",
                expected="a pattern that matches",
                got=got,
                remedy=f"the first line with a number is {one_line(example, 120)!r}",
            )
        names = {curve: Choice(curve, unit=_unit(choice)) for curve, choice in told.choices.items()}
        for curve, n in n_matches.items():
            n_epochs = sum(curve in row for row in rows)
            if curve != "epoch" and n > n_epochs:
                remarks.append(f"{curve}: {n} matches in {n_epochs} epochs; the last of each epoch counts")
        about = {"format": self.name}
        return curves_of(Table(text.source, lambda: rows, list(names), about, remarks, appended=True), Told(names))


def _unit(choice: Choice) -> Unit | None:
    """A count that was divided by its number of examples is a fraction."""
    if choice.divisor is not None:
        return "fraction"
    return choice.unit


def _rows(text: Text, told: Told) -> tuple[list[dict[str, float]], dict[str, int], list[str]]:
    """One row per block of lines, how often each pattern matched, and what was assumed.

    With a pattern for the epoch a block ends where another number of it is found, without one where a curve is found
    that the block has.
    """
    rows: list[dict[str, float]] = []
    below: list[dict[str, float]] = [{}]  # what stands behind the line of each epoch, and first of all before the first
    is_over = False
    of_epoch = ""  # the line that named the epoch
    n_matches = dict.fromkeys(told.choices, 0)
    for curve, value, line in _matches(text, told):
        n_matches[curve] += 1
        if curve == "epoch":
            of_epoch = line
            if not rows or rows[-1]["epoch"] != value:
                rows.append({"epoch": value})
                below.append({})
                is_over = says_over(line)
            continue
        if "epoch" not in told.choices and (not rows or curve in rows[-1]):
            rows.append({"epoch": len(rows) + 1.0})
        if rows:
            rows[-1][curve] = value
        if line is not of_epoch:
            below[-1][curve] = value
    remarks: list[str] = []
    before = below[0]
    if rows and "epoch" in told.choices and before:
        if is_over and not below[-1]:
            remarks.append(ABOVE)
            rows = [_of_line(row, under) | above for row, under, above in zip(rows, below[1:], below, strict=False)]
        else:
            remarks.append(f"values before the first epoch are left out, such as that of {min(before)}")
    return rows, n_matches, remarks


def _of_line(row: dict[str, float], below: dict[str, float]) -> dict[str, float]:
    """What of a row stands in the line that names its epoch."""
    return {curve: value for curve, value in row.items() if curve not in below}


def _matches(text: Text, told: Told) -> Iterator[tuple[str, float, str]]:
    """Curves, their numbers and lines in the order of the text; within a line the epoch comes first."""
    patterns = {curve: re.compile(choice.text) for curve, choice in told.choices.items()}
    for n, line in enumerate(text.lines, 1):
        for curve in sorted(patterns, key=lambda name: name != "epoch"):
            match = patterns[curve].search(line[:MOST_CHARACTERS])
            if match is None or match[1] is None:
                continue
            try:
                value = float(match[1].rstrip("%"))
            except ValueError:
                raise bad(f"{text.source}: line {n}, {curve}", expected="a number", got=repr(match[1])) from None
            divisor = told.choices[curve].divisor
            if divisor is not None and curve.replace("accuracy", "error") in ERRORS:
                value = value / divisor
            yield curve, value, line
