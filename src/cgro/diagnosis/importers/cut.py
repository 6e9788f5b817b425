"""A last line that was cut off while it was written, as by a full disk, a copy of a running job or a kill."""

import re

_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d*)?")
_TAIL = 200_000
"""Characters at the end of a text that are compared. A choice: hundreds of lines."""
FEWEST = 10
"""Lines of the same form that the last one is compared with. A choice: numbers that Python writes with as few digits as
they need have as many decimals ten times by chance in one of three logs, and fewer the eleventh time in one of ten."""


def cut_line(content: str) -> str:
    """The last line of a text, where it was cut off.

    It has no end, and it is the beginning of lines above it, or its last number has fewer decimals than all of theirs,
    which have equally many: `test acc 4` below `test acc 43.39` would be an accuracy of 4%.

    Args:
        content: of a text file.

    Returns:
        The line; empty where the last line ends, or may be whole.

    Example:
        >>> rows = "".join(f"epoch {e}, acc {40 + e}.25\\n" for e in range(12))
        >>> cut_line(rows + "epoch 12, acc 5"), cut_line(rows + "epoch 12, acc 52.50"), cut_line(rows)
        ('epoch 12, acc 5', '', '')
    """
    if content.endswith(("\n", "\r")):
        return ""
    *above, last = content[-_TAIL:].splitlines() or [""]
    if last.lstrip().startswith(("{", "[")):
        return ""  # JSON, of which a line is whole if it can be read
    form = _NUMBER.sub("#", last)
    n_longer = 0
    decimals: list[int] = []
    for line in above:
        its_form = _NUMBER.sub("#", line)
        if its_form == form:
            decimals.append(_decimals(line))
        elif form.strip() and its_form.startswith(form):
            n_longer += 1
    if not decimals and n_longer >= FEWEST:
        return last
    is_alike = len(decimals) >= FEWEST and len(set(decimals)) == 1
    if is_alike and form.endswith("#") and _decimals(last) < decimals[0]:
        return last
    return ""


def _decimals(line: str) -> int:
    """Digits behind the point of the last number of a line."""
    numbers = _NUMBER.findall(line)
    if not numbers:
        return 0
    return len(numbers[-1].partition(".")[2])
