"""Which epoch a printed line is of. Pure functions."""

import re
from dataclasses import dataclass

MOST_CHARACTERS = 4_000
"""Characters of a line that are read. A choice: what programs print for people is shorter."""

ABOVE = "the values of an epoch stand above the line that says that it is over"
"""What is said where they do."""
ABOVE_FIRST = (
    "the values of an epoch are taken to stand above the line that names it, as training values do at the first"
)
"""What is said where no line says that an epoch is over, and those of training stand before the first epoch as well."""
ABOVE_LAST = (
    "the values of an epoch are taken to stand above the line that names it, as those above the last one come again "
    "behind it"
)
"""What is said where the network is evaluated once more when the training is over."""
_BEFORE_EPOCH = 60
"""Characters in which stands what is said of an epoch. A choice."""

_NAMED = (
    r"(?<![A-Za-z])epoch(?![A-Za-z])(?:[\s_-]{0,2}(?:no|nr|num|number|idx|index)(?![A-Za-z])\.?)?"
    r"[\s:=#_'\"]{0,6}-?[\[(]?\s*"  # "Train Epoch: [", "'epoch': ", "Epoch-3", "epoch no. 3"; not "Epochs: "
    r"(\d{1,7})(?:\.0+)?(?![\d.]*[\dA-Za-z])"  # "3", "3.0"; neither "3.5" nor "3rd"
    r"(?:\s*(?:/|\||of)\s*\d{1,7})?\s*[\])]?"  # "/120", "| 120]", "of 120"
)
_EPOCH = re.compile(_NAMED, re.IGNORECASE)
_OTHER_EPOCH = re.compile(
    r"(?:best|from|resum\w*|load\w*|restor\w*|start\w*|total|every|per|until)[^|,;]*$"  # "resuming from"
    r"|(?<![A-Za-z])(?:max|maximum|min|minimum|peak|highest|lowest|record)"
    r"(?:[^|;]*(?<![A-Za-z])(?:at|in|@)|\W{0,4})\s*$"  # "max acc 0.5 at", "Peak: "
    r"|\([^()]*\d[^()]*(?:(?<![A-Za-z])(?:at|in)|@)\s*$",  # "(47.1 at"
    re.IGNORECASE,
)
"""What stands before an epoch that is not the one of the lines that follow."""
_BESIDE_EPOCH = re.compile(r"(?:(?<![A-Za-z])(?:at|after|since)|@)\s*$", re.IGNORECASE)
"""What stands before an epoch that may be another one, where the line names two."""
_BEST_EPOCH = re.compile(
    r"(?<![A-Za-z])(?:best|max|maximum|peak|highest|lowest|record)\s+(?:so\s+far\s+)?(?:(?:at|is|in|from)\s+)?"
    rf"(?:{_NAMED})"
    r"(?=\s*(?:[|,;\t]|\s\s|$))"  # it ends its part of the line
    rf"|[(\[]\s*best\s+(?:{_NAMED})",
    re.IGNORECASE,
)
"""`best epoch: 17` as a part of its own: the values that follow are not those of the best epoch."""
_OF_TOTAL = re.compile(r"\s*[\[(]?\s*(\d{1,9})\s*(?:/|\||of)\s*\d{1,9}\s*[\])]?\s*")
_CELL = re.compile(r"\s*(?:\w{1,40}[-_./])?ep(?:och)?[\s_:#=-]{0,3}(\d{1,9})(?:\.[A-Za-z]\w{0,9})*\s*", re.IGNORECASE)
_THOUSANDS_FOLLOW = re.compile(r",\d{3}(?![\d.])")
_ENDS = re.compile(r"(?<![A-Za-z])(?:took|finished|done|completed?|over|ended|end|elapsed)(?![A-Za-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Epochs:
    """The epochs that a line names, and what stands around the first.

    Args:
        numbers: those that it may be of, each once; empty where it names none.
        before: what stands before the first; empty where there is none.
        after: what stands behind it; the whole line where there is none.
        ends: whether the line says that the epoch is over.
        doubt: why the number cannot be read; empty if it can.
    """

    numbers: tuple[int, ...]
    before: str
    after: str
    ends: bool = False
    doubt: str = ""


def epochs_of(text: str) -> Epochs:
    """Find the epochs of a line; the best one so far, or that of a checkpoint, is none of them.

    Args:
        text: of the line.

    Returns:
        The numbers, and the texts around the first.

    Example:
        >>> epochs_of("Train Epoch: 3 acc 0.5 (best epoch: 2)")
        Epochs(numbers=(3,), before='Train ', after='acc 0.5  | ', ends=False, doubt='')
    """
    if "poch" not in text and "POCH" not in text:
        return Epochs((), "", text)
    text = _BEST_EPOCH.sub(" | ", text)
    own: list[re.Match[str]] = []
    beside: list[re.Match[str]] = []
    for match in _EPOCH.finditer(text):
        before = text[max(0, match.start() - _BEFORE_EPOCH) : match.start()]
        if _OTHER_EPOCH.search(before):
            continue
        if _BESIDE_EPOCH.search(before):
            beside.append(match)
        else:
            own.append(match)
    matches = own or beside
    if not matches:
        return Epochs((), "", text)
    first = matches[0]
    doubt = ""
    if _THOUSANDS_FOLLOW.match(text, first.end()):
        got = text[first.start(1) : first.end() + 4]
        doubt = f"the epoch {got!r} may have a separator of thousands; write epochs without one"
    numbers = tuple(dict.fromkeys(int(match[1]) for match in matches))
    return Epochs(numbers, text[: first.start()], text[first.end() :], says_over(text), doubt)


def epoch_in_cell(cell: str) -> str | None:
    """The epoch in a cell of a table such as 17/200, [17/200], "17 of 200", epoch_17 or ckpt_epoch_17.pt.

    Args:
        cell: that is more than a number.

    Returns:
        Its digits; None for any other cell.

    Example:
        >>> epoch_in_cell("[17/200]"), epoch_in_cell("model_epoch_017.pt"), epoch_in_cell("step 17")
        ('17', '017', None)
    """
    match = _OF_TOTAL.fullmatch(cell[:100]) or _CELL.fullmatch(cell[:100])
    return None if match is None else match[1]


def without_epochs(text: str) -> str:
    """A text with a bar in place of each epoch that it names.

    Args:
        text: of a line.

    Returns:
        The text, of which the bars separate parts.

    Example:
        >>> without_epochs("acc 0.5 at epoch 3")
        'acc 0.5 at  | '
    """
    return _EPOCH.sub(" | ", text)


def says_over(text: str) -> bool:
    """Whether a line with an epoch says that it is over.

    Args:
        text: of the line.

    Returns:
        True for words such as took, done and elapsed.
    """
    return _ENDS.search(text[:MOST_CHARACTERS]) is not None
