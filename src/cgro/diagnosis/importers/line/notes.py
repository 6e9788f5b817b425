"""Notes in brackets beside each of several values of one name: `err [41.7] (nat) [31.8] (adv)`,
`acc (train) 45 (test) 44`, `robust acc 45.2 (eps 4) 30.2 (eps 8)`. Pure functions."""

import re

from cgro.diagnosis.importers.line.pairs import NUMBER
from cgro.diagnosis.vocabulary import all_known, has_measure, kinds_of, parts_of, words_of

_VALUE = rf"(?:\[\s*({NUMBER})\s*\]|({NUMBER})(?![\w.%/]))"
_NOTE = r"[(\[]\s*([^()\[\]]{1,30}?)\s*[)\]]"
_AND = r"\s*[,/|;]?\s*"
_NAME = r"(?<![A-Za-z@#-])([A-Za-z][A-Za-z@ _-]{0,60}?)\s*[:=]?\s*"
_BEHIND = re.compile(rf"{_NAME}({_VALUE}\s*{_NOTE}(?:{_AND}{_VALUE}\s*{_NOTE})+)")
_BEFORE = re.compile(
    rf"{_NAME}({_NOTE}\s*[:=]?\s*{_VALUE}(?:{_AND}{_NOTE}\s*[:=]?\s*{_VALUE})+)(?!\s*[(\[]\s*[A-Za-z])"
)
_VALUE_AND_NOTE = re.compile(rf"{_VALUE}\s*{_NOTE}")
_NOTE_AND_VALUE = re.compile(rf"{_NOTE}\s*[:=]?\s*{_VALUE}")
_RADIUS = re.compile(r"(?:eps(?:ilon)?|radius|l_?inf|l_?2)?\s*[:=]?\s*\d+(?:\.\d+)?(?:\s?/\s?255)?", re.IGNORECASE)


def noted(text: str) -> str:
    """A line in which the note of each value stands before it, in its own name.

    Args:
        text: of a line, without its epoch.

    Returns:
        The line; as it was where a note says neither a part, nor clean or robust, nor a radius.

    Example:
        >>> noted("train err [41.7] (nat) [31.8] (adv) test err [46.2] (nat) [26.0] (adv)")
        'nat train err: 41.7, adv train err: 31.8, nat test err: 46.2, adv test err: 26.0'
        >>> noted("acc (train) 45 (test) 44"), noted("test robust acc 45.2 (eps 4) 30.2 (eps 8)")
        ('train acc: 45, test acc: 44', 'test robust acc eps 4: 45.2, test robust acc eps 8: 30.2')
        >>> noted("test acc 47.1 (best) 45.2 (last)"), noted("test acc 45.2 (44.1)")
        ('test acc 47.1 (best) 45.2 (last)', 'test acc 45.2 (44.1)')
    """
    if "(" not in text and "[" not in text:
        return text
    for pattern in (_BEHIND, _BEFORE):
        text = pattern.sub(_each_named, text)
    return text


def _each_named(match: re.Match[str]) -> str:
    """The values of a name, each behind the name with its own note; what was found as it is where a note is no name."""
    name, values = match[1].strip(), match[2]
    if not has_measure(words_of(name)):
        return match[0]
    pairs: list[tuple[str, str]] = []
    if match.re is _BEHIND:
        for bracketed, plain, note in _VALUE_AND_NOTE.findall(values):
            pairs.append((note, bracketed or plain))
    else:
        for note, bracketed, plain in _NOTE_AND_VALUE.findall(values):
            pairs.append((note, bracketed or plain))
    if not all(_tells(note) for note, _ in pairs):
        return match[0]
    parts: list[str] = []
    for note, value in pairs:
        whole = f"{name} {note}" if _RADIUS.fullmatch(note) else f"{note} {name}"
        parts.append(f"{whole}: {value.strip()}")
    named = ", ".join(parts)
    behind = match.string[match.end() :]
    if not behind.lstrip()[:1].isalpha():
        return named
    return f"{named}," if behind[0].isspace() else f"{named}, "


def _tells(note: str) -> bool:
    """Whether a note says a part, clean or robust, or a radius, and nothing else."""
    if _RADIUS.fullmatch(note):
        return True
    words = words_of(note)
    return all_known(words) and bool(parts_of(words) or kinds_of(words))
