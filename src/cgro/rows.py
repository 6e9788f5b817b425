"""Rows of measurements in a run, and errors that are no fractions."""

import json
from pathlib import Path
from typing import Any

from cgro._check import BadRequest, bad
from cgro.reading import read_text


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; a last line cut short by a kill is left out.

    Args:
        path: of the file; without one there are no rows.

    Returns:
        One mapping per epoch or recorded step.

    Raises:
        BadRequest: a damaged line, or an error outside [0, 1] (says which).
    """
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    lines = read_text(path, follow=False).splitlines()
    for n, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if n < len(lines):
                raise BadRequest(f"{path}: line {n} is damaged; restore it or run again") from None
            continue
        rows.append(_checked(row, f"{path}: line {n}"))
    return rows


def _checked(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise bad(where, expected="a row of named values", got=type(row).__name__)
    if not isinstance(row.get("epoch", 0), int | float):
        raise bad(f"{where}: epoch", expected="a number", got=row["epoch"])
    for key, value in row.items():
        check_error(key, value, where)
    return row


def check_error(key: str, value: Any, where: object) -> None:
    """Refuse an error that is no fraction. Keys are those of rows and metrics; others pass.

    Args:
        key: such as robust_error/test or clean_error/train@selected_on_validation.
        value: a number, None where it is not known, or a list of these, one per seed.
        where: the file, for the message.

    Raises:
        BadRequest: a value outside [0, 1], or no number.
    """
    if not key.startswith(("clean_error/", "robust_error/")):
        return
    for one in value if isinstance(value, list) else [value]:
        if one is None:
            continue
        is_number = isinstance(one, int | float) and not isinstance(one, bool)
        if is_number and 0 <= one <= 1:  # NaN lies in no interval, and an integer of any size is compared
            continue
        raise bad(f"{where}: {key}", expected="a fraction in [0, 1]", got=one, remedy="restore the file, or run again")
