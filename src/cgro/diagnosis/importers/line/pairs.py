"""Several names before several values: `clean/adv acc 80.1/45.2`, `acc (clean, adv) = (80.1, 45.2)`; and `45/47`, which
may be a count. Pure functions."""

import re
from collections.abc import Iterable, Sequence

from cgro.diagnosis.importers.line.numerals import PERCENT
from cgro.diagnosis.vocabulary import all_known, has_measure, kinds_of, measures_of, parts_of, words_of

_ITEM = r"[A-Za-z]{1,20}(?:-?[0-9]{1,4})?"
_LISTED = re.compile(rf"(?<![A-Za-z0-9])({_ITEM}(?:\s?/\s?{_ITEM}){{1,9}})(?![A-Za-z0-9/])")
NUMBER = r"\d+(?:\.\d+)?\s?%?"
_COMMA = r"(?<=\d\.\d),|(?<=\.\d\d),|(?<=\.\d{3}),|(?<=\.\d{4}),"
"""A comma without a blank behind it, where a number has a point already."""
_BETWEEN_NUMBERS = rf"(?:\s*[/|&]\s*|\s+and\s+|,\s+|{_COMMA})"
_NUMBERS = re.compile(
    rf"\s*(?:[:=]|\s(?:is|are)(?=\s))\s*[(\[{{]?\s*({NUMBER}(?:{_BETWEEN_NUMBERS}{NUMBER}){{1,9}})"
    r"(?![\w.%/])(?:\s?[)\]}])?"
)
"""Several numbers behind a colon or an equals sign."""
_LISTED_NUMBERS = re.compile(
    rf"(?<=[A-Za-z0-9)\]])\s*(?:[:=]|\s|(?<=[)\]]))\s*[(\[]?\s*"
    rf"({NUMBER}(?:(?:{_BETWEEN_NUMBERS}|\s+){NUMBER}){{1,9}})(?![\w.%/])(?:\s?[)\]])?"
)
"""Several numbers behind a list of names."""
_ENDS_NAME = re.compile(r"[,;|:=]|\s-\s|[)\]](?=\s*\w)|(?<![\w.@/-])\d[\d.]*\s?%?(?=[\s,;|)\]])")
_PART_BEHIND = re.compile(r"(?<=[\d%])\s*[(\[]([A-Za-z]{2,10})[)\]]")
_BETWEEN_NAMES = re.compile(r"\s*[,/|&]\s*|\s+and\s+")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_BEHIND_LIST = re.compile(r"[\w\s,/|&]{1,80}[)\]}]\s*([A-Za-z][A-Za-z ]{0,40})$")
"""A list in brackets, and the words behind it."""
_VALUE = re.compile(r"\d\.\d|^\W*\d|%")
_MOST_NAMED = 200
"""Characters before several numbers in which their names stand. A choice."""


def each_of(name: str) -> tuple[str, ...] | None:
    """The names of a list, as clean/adv acc, train/test acc and loss/acc.

    Args:
        name: of several values.

    Returns:
        The name with each of the words; None where they are no kinds, no parts of the data and no measures, or all of
        one.

    Example:
        >>> each_of("test clean/adv acc"), each_of("best/current acc"), each_of("acc/test")
        (('test clean acc', 'test adv acc'), None, None)
        >>> each_of("test adv loss/acc")
        ('test adv loss', 'test adv acc')
    """
    for match in _LISTED.finditer(name):
        items = re.split(r"\s?/\s?", match[1])
        for says in (kinds_of, parts_of, measures_of):
            said = list(map(says, map(words_of, items)))
            if all(said) and len(set(said)) > 1 and len(set(items)) == len(items):
                before, after = name[: match.start()], name[match.end() :]
                return tuple(f"{before}{item}{after}" for item in items)
    return None


def with_parts_before(text: str) -> str:
    """A line in which the part of the data that stands in brackets behind several values stands before them.

    Args:
        text: of a line, without its epoch.

    Returns:
        The line; as it was where a part has several brackets, stands elsewhere too, or behind a number without a name.

    Example:
        >>> with_parts_before("nat acc 80 adv acc 55 (train) nat acc 79 adv acc 45 (test)")
        'train: nat acc 80 adv acc 55 | test: nat acc 79 adv acc 45'
        >>> with_parts_before("acc 80 (train) 79 (test)")
        'acc 80 (train) 79 (test)'
    """
    pieces = _PART_BEHIND.split(text)
    values, parts = pieces[:-1:2], pieces[1::2]
    if len(parts) < 2 or len(set(map(str.lower, parts))) < len(parts) or pieces[-1].strip(" .,;|"):
        return text
    done: list[str] = []
    for value, part in zip(values, parts, strict=True):
        words = words_of(value)
        if not has_measure(words) or parts_of(words) or not parts_of([part.lower()]):
            return text
        done.append(f"{part}: {value.strip(' ,;|')}")
    return " | ".join(done)


def paired(text: str) -> str:
    """A line in which each of several numbers stands behind its own name.

    Args:
        text: of a line.

    Returns:
        The line; where the names and the numbers are not as many, or a name says neither what is measured nor clean or
        robust, as it was.

    Example:
        >>> paired("Epoch 3, acc (clean, adv) = (80.1, 45.2)")
        'Epoch 3, acc clean: 80.1, acc adv: 45.2'
        >>> paired("test acc | test adv acc: 80.1 | 45.2"), paired("Results, test adv acc: 47.1, 45.2")
        ('test acc: 80.1, test adv acc: 45.2', 'Results, test adv acc: 47.1, 45.2')
        >>> paired("test acc clean/pgd/aa 80/45/43")
        'test acc clean: 80, test acc pgd: 45, test acc aa: 43'
    """
    if "/" in text:
        text = _unlisted(text)
    done: list[str] = []
    end = 0
    for match in _NUMBERS.finditer(text):
        named = text[max(end, match.start() - _MOST_NAMED) : match.start()]
        counts = re.fullmatch(r"\d+\s?/\s?\d+", match[1]) is not None
        pairs = _in_pairs(named, re.split(_BETWEEN_NUMBERS, match[1]), counts=counts)
        if pairs:
            done += [text[end : match.start() - len(named)], pairs]
            end = match.end()
    return "".join([*done, text[end:]])


def _unlisted(text: str) -> str:
    """A line in which each of the numbers behind a list, `clean/adv acc 80/45`, stands behind its own name; as it was
    where they are not as many."""
    done: list[str] = []
    end = 0
    for match in _LISTED_NUMBERS.finditer(text):
        start = max(end, match.start() - _MOST_NAMED)
        for before in _ENDS_NAME.finditer(text, start, match.start()):
            start = before.end()
        name = text[start : match.start()]
        names = each_of(name)
        numbers = re.split(rf"{_BETWEEN_NUMBERS}|(?<=[\d%])\s+(?=\d)", match[1])
        if names is not None and len(names) == len(numbers):
            pairs = [f"{one.strip()}: {number.strip()}" for one, number in zip(names, numbers, strict=True)]
            blank = name[: len(name) - len(name.lstrip())]
            done += [text[end:start], blank, ", ".join(pairs)]
            end = match.end()
    return "".join([*done, text[end:]])


def _in_pairs(named: str, numbers: Sequence[str], *, counts: bool) -> str:
    """The end of a text as names, each with its number behind it; empty where they are not as many.

    `counts` says whether the numbers may be a count and its total."""
    tail = ""
    behind = _BEHIND_LIST.search(named)  # [clean, adv] test accuracy
    if behind is not None and has_measure(words_of(behind[1])) and all_known(words_of(behind[1])):
        named, tail = named[: behind.start(1)].rstrip(), behind[1].strip()
    opening = named.rfind(_BRACKETS.get(named[-1:], "\0"))
    end = opening if opening >= 0 else len(named)
    cut = max(map(named[:end].rfind, ";:=)]}")) + 1
    before, common, names = named[:cut], "", named[cut:]
    if opening >= 0:
        names = named[opening + 1 : -1]
        start = max(cut, *(place + 1 for place in map(named[:opening].rfind, "|,")))
        before, common = named[:start], named[start:opening].strip()
        if not all_known(words_of(common)):
            before, common = named[:opening], ""
    own = _BETWEEN_NAMES.split(names)
    if opening < 0 and len(own) > len(numbers):
        before = named[: len(named) - len(_last(names, len(numbers)))]
        own = own[-len(numbers) :]
    own = _with_last(own)
    if len(own) != len(numbers) or len(set(map(_says, own))) > 1 or not _says(own[0]):
        return ""
    if counts and "/" not in names:
        return ""
    pairs: list[str] = []
    for name, number in zip(own, numbers, strict=True):
        whole = " ".join(filter(None, (common, name.strip(), tail)))
        pairs.append(f"{whole}: {number.strip()}")
    blank = " " if named[:1].isspace() or before.strip() else ""
    return f"{before.rstrip()}{blank}{', '.join(pairs)}"


def _last(names: str, n: int) -> str:
    """The last names of a list as they stand."""
    places = [match.end() for match in _BETWEEN_NAMES.finditer(names)]
    return names[places[-n] :]


def _with_last(names: Sequence[str]) -> list[str]:
    """Names of single words with what stands behind the first word of the last one: `train / test acc`."""
    first, _, rest = names[-1].strip().partition(" ")
    alone = [name.strip() for name in names[:-1]]
    says = set(map(_says, [*alone, first]))
    if len(says) > 1 or not says <= {"kind", "part"} or any(" " in name for name in alone):
        return list(names)
    return [*(f"{name} {rest}".strip() for name in alone), names[-1]]


def _says(name: str) -> str:
    """Whether a name of a list says what is measured, else clean or robust, else a part; empty for other words, and for
    a name with a value of its own."""
    words = words_of(name)
    if not all_known(words) or _VALUE.search(name) or (has_measure(words) and words[-1].isdigit()):
        return ""
    if has_measure(words):
        return "measure"
    if kinds_of(words):
        return "kind"
    return "part" if parts_of(words) else ""


def comma_in(name: str, value: str) -> str:
    """Why a number with a comma is not read.

    Args:
        name: that stands before it.
        value: its text.

    Returns:
        The reason.
    """
    return (
        f"{value!r} behind {name!r} may have a decimal comma, or a separator of thousands; write numbers with a "
        "decimal point and without separators"
    )


def no_count(name: str, number: str, total: str) -> str:
    """Why two whole numbers with a slash between are no count of a total.

    Args:
        name: that stands before them.
        number: before the slash.
        total: behind it.

    Returns:
        The reason not to read them; empty where they are a count.

    Example:
        >>> no_count("test acc", "8000", "10000"), no_count("test acc", "80", "45").partition(";")[0]
        ('', "'80/45' behind 'test acc' is no count of a total, and may be two values")
    """
    if int(number) <= int(total):
        return ""
    return (
        f"'{number}/{total}' behind {name!r} is no count of a total, and may be two values; "
        "write each behind a name of its own"
    )


def changing_total(name: str, totals: Iterable[int]) -> str:
    """Why what looked like counts may be pairs of percentages: their total changes.

    Args:
        name: that stands before them.
        totals: of its counts.

    Returns:
        The reason not to read them; empty where the total is one, or too large for a percentage.

    Example:
        >>> changing_total("test acc", [47, 48]).partition(";")[0]
        "the numbers behind 'test acc' are no counts, since their total changes: 47, 48"
        >>> changing_total("test acc", [100]), changing_total("test acc", [128, 256])
        ('', '')
    """
    found = sorted(set(totals))
    if len(found) < 2 or found[-1] > PERCENT:
        return ""
    shown = ", ".join(map(str, found[:3]))
    return (
        f"the numbers behind {name!r} are no counts, since their total changes: {shown}; they may be two values; "
        "write each behind a name of its own"
    )
