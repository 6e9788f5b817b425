"""Epochs of printed texts that never use the word: lines begin with `Ep 3`, `[E003]` or `[3/30]`. Pure functions.

One such line may count batches as well as epochs; a whole text tells them apart."""

import itertools
import re
from collections.abc import Sequence

from cgro.diagnosis.importers.line.epochs import epochs_of
from cgro.diagnosis.importers.line.lines import parse_line
from cgro.diagnosis.vocabulary import parts_of, words_of
from cgro.diagnosis.words import is_error, is_held_out

_TOTAL = r"(?:\s*/\s*(\d{1,6}))?"
_FORMS = (
    re.compile(
        rf"\W{{0,6}}ep(?![A-Za-z])[\s:=#._-]{{0,3}}(\d{{1,6}}){_TOTAL}(?![\d.]*[\dA-Za-z])\s*\]?", re.IGNORECASE
    ),
    re.compile(rf"\s*\[?\s*E(\d{{1,6}}){_TOTAL}\s*\]?(?![\w./])"),
    re.compile(r"\s*[\[(]?\s*(\d{1,6})\s*/\s*(\d{1,6})\s*[\])]?(?![\w./])"),
)


def with_epochs(bodies: Sequence[str]) -> tuple[list[str], str]:
    """Lines whose counters of epochs are spelled out.

    They are where no line names an epoch, the numbers begin at 0 or 1 and go on by one, of one total, and lines with
    them have errors of training and of held-out data: batches of an evaluation have the latter alone, and those of a
    training begin again with every epoch.

    Args:
        bodies: lines, without what logging puts before them.

    Returns:
        The lines and the first counter as it was printed, empty where there is none; then the lines are those given.

    Example:
        >>> with_epochs(["[1/2] train acc 0.5 test acc 0.4", "[2/2] train acc 0.6 test acc 0.3"])
        (['Epoch 1 | train acc 0.5 test acc 0.4', 'Epoch 2 | train acc 0.6 test acc 0.3'], '[1/2]')
    """
    for form in _FORMS:
        found: list[re.Match[str]] = []
        spelled: list[str] = []
        for body in bodies:
            match = form.match(body)
            if match is not None:
                found.append(match)
                body = f"Epoch {match[1]} |{body[match.end() :]}"
            spelled.append(body)
        if _counts_epochs(found) and not any(map(_names_epoch, bodies)) and _has_both_parts(spelled):
            return spelled, found[0][0].strip()
    return list(bodies), ""


def _names_epoch(body: str) -> bool:
    return bool(epochs_of(body).numbers)


def _counts_epochs(found: Sequence[re.Match[str]]) -> bool:
    """Whether numbers begin at 0 or 1, go on by one, and are all of one total."""
    if not found or int(found[0][1]) > 1 or found[0][1] == found[-1][1]:
        return False
    for earlier, later in itertools.pairwise(found):
        if int(later[1]) - int(earlier[1]) not in (0, 1) or later[2] != earlier[2]:
            return False
    total = found[-1][2]
    return total is None or int(found[-1][1]) <= int(total)


def _has_both_parts(spelled: Sequence[str]) -> bool:
    """Whether errors of training and of held-out data stand in the lines."""
    train = held_out = False
    for body in spelled:
        line = parse_line(body)
        for name, _ in line.values:
            if is_error(name):
                train = train or "train" in parts_of(words_of(name))
                held_out = held_out or is_held_out(name)
        if train and held_out:
            return True
    return False
