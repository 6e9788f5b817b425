"""One printed line -> its epoch, and its numbers under the names that stand before them. Pure functions.

"Test: Average loss: 0.8, Accuracy: 8000/10000 (80%), Robust Accuracy: 45.2%" holds three numbers. What a name leaves
out, as Accuracy does here, is taken from what the line says before it; a name that stays incomplete is left so, and the
layout of the file asks for it."""

import functools
import re
from dataclasses import dataclass, field

from cgro.diagnosis.importers.numerals import belongs_to_name, in_one_form, is_small
from cgro.diagnosis.words import has_measure, kinds_of, may_be_robust, parts_of, words_of

MOST_CHARACTERS = 4_000
"""Characters of a line that are read. A choice: what programs print for people is shorter."""

# "Epoch: [3 | 120]", "epoch=3/120", "Epoch 3 of 120", "Train Epoch: 3"; neither "Epochs: 120" nor "Best epoch: 3".
_EPOCH = re.compile(
    r"(?<![A-Za-z])epoch(?![A-Za-z])[\s:=#_'\"]{0,6}[\[(]?\s*(\d{1,7})(?:\.0+)?(?![\d.]*[\dA-Za-z])"
    r"(?:\s*(?:/|\||of)\s*\d{1,7})?\s*[\])]?",
    re.IGNORECASE,
)
_OTHER_EPOCH = re.compile(
    r"(?:best|from|resum\w*|load\w*|restor\w*|start\w*|total|every|per|until)[^|,;]*$", re.IGNORECASE
)
"""What stands before an epoch that is not the one of the lines that follow."""
_BEFORE_EPOCH = 60
"""Characters in which it stands. A choice."""
_ENDS = re.compile(r"(?<![A-Za-z])(?:took|finished|done|completed?|over|ended|end|elapsed)(?![A-Za-z])", re.IGNORECASE)
_BETWEEN = re.compile(r"[,;|]|\s-\s")
"""What separates the parts of a line."""
_TENSOR = re.compile(r"tensor\(\s*([^\s,()]{1,40})\s*(?:,[^()]{0,80})?\)", re.IGNORECASE)
# A number with what belongs to it: 8000/10000 (80%), 45.2%. Not the 20 of PGD-20 or of 20it/s, and not the 10000 of
# "10000 test images".
_VALUE = re.compile(
    r"(?<![\w.%/\-@#])([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?|nan|-?inf)"
    r"(?:/(\d+))?(\s?%)?(?:\s*\(\s*[\d.]+\s*%\s*\))?"
    r"(?![\w.%/])(?!\s+(?:\w+\s+)?(?:images|examples|samples)\b)",
    re.IGNORECASE,
)


@dataclass
class Line:
    """What a line says.

    Args:
        epoch: the epoch that it names; None where it names none.
        values: (name, text of the number), in order.
        n_test: of how many test examples a number of it is a count; None where none is.
        is_bar: whether it is the progress bar of tqdm.
        ends: whether it says that the epoch is over, so that its values stand above.
        attack: the line, if it speaks of an attack and no name of a number does.
    """

    epoch: int | None = None
    values: list[tuple[str, str]] = field(default_factory=list)
    n_test: int | None = None
    is_bar: bool = False
    ends: bool = False
    attack: str = ""


@dataclass
class _Said:
    """What a line has said so far that later names may leave out.

    Args:
        header: words of a part, or of clean or robust, that stand before a colon, in brackets or alone.
        part: the part of the last name that has one of its own.
        kinds: whether that name says clean or robust too.
    """

    header: str = ""
    part: str = ""
    kinds: frozenset[str] = frozenset()


def parse_line(body: str) -> Line:
    """Read a line.

    Args:
        body: without what logging puts before it.

    Returns:
        Its epoch and its named numbers.

    Example:
        >>> parse_line("Epoch: [3 | 120] | Natural Test Acc 0.81 | PGD20 Test Acc 0.45 |").values
        [('Natural Test Acc', '0.81'), ('PGD20 Test Acc', '0.45')]
        >>> parse_line("Test: Average loss: 0.8, Accuracy: 8000/10000 (80%), Robust Accuracy: 45.2%").values
        [('test Average loss', '0.8'), ('test Accuracy', '80%'), ('test Robust Accuracy', '45.2%')]
        >>> parse_line("Train Epoch: 2 [0/50000 (0%)]").epoch
        2
    """
    text = in_one_form(_TENSOR.sub(r"\1", body[:MOST_CHARACTERS]))
    found = Line(is_bar="%|" in text)
    if "poch" in text or "POCH" in text:
        for match in _EPOCH.finditer(text):
            if not _OTHER_EPOCH.search(text[max(0, match.start() - _BEFORE_EPOCH) : match.start()]):
                found.epoch = int(match[1])
                found.ends = _ENDS.search(text) is not None
                break
        text = _EPOCH.sub(" | ", text)
    said = _Said()
    for chunk in _BETWEEN.split(text):
        found.values += _values(chunk, said, found)
    speaks_of_attack = may_be_robust(text) and "robust" in kinds_of(_words(text))
    for name, _ in found.values:
        speaks_of_attack = speaks_of_attack and "robust" not in kinds_of(_words(name))
    if speaks_of_attack:
        found.attack = body.strip()
    return found


@functools.lru_cache(maxsize=10_000)
def _words(text: str) -> tuple[str, ...]:
    """The words of a text; names come again in every line."""
    return tuple(words_of(text))


def _values(chunk: str, said: _Said, line: Line) -> list[tuple[str, str]]:
    """The named numbers of one part of a line; without any, its words are a header for the parts that follow."""
    found: list[tuple[str, str]] = []
    start = 0
    kept = ""
    for match in _VALUE.finditer(chunk):
        raw = kept + chunk[start : match.start()]
        start = match.end()
        kept = ""
        if _tells_attack(raw, match, chunk) or belongs_to_name(raw, match, chunk):
            kept = re.sub(r"[:=]\s*$", " ", raw) + match[0]
            continue
        name = _name(raw, said)
        if name:
            found.append((name, _text_of(match)))
        if match[2] and "test" in parts_of(_words(name)):
            line.n_test = int(match[2])
    rest = _relevant(kept + chunk[start:])
    if not rest:
        return found
    if found:
        name, value = found[-1]
        found[-1] = (_completed(name, rest, ""), value)
    elif start == 0:
        said.header = rest
    return found


def _tells_attack(raw: str, match: re.Match[str], chunk: str) -> bool:
    """Whether a number belongs to the name of an attack, as in `PGD 20 Test Acc 45.2`."""
    if not raw[-1:].isspace() or not is_small(match[1]):
        return False
    words = _words(raw)
    follows = re.match(r"\s+[A-Za-z]", chunk[match.end() :]) is not None
    return follows and "robust" in kinds_of(words) and not has_measure(words)


def _text_of(match: re.Match[str]) -> str:
    """A number as a cell of a table; a count of a total becomes a percentage."""
    number, total, sign = match.groups()
    if total is not None and number.isdecimal() and int(total) > 0 and int(number) <= int(total):
        return f"{100 * int(number) / int(total):.10g}%"
    if sign:
        return f"{number}%"
    return number


def _name(raw: str, said: _Said) -> str:
    """The whole name of a number, with what the line said before; empty where no word stands before the number."""
    text = raw.rstrip(" \t:=([{->~)]}")
    place = max(map(text.rfind, ":]})>")) + 1
    own = text[place:].strip(" \t\"'*([{-=>.#!_")
    header = _relevant(text[:place])
    if header:
        said.header = header
    words = _words(own)
    if not words:
        return ""
    name = own
    if has_measure(words) or kinds_of(words):
        carried = said.part
        if said.kinds and not kinds_of(words):
            carried = ""  # "Test Robust Loss 1.5, Acc 0.45": of which kind the second one is, nobody says
        name = _completed(own, said.header, carried)
    parts = parts_of(words)
    if parts:
        said.part = min(parts)
        said.kinds = kinds_of(words)
    return name


@functools.lru_cache(maxsize=10_000)
def _completed(own: str, header: str, part: str) -> str:
    """A name with the words of a header that it lacks, else with a part. What contradicts it stays in the name, so that
    it is not understood."""
    words, outer = _words(own), _words(header)
    its_parts, outer_parts = parts_of(words), parts_of(outer)
    missing: list[str] = []
    if not kinds_of(words):
        missing += filter(_says_kind, outer)
    if not its_parts or (missing and its_parts != outer_parts):
        missing += filter(_says_part, outer)
    if not its_parts and not outer_parts and part:
        missing.append(part)
    return " ".join([*missing, own])


@functools.lru_cache(maxsize=10_000)
def _relevant(text: str) -> str:
    """The words of a text that say a part, or clean or robust."""
    return " ".join(filter(_says_any, words_of(text)))


def _says_kind(word: str) -> bool:
    return bool(kinds_of([word]))


def _says_part(word: str) -> bool:
    return bool(parts_of([word]))


def _says_any(word: str) -> bool:
    return _says_kind(word) or _says_part(word)
