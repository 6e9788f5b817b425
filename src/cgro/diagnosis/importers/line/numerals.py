"""Which numbers of a printed line are values, and which belong to a name, as the 20 of `adv acc (20 steps) 45.2`. Pure
functions."""

import functools
import re

from cgro.diagnosis.vocabulary import (
    BEST,
    OTHER_WEIGHTS,
    OWN_WEIGHTS,
    has_measure,
    is_detail,
    is_known,
    kinds_of,
    measures_of,
    says_part_or_kind,
    words_of,
)

COMPLEMENT = "\x01"
"""Stands in a line in place of "1 - " before a name, which would be read as a number of its own."""

_NUMBER = r"[-+]?(?:\d|\.\d)"
# Brackets between a name and a number, "adv acc (eps=8/255, 20 steps): 45.2": what they hold belongs to the name.
_BRACKETS = re.compile(
    rf"([A-Za-z][\w\-@./]{{0,40}}\s{{0,4}})([(\[{{])([^()\[\]{{}}]{{1,80}})([)\]}}])(?=\s*[:=]?\s*{_NUMBER})"
)
_STEPS = r"(?:steps?|iters?|iterations?|restarts?)(?![A-Za-z])"
_UNIT = rf"(?:{_STEPS}|(?:its?|norm)(?![A-Za-z]))"
_HYPHENED = re.compile(rf"-(?:{_UNIT}|\d{{1,3}}(?![\w.%/-])(?=\s*[:=]?\s*{_NUMBER}))", re.IGNORECASE)
"""What stands behind the 20 of `20-step`, the 2 of `2-norm`, and the 50 of `50-10: 45.2`, steps and restarts."""
_NORM_BEFORE = re.compile(r"(?<![A-Za-z])l_?inf\s*[:=]?\s*$", re.IGNORECASE)
_NORM_FOLLOWS = re.compile(r"\s*[,|]?\s*l_?(?:1|2|inf)(?![A-Za-z0-9])", re.IGNORECASE)
_SIZE_BEFORE = re.compile(
    r"(?<![A-Za-z])(?<!\d\s)(?<!\d)(?:eps|epsilon|radius|alpha|linf|l_inf)\s*[:=]?\s*$|@\s+$", re.IGNORECASE
)
_STEPS_BEFORE = re.compile(rf"(?<![A-Za-z])(?<!\d\s)(?<!\d)(?<!\d-){_STEPS}\s*[:=]?\s*$", re.IGNORECASE)
_STEPS_AFTER = re.compile(rf"\s?-?\s?{_STEPS}(?!\s*[:=]?\s*\d)", re.IGNORECASE)
_VALUE_FOLLOWS = re.compile(rf"\s*(?:{_UNIT}|eps|epsilon|linf|l2)?\s*[)\]}}]*\s*[:=]\s*{_NUMBER}", re.IGNORECASE)
"""`: 45.2` behind a number without a colon of its own: the colon ends the name, and the number is a part of it."""
_COLON_FOLLOWS = re.compile(rf"(?:\s*[)\]}}]+\s*[:=]?|\s*[:=])\s*{_NUMBER}")
_HYPHENED_FOLLOWS = re.compile(rf"-{_UNIT}\s*[)\]}}]*\s*[:=]?\s*{_NUMBER}", re.IGNORECASE)
_CLOCK = re.compile(r":\d\d(?![\d.])")
_CLOSED = re.compile(rf"([^()\[\]{{}}]{{0,80}})[)\]}}](\s*[:=])?\s*{_NUMBER}")
_ATTACK_NUMBER = 1000
"""Steps or restarts of an attack are fewer. A choice."""
_MOST_AFTER = 120
"""Characters behind a number that are looked at. A choice."""


_WRAPPED = re.compile(
    r"(?<!\w)(?:(?:np|numpy|torch|jnp)\.)?(?:tensor|array|float\d{0,3}|int\d{0,3})"
    r"\(\s*([^\s,()]{1,40})\s*(?:,[^()]{0,80})?\)",
    re.IGNORECASE,
)
_OF = r"(?:/|(?:out\s+)?of\b)"
_COUNT = re.compile(
    rf"(?<![\w.,/])(\d{{1,3}}(?:,\d{{3}})*|\d+)\s*{_OF}\s*([1-9]\d{{0,2}}(?:,\d{{3}})+|[1-9]\d{{2,}})(?![\w,/]|\.\d)"
)
"""A count of a total: `4,512/10,000`, `4512 / 10000`, `4512 out of 10000`."""
_COUNT_CELL = re.compile(rf"(\d+)\s*{_OF}\s*(\d+)(?:\s*[=(]\s*([\d.]+)\s*%\s*\)?)?")
_FEWEST_DIGITS = 2
"""Digits behind the point of two numbers that may be one, rounded. A choice: 0.8 and 0.84 are two."""
PERCENT = 100
"""A total up to it may be a percentage."""
_COMMAS = re.compile(r"(?<![\w.,])\d[\d.]*(?:,\d[\d.]*)+")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+\.\d*")
_ONE_MINUS = re.compile(
    r"(?<![\w.,/+@#-])(?:100|1)(?:\.0*)?\s*[-\u2212\u2013]\s*(?=[A-Za-z(])(?!step|iter|restart)", re.IGNORECASE
)
_PAIR = re.compile(r"(\d\.\d+\s?%?|\d\s?%)/(?=(?:\d+\.\d|\.\d|\d+\s?%))(?!255)")
"""Two values, `47.10/45.20`; a count of a total has no point."""


def in_one_form(text: str) -> str:
    """A line whose brackets in names hold no comma and no colon, so that they stay in one part, whose counts have no
    separators of thousands, and in which commas between digits belong to a number.

    Args:
        text: of a line.

    Returns:
        The line.

    Example:
        >>> in_one_form("adv acc (eps: 8/255, 20 steps): 45.2, loss (a, b)")
        'adv acc (eps  8/255  20 steps): 45.2, loss (a, b)'
        >>> in_one_form("adv acc 4,512/10,000 [0.44,0.46] 0,45")
        'adv acc 4512/10000 [0.44, 0.46] 0,45'
    """
    if "/" in text:
        text = _PAIR.sub(r"\1 / ", text)
    if "/" in text or "of" in text:
        text = _COUNT.sub(_in_one_word, text)
    if "," in text:
        text = _COMMAS.sub(_apart, text)
    if "1" in text:
        text = _ONE_MINUS.sub(_complement, text)
    if "(" not in text and "[" not in text and "{" not in text:
        return text
    return _BRACKETS.sub(_without_separators, text)


def unwrapped(text: str) -> str:
    """A text with the numbers of tensors and of NumPy without what is printed around them.

    Args:
        text: of a line, or of a cell.

    Returns:
        The text.

    Example:
        >>> unwrapped("tensor(0.45, device='cuda:0')"), unwrapped("acc np.float64(0.45)")
        ('0.45', 'acc 0.45')
    """
    return _WRAPPED.sub(r"\1", text)


def percentage_of(text: str) -> str:
    """The percentage that a count of a total is.

    Args:
        text: of a cell.

    Returns:
        With its sign; empty for anything else, and for a total that may be another percentage.

    Example:
        >>> [percentage_of(text) for text in ("4032/10000", "4032 of 10000 (40.32%)", "45/47", "80")]
        ['40.32%', '40.32%', '', '']
    """
    match = _COUNT_CELL.fullmatch(text.strip())
    if match is None or int(match[2]) <= PERCENT or int(match[1]) > int(match[2]):
        return ""
    percentage = 100 * int(match[1]) / int(match[2])
    if match[3] is not None and not match[3].replace(".", "", 1).isdigit():
        return ""
    if match[3] is not None and abs(float(match[3]) - percentage) > 1:
        return ""
    return f"{percentage:.10g}%"


def is_rounded(value: str, other: str) -> bool:
    """Whether two texts are one number with more and with fewer digits, two behind the point at least.

    Args:
        value: text of a number, perhaps with a percent sign.
        other: likewise.

    Returns:
        False for texts of other forms.

    Example:
        >>> is_rounded("40.32", "40.320"), is_rounded("0.8", "0.84"), is_rounded("40.32", "40.34")
        (True, False, False)
    """
    fewest = min(len(text.rstrip("%").partition(".")[2]) for text in (value, other))
    if fewest < _FEWEST_DIGITS or value.endswith("%") != other.endswith("%"):
        return False
    return abs(float(value.rstrip("%")) - float(other.rstrip("%"))) <= 0.51 / 10**fewest


def _complement(match: re.Match[str]) -> str:
    """The mark of "1 - test acc"; the text as it is where 1 is a value, "accuracy: 1.0000 - val_acc", or a label."""
    follows = re.match(r"[^|;,:=]{0,60}", match.string[match.end() :])
    if follows is None or not measures_of(words_of(follows[0])) & {"error", "accuracy"}:
        return match[0]
    before = re.split(r"[|;,(\[{]|\s-\s", match.string[: match.start()][-60:])[-1].rstrip()
    if before[-1:].isalpha() or before[-1:] in (":", "="):
        last = words_of(before)[-1:]
        if last and not last[0].isdigit() and not says_part_or_kind(last[0]):
            return match[0]  # "fold 1 - test acc", "accuracy: 1 - val_acc"
    return COMPLEMENT


def _without_separators(match: re.Match[str]) -> str:
    return match[1] + match[2] + re.sub(r"[,;|:]", " ", match[3]) + match[4]


def _in_one_word(match: re.Match[str]) -> str:
    """A count as 4512/10000; the text as it is where the second number may be another value than a total."""
    number, total = (match[group].replace(",", "") for group in (1, 2))
    if "," not in match[2] and (int(total) <= PERCENT or int(number) > int(total)):
        return match[0]
    return f"{number}/{total}"


def _apart(match: re.Match[str]) -> str:
    """Numbers of a list, apart: where one has a point, no comma is a decimal one."""
    if "." not in match[0]:
        return match[0]
    if _THOUSANDS.fullmatch(match[0]):
        return match[0].replace(",", "")
    return match[0].replace(",", ", ")


def is_other_number(raw: str, match: re.Match[str], after: str, value: str) -> bool:
    """Whether a number without a name is something else than another value: a deviation, an interval, a time, a count.

    Args:
        raw: between it and the number before it.
        match: of the number, its total and its percent sign.
        after: what follows it.
        value: text of the number before it.

    Returns:
        False where it could be the value as well.
    """
    between = raw.strip()
    if "\u00b1" in between or "+" in between or "[" in between or match[1][0] in "+-" or match[2]:
        return True
    says = _word_behind(after)
    is_told = is_known(says) or says in OTHER_WEIGHTS | OWN_WEIGHTS
    if between == "(" and not (is_told or after.lstrip().startswith(")")):
        return True
    if re.match(r"[-:]\d", after) or (says and not is_told):
        return True
    number = match[1].replace(",", "")
    if float(number) > 100 and not match[3]:
        return True
    in_percent = value.endswith("%")
    if between == ")" and in_percent and abs(_fraction(value) - _fraction(number + (match[3] or ""))) < 0.01:
        return True  # (4536/10000) 45.36%
    if bool(match[3]) == in_percent and not ("=" in between and in_percent):
        return False
    return abs(_fraction(value) - _fraction(number + (match[3] or ""))) < 0.01


def _word_behind(after: str) -> str:
    """The word right behind a number: a unit, as in "30 s", or what says what the number is, as in "45.2 under PGD"."""
    match = re.match(r"\s*-?([A-Za-z]+)", after)
    return "" if match is None else match[1].lower()


def _fraction(text: str) -> float:
    number = float(text.rstrip(" %"))
    if text.endswith("%"):
        number /= 100
    return number


def is_small(digits: str) -> bool:
    """Whether a number may count steps or restarts of an attack.

    Args:
        digits: of the number.

    Returns:
        True for a whole number up to 1000.
    """
    return digits.isdecimal() and int(digits[:9]) <= _ATTACK_NUMBER


def belongs_to_name(raw: str, match: re.Match[str], chunk: str) -> bool:
    """Whether a number says more about the name before it, so that the value is still to come.

    Args:
        raw: the name so far.
        match: of the number and, after a slash, its total.
        chunk: the part of the line.

    Returns:
        True for the radius, steps or restarts of an attack; False for a value, and where no name stands before.

    Example:
        >>> chunk = "adv acc (20 steps) 45.2"
        >>> numbers = re.finditer(r"([\\d.]+)()", chunk)
        >>> [belongs_to_name(chunk[: match.start()], match, chunk) for match in numbers]
        [True, False]
    """
    if not _is_named(raw):
        return False
    after = chunk[match.end() : match.end() + _MOST_AFTER]
    return _is_setting(raw, match, after) or _is_bracketed(raw, match, after) or _ends_name(raw, match, after)


def begins_name(raw: str, match: re.Match[str], chunk: str) -> bool:
    """Whether a number is part of a name that tells an attack and nothing else, as in a list of radii or steps.

    Args:
        raw: between it and the number before it.
        match: of the number and, after a slash, its total.
        chunk: the part of the line.

    Returns:
        True for the 4 of `eps=4/255: 37.2` and the 20 of `20-step: 44.0`; False where no value follows.

    Example:
        >>> chunk = "adv acc 10-step: 45.2 20-step: 44.0"
        >>> begins_name(" ", re.search("(20)()", chunk), chunk)
        True
    """
    after = chunk[match.end() : match.end() + _MOST_AFTER]
    words = words_of(raw)
    if not all(map(is_detail, words)):
        return False
    return _HYPHENED_FOLLOWS.match(after) is not None or (bool(words) and _COLON_FOLLOWS.match(after) is not None)


@functools.lru_cache(maxsize=10_000)
def _is_named(raw: str) -> bool:
    """Whether a text names a measure, or says clean or robust; in a log it comes again in every line."""
    words = words_of(raw)
    return has_measure(words) or bool(kinds_of(words))


def _is_setting(raw: str, match: re.Match[str], after: str) -> bool:
    """Whether words beside a number say that it is a radius, or counts steps."""
    if _SIZE_BEFORE.search(raw):
        is_whole = match[1].isdecimal()
        return not (_NORM_BEFORE.search(raw) and (_NORM_FOLLOWS.match(after) or not (after.strip() or is_whole)))
    if not is_small(match[1]) or match[2]:
        return False
    if _STEPS_BEFORE.search(raw) or _HYPHENED.match(after):
        return True
    return raw.rstrip()[-1:] not in (":", "=") and _STEPS_AFTER.match(after) is not None


def _is_bracketed(raw: str, match: re.Match[str], after: str) -> bool:
    """Whether a number stands in brackets between a name and another number."""
    opening = max(map(raw.rfind, "([{"))
    if (
        opening <= max(map(raw.rfind, ")]}"))
        or not words_of(raw[:opening])
        or raw[:opening].rstrip()[-1:] in (":", "=")
    ):
        return False
    closed = _CLOSED.match(after)
    if closed is None:
        return False
    before = [word for word in words_of(raw[opening + 1 :]) if not word.isdigit()]
    if before and (has_measure(before[-1:]) or before[-1] in BEST):
        return False  # "acc (best 47.1) 45.2": a value of its own
    if before and kinds_of(before[-1:]):
        return is_small(match[1])
    if before or any(not word.isdigit() for word in words_of(closed[1])):
        return True
    return bool(closed[2] or match[2])


def _ends_name(raw: str, match: re.Match[str], after: str) -> bool:
    """Whether the colon or equals sign between a name and its value comes only behind a number."""
    if raw.rstrip()[-1:] in (":", "=") or not _VALUE_FOLLOWS.match(after) or _CLOCK.match(after):
        return False
    if match[2]:
        return match[2] == "255"  # of pixels: a radius; else a count of a total
    last = [word for word in words_of(raw) if not word.isdigit()][-1:]
    if last and kinds_of(last):
        return is_small(match[1])
    return match[1].isdecimal() or not has_measure(last)
