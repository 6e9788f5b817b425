"""Headings of printed texts: `Test:` says which part of the data the lines below it are of. Pure functions.

Only what looks like a heading is one: `Testing...` announces what happens next, and the values that follow may be of
anything."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

from cgro.diagnosis.importers.line.epochs import without_epochs
from cgro.diagnosis.importers.line.lines import Line
from cgro.diagnosis.vocabulary import parts_of, weights_of, word_set, words_of

_LONGEST = 60
"""Characters of a heading. A choice."""
_BESIDE = word_set("the epoch set phase results result metrics data split on evaluation")
"""Words of a heading beside the part that it names: `Results on the test set:`."""
_ACTIONS = word_set("training testing evaluating validating")
"""Words of a heading only where its shape says so: alone in a line they announce what happens next."""
_HEADING = re.compile(r"[^\w.]*([A-Za-z][A-Za-z -]{0,40}?)\s*([^\w.]*)")
_ENCLOSED = re.compile(r"\s*([\[<({=#*~-]).*([\])>}=#*~-])\s*:?\s*")


def heading_of(body: str) -> str:
    """The part of the data that a line names as a heading of the lines below it.

    Args:
        body: of the line, without what logging puts before it.

    Returns:
        train, validation or test; empty for a line that is no such heading.

    Example:
        >>> [heading_of(line) for line in ("Test:", "--- validation ---", "[Train]", "Epoch 3 / Test:", "Testing...")]
        ['test', 'validation', 'train', 'test', '']
    """
    if len(body) > _LONGEST:
        return ""
    text = without_epochs(body)
    if text != body:
        text = text.strip(" |/,;-")  # what separated it from the epoch
    match = _HEADING.fullmatch(text)
    if match is None:
        return ""
    words = words_of(match[1])
    parts = parts_of(words)
    if len(parts) != 1 or not all(map(_may_stand_in_heading, words)):
        return ""
    is_shaped = match[2].startswith(":") or _ENCLOSED.fullmatch(text) is not None
    if not is_shaped and (len(words) > 1 or not _ACTIONS.isdisjoint(words)):
        return ""
    return min(parts)


def _may_stand_in_heading(word: str) -> bool:
    return word in _BESIDE or bool(parts_of([word]))


@dataclass
class Sections:
    """Follows the headings of a text from line to line.

    A heading is in force to the next one, to a line that names an epoch or brings values of another part, and to the
    blank line behind its values. A line that counts the batches of an evaluation, `Adv Test: [40/79]`, is one of the
    line with its result. Headings of training values count only in a text that has one of held-out values too:
    where no heading says where training ends, what is printed behind it may be of the test set.

    Args:
        known: whether headings of training count.
        part: in force, with clean or robust where a count of batches says so; empty where there is none.
        has_values: whether values have stood below it.
        used: the first heading below which values stand.
    """

    known: bool
    part: str = ""
    has_values: bool = False
    used: str = ""
    _line: str = ""

    @classmethod
    def of(cls, bodies: Iterable[str]) -> "Sections":
        """Headings of a text, before its first line.

        Args:
            bodies: lines, without what logging puts before them.

        Returns:
            None in force.
        """
        return cls(not {"test", "validation"}.isdisjoint(map(heading_of, bodies)))

    def follow(self, body: str, said: Line) -> None:
        """Take note of a line that has been read.

        Args:
            body: of the line.
            said: what it says.
        """
        names = list(map(itemgetter(0), said.values))
        if said.evaluates:
            self.part, self.has_values, self._line = said.evaluates, False, body
            if any("test" in words_of(name) for name in names):  # "Eval [40/79] test acc": eval is no other part
                self.part = re.sub(r"\beval\b", "test", self.part)
            return
        heading = "" if names else heading_of(body)
        if heading and (self.known or heading != "train"):
            self.part, self.has_values, self._line = heading, False, body
            return
        if said.epoch is not None or heading or (not body and self.has_values) or (not names and weights_of(body)):
            self.part = ""
        if not self.part or not names:
            return
        for name in names:
            if parts_of(words_of(name)) - parts_of(words_of(self.part)):
                self.part = ""
                return
        self.has_values = True
        self.used = self.used or self._line
