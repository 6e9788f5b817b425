"""Names of columns that say which row is which: they count epochs or steps, or tell seeds and runs apart."""

import re

from cgro.diagnosis.vocabulary import word_set, words_of

_GROUPS = (["seed"], ["run"], ["run", "id"], ["run", "name"], ["trial"])
_GROUP_LINE = re.compile(
    r"\W*(seed|run(?:[\s_-]?(?:id|name))?|trial)\b\s*([:=#]?)\s*(\w[\w.-]*)(?:\s*(?:/|of)\s*\d+)?\W*",
    re.IGNORECASE,
)
_STEP = word_set("step steps iter iters iteration iterations batch update updates")
_OF_COUNT = word_set("global trainer current cur idx index id no done")
"""Words beside that of what a column counts. Not num or train: train_steps and num_steps may be those of an attack."""
_EPOCHS = (["epoch"], ["epochs"], ["ep"])
_OF_EPOCH = _OF_COUNT | word_set("num number nr train training this")


def is_group(name: str) -> bool:
    """Whether a column tells which run or seed a row belongs to.

    Args:
        name: of the column.

    Returns:
        True for `seed`, `run`, `run_id`, `trial` and the like.
    """
    return words_of(name) in _GROUPS


def group_in_line(line: str) -> tuple[str, str] | None:
    """What a printed line of nothing else says of the run or seed whose lines follow.

    Args:
        line: that a program printed.

    Returns:
        The name and its value; None for any other line.

    Example:
        >>> [group_in_line(line) for line in ("Seed: 1", "=== run 2/5 ===", "Run time: 3 s", "seed 1: test acc 0.5")]
        [('seed', '1'), ('run', '2'), None, None]
    """
    match = _GROUP_LINE.fullmatch(line[:200])
    if match is None:
        return None
    name, sign, value = match.groups()
    if not sign and not any(map(str.isdigit, value)):
        return None  # "seed everything"
    return name.lower(), value


def is_step(name: str) -> bool:
    """Whether a column counts steps of the optimizer.

    Args:
        name: of the column.

    Returns:
        True for `step`, `global_step`, `iteration` and the like.
    """
    words = set(words_of(name))
    return not words.isdisjoint(_STEP) and words <= _STEP | _OF_COUNT


def is_epoch(name: str, *, alone: bool = False) -> bool:
    """Whether a name is that of a column that counts epochs.

    Args:
        name: of the column.
        alone: ask for the word alone, which goes before longer names.

    Returns:
        True for `epoch`, `Epochs` and `ep`, and unless alone for `epoch_idx`, `current_epoch` and `train/epoch`.

    Example:
        >>> [is_epoch(name) for name in ("epoch", "epoch_num", "best_epoch", "num_epochs", "epoch_time")]
        [True, True, False, False, False]
    """
    words = words_of(name)
    if words in _EPOCHS or alone:
        return words in _EPOCHS
    return "epoch" in words and set(words) <= _OF_EPOCH | {"epoch"}
