"""Two values behind one name: `clean/adv acc 80.1/45.2`, and `45/47`, which may be a count. Pure functions."""

import re
from collections.abc import Iterable

from cgro.diagnosis.vocabulary import kinds_of, parts_of

_LISTED = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]+)\s?/\s?([A-Za-z]+[0-9]*)(?![A-Za-z0-9/])")
_PERCENT = 100
"""A total up to it may be a percentage."""


def each_of(name: str) -> tuple[str, str] | None:
    """The two names of a list, as clean/adv acc and train/test acc.

    Args:
        name: of two values.

    Returns:
        The name with the first and with the second word; None where it lists no two kinds, or two parts of the data.

    Example:
        >>> each_of("test clean/adv acc"), each_of("best/current acc"), each_of("acc/test")
        (('test clean acc', 'test adv acc'), None, None)
    """
    for match in _LISTED.finditer(name):
        first, second = match[1].lower(), match[2].lower()
        for says in (kinds_of, parts_of):
            if says([first]) and says([second]) and says([first]) != says([second]):
                before, after = name[: match.start()], name[match.end() :]
                return f"{before}{match[1]}{after}", f"{before}{match[2]}{after}"
    return None


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
    if len(found) < 2 or found[-1] > _PERCENT:
        return ""
    shown = ", ".join(map(str, found[:3]))
    return (
        f"the numbers behind {name!r} are no counts, since their total changes: {shown}; they may be two values; "
        "write each behind a name of its own"
    )
