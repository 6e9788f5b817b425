"""Rows of measurements in a run, errors that are no fractions, and numbers of a summary that contradict each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from cgro._check import LARGEST_COUNT, BadRequest, bad
from cgro.reading import RepeatedKeyError, parse_json, read_text
from cgro.results.records import Json

RESTORE = "restore the file, or run again"
ROUNDING = 1e-9
"""How far numbers may be from what they are computed from. They are written with all digits; a choice."""


def read_rows(path: Path) -> list[dict[str, Json]]:
    """The rows of a `metrics.jsonl`; a last line cut short by a kill is left out.

    Args:
        path: of the file; without one there are no rows.

    Returns:
        One mapping per epoch or recorded step.

    Raises:
        BadRequest: a damaged line, a key twice, an epoch that is none, or an error outside [0, 1] (says which).
    """
    if not path.exists():
        return []
    rows: list[dict[str, Json]] = []
    lines = read_text(path, follow=False).splitlines()
    for n, line in enumerate(lines, 1):
        try:
            row = parse_json(line, f"{path}: line {n}", non_finite=True)
        except RepeatedKeyError:
            raise
        except BadRequest:
            if n < len(lines):
                raise BadRequest(f"{path}: line {n} is damaged; restore it or run again") from None
            continue
        rows.append(_checked(row, f"{path}: line {n}"))
    return rows


def _checked(row: Json, where: str) -> dict[str, Json]:
    if not isinstance(row, dict):
        raise bad(where, expected="a row of named values", got=type(row).__name__)
    epoch = row.get("epoch", 0)
    if isinstance(epoch, bool) or not isinstance(epoch, int | float) or not 0 <= epoch <= LARGEST_COUNT:
        raise bad(f"{where}: epoch", expected="a number from 0 on", got=epoch, remedy=RESTORE)
    for key, value in row.items():
        check_error(key, value, where)
    return row


def check_error(key: str, value: Json, where: object) -> None:
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
        raise bad(f"{where}: {key}", expected="a fraction in [0, 1]", got=one, remedy=RESTORE)


def check_metrics(metrics: Mapping[str, Json], where: object) -> None:
    """Refuse numbers of a summary that contradict each other; see `check_metric`.

    Args:
        metrics: by their keys.
        where: the file, for messages.

    Raises:
        BadRequest: a value that is no metric; see `check_metric`.
    """
    for key, metric in metrics.items():
        if not isinstance(metric, dict):
            raise bad(f"{where}: {key}", expected="a metric with its value", got=metric)
        check_metric(key, metric, where)


def check_metric(key: str, metric: Mapping[str, Json], where: object) -> None:
    """Refuse a number of a summary that is not what its own counts say: one that was edited by hand has no digest.

    Args:
        key: see `check_error`.
        metric: by the names of `cgro.results.Metric`; types that are wrong are left to its reader.
        where: the file, for the message.

    Raises:
        BadRequest: an error outside [0, 1]; not wrong / n, or outside of its interval; more wrong examples than
            examples; a mean that is not that of the seeds.
    """
    for name in ("value", "mean", "per_seed"):
        check_error(key, metric.get(name), where)
    value, wrong, n = metric.get("value"), metric.get("wrong"), metric.get("n")
    if _is_integer(wrong) and _is_integer(n):
        if not 0 <= wrong <= n or not n:
            raise bad(f"{where}: {key}", expected=f"0 .. {max(n, 1)} wrong of {n}", got=wrong, remedy=RESTORE)
        if _is_number(value) and abs(value - wrong / n) > ROUNDING:
            raise bad(f"{where}: {key}", expected=f"{wrong} / {n} = {wrong / n:g}", got=f"{value:g}", remedy=RESTORE)
        _check_interval(key, wrong / n, metric.get("interval"), where)
    mean, seeds = metric.get("mean"), metric.get("per_seed")
    if not _is_number(mean) or not isinstance(seeds, list):
        return
    known = [one for one in seeds if one is not None]
    if known and all(map(_is_number, known)):
        of_seeds = sum(known) / len(known)
        if abs(mean - of_seeds) > ROUNDING * max(1.0, *map(abs, known)):
            got = f"{mean:g}"
            raise bad(f"{where}: {key}", expected=f"the mean of its seeds, {of_seeds:g}", got=got, remedy=RESTORE)


def _check_interval(key: str, value: float, interval: Json, where: object) -> None:
    if not isinstance(interval, list) or len(interval) != 2 or not all(map(_is_number, interval)):
        return
    low, high = interval
    if not -ROUNDING <= low <= value + ROUNDING or not value - ROUNDING <= high <= 1 + ROUNDING:
        expected = f"an interval in [0, 1] around {value:g}"
        raise bad(f"{where}: {key}", expected=expected, got=f"[{low:g}, {high:g}]", remedy=RESTORE)


def _is_integer(value: Json) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Json) -> TypeGuard[float]:
    """Whether it is one of double precision; an integer may be longer."""
    return isinstance(value, float) or (_is_integer(value) and abs(value) <= 1 << 53)
