"""What the name of a printed number leaves out, taken from what its line says before it. Pure functions."""

import functools
import re
from collections.abc import Sequence

from cgro.diagnosis.vocabulary import (
    MODELS,
    aspects_of,
    has_measure,
    is_detail,
    kinds_of,
    measures_of,
    parts_of,
    words_of,
)

_LAST_WORD = re.compile(r"\W*[A-Za-z]+\W*$")


def with_measure(own: str, measure: str, last: str) -> str:
    """A name that only says a part, or clean or robust, with the measure of what stands before the colon, as in "Test
    error: clean 19.2, pgd 54.8"; or a part with the name before it, as in "Adversarial accuracy - Train: 55. Test: 45";
    or another attack, norm or radius in the place of that of the name before it, as in "test PGD-10 acc 31, PGD-50 30".

    Behind a name that has its part at another place the two contradict each other, so that it is asked for.

    Args:
        own: the words before a number.
        measure: the word for an error or accuracy in what stands before the colon.
        last: the name before it in the line that has a measure.

    Returns:
        The name, with a measure where one of the two gives it.

    Example:
        >>> with_measure("pgd", "error", ""), with_measure("Test", "", "adv acc train")
        ('error pgd', 'adv acc Test')
        >>> with_measure("Test", "", "train adv acc")
        'train adv acc Test'
    """
    words = words_of(own)
    another = _in_place(own, last)
    if another:
        return another
    begins = not last and _tells_which(words)  # "robust acc: eps 2: 45.2"; behind another name eps may be a setting
    if measure and all(parts_of([w]) or kinds_of([w]) or w.isdigit() or (begins and is_detail(w)) for w in words):
        return f"{measure} {own}"
    if not last or not all(map(_says_part, words)):
        return own
    before = _LAST_WORD.sub("", last)
    if before and _says_part(words_of(last)[-1]) and has_measure(words_of(before)):
        return f"{before} {own}"
    return f"{last} {own}"


def _tells_which(words: Sequence[str]) -> bool:
    """Whether words tell an attack, and which: PGD-50, L2 or eps=4/255, and not eps before its value."""
    if not all(kinds_of([word]) or is_detail(word) for word in words):
        return False
    return bool(kinds_of(words)) or any(word[-1:].isdigit() or word in ("linf", "inf") for word in words)


def _in_place(own: str, last: str) -> str:
    """The name before it in the line with another attack, norm, radius or number of steps, or clean in place of robust;
    empty where the two do not tell the same of an attack: `robust acc 45 | l2 1.5` may be anything."""
    words, before = words_of(own), words_of(last)
    kinds, earlier = kinds_of(words), kinds_of(before)
    if set(words) <= set(before) or measures_of(before) not in ({"error"}, {"accuracy"}) or not _tells_which(words):
        return ""
    is_other_kind = bool(kinds and earlier) and kinds != earlier
    if not is_other_kind and not aspects_of(words) & aspects_of(before):
        return ""
    kept: list[str] = []
    for word in before:
        if not is_detail(word) and not (kinds and kinds_of([word])):
            kept.append(word)
    return " ".join([*kept, own])


@functools.lru_cache(maxsize=10_000)
def measure_in(text: str) -> str:
    """The word for an error or accuracy in a text.

    Args:
        text: before a colon, in brackets or alone.

    Returns:
        Empty where it has none, or a loss beside.
    """
    words = words_of(text)
    if measures_of(words) not in ({"error"}, {"accuracy"}):
        return ""
    return next((word for word in words if has_measure([word])), "")


@functools.lru_cache(maxsize=10_000)
def completed(own: str, header: str, part: str) -> str:
    """A name with the words of a header that it lacks, else with a part. What contradicts it stays in the name, so that
    it is not understood.

    Args:
        own: the name.
        header: words that say a part, or clean or robust.
        part: of the name before it in the line.

    Returns:
        The whole name.
    """
    words, outer = words_of(own), words_of(header)
    its_parts, outer_parts = parts_of(words), parts_of(outer)
    missing: list[str] = []
    if not kinds_of(words):
        missing += _kind_words(outer)
    if not its_parts or (missing and its_parts != outer_parts):
        missing += filter(_says_part, outer)
    if not its_parts and not outer_parts and part:
        missing.append(part)
    return " ".join([*missing, own])


@functools.lru_cache(maxsize=10_000)
def relevant(text: str) -> str:
    """The words of a text that say a part, or clean or robust, and whether that is said of a network.

    Args:
        text: without a number.

    Returns:
        The words with blanks between.
    """
    words = words_of(text)
    kinds = _kind_words(words)
    return " ".join(word for word in words if word in kinds or _says_part(word))


def _kind_words(words: Sequence[str]) -> list[str]:
    """The words that say clean or robust, and a model or network right behind one."""
    found: list[str] = []
    for word in words:
        if kinds_of([word]) or (word in MODELS and found):
            found.append(word)
    return found


def _says_part(word: str) -> bool:
    return bool(parts_of([word]))
