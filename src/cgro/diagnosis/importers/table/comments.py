"""What comments and constant columns say of the values of a file: that they are of an attack, which no name says."""

from collections.abc import Sequence
from dataclasses import replace

from cgro._check import listed, one_line
from cgro.diagnosis.columns import ERRORS, map_option
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.vocabulary import kinds_of, may_be_robust, words_of

_LONGEST = 400
"""Characters of a comment that are read. A choice."""
_MOST = 2
"""Comments that are shown. A choice."""
_HELD_OUT = ("clean_error/test", "clean_error/validation")


def said_in(lines: Sequence[str], names: Sequence[str] = ()) -> list[str]:
    """The comments of a text that speak of an attack or of robustness.

    Args:
        lines: of the text.
        names: of its columns; a comment that holds them is the header.

    Returns:
        Each once, without the sign before it.

    Example:
        >>> said_in(["# evaluated under PGD-20", "# seed 3", "epoch,test_acc"])
        ['evaluated under PGD-20']
    """
    found: dict[str, None] = {}
    for line in lines:
        text = line[:_LONGEST].strip()
        if not text.startswith("#") or not may_be_robust(text):
            continue
        comment = text.lstrip("# ").strip()
        is_header = bool(names) and all(name in line for name in names)
        if "robust" in kinds_of(words_of(comment)) and not is_header:
            found[comment] = None
    return list(found)


def with_comments(curves: Curves, text: Text, told: Told) -> Curves:
    """Curves with what the comments of their file say of an attack.

    Args:
        curves: that were read.
        text: of the file.
        told: what the caller says.

    Returns:
        The curves, with the comments among the remarks.

    Raises:
        BadRequest: a comment speaks of an attack, and the only held-out error is one whose name says nothing of it.
    """
    if "#" not in text.content or text.start.startswith(("{", "[{")):
        return curves
    said = said_in(text.lines, [column.name for column in curves.columns])
    if not said:
        return curves
    shown = listed([repr(one_line(comment, 80)) for comment in said], _MOST)
    require_told(curves, f"a comment says {shown}", told)
    remarks = [*curves.remarks, f"the file says {shown}; no number rests on it"]
    return replace(curves, meta={**curves.meta, "remarks": remarks})


def require_told(curves: Curves, what: str, told: Told) -> None:
    """Refuse plain held-out errors, and no robust ones, where something says that they may be of an attack.

    Args:
        curves: that were read.
        what: says so, a clause.
        told: what the caller says; where it names a column the caller has decided.

    Raises:
        BadRequest: with the option for either.
    """
    if told.choices or curves.standard or any(map(curves.has, ERRORS[4:])):
        return
    plain = next((column for column in curves.columns if column.curve in _HELD_OUT), None)
    if plain is None:
        return
    curve = plain.curve
    if plain.measure == "accuracy":
        curve = curve.replace("error", "accuracy")
    clean = map_option(curve, plain.name)
    robust = map_option(curve.replace("clean", "robust"), plain.name)
    unsaid = f"{what}, and column {plain.name!r} does not say whether it is clean"
    raise refusal(curves.source, f"{unsaid}; if it is, add {clean} and if it is under that attack {robust}")
