"""Percent or fraction: decided per column from its whole range, never value by value. Pure functions."""

from collections.abc import Iterable, Mapping

import numpy as np

from cgro._check import bad
from cgro.diagnosis.columns import Unit
from cgro.diagnosis.words import words_of

PERCENT = 1.5
"""An accuracy or error above this is in percent. A choice: fractions end at 1, and no whole curve stays below 1.5%."""
ROUNDING = 1e-6
"""How far beyond 0 or 1 a value may lie for the rounding of whoever wrote it. Above single precision's 6e-8 at 1."""
ONE: Mapping[Unit, float] = {"percent": 100.0, "fraction": 1.0}
"""What stands for all examples in each unit."""


def unit_of(name: str, values: np.ndarray) -> Unit | None:
    """Percent or fraction, from all values of a column and from its name.

    Args:
        name: of the column; `%` or `percent` in it decides.
        values: (N,) errors or accuracies, NaN where not measured.

    Returns:
        The unit; None where every value is 0, which is the same in both.

    Raises:
        BadRequest: values below 0 or above 100, or up to 1.5, where one cannot tell.

    Example:
        >>> values = np.array([0.62, 45.0, 0.0])
        >>> unit_of("acc", values), unit_of("acc", values / 100), unit_of("acc %", values / 100)
        ('percent', 'fraction', 'percent')
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    if low < -ROUNDING or high > 100 + ROUNDING:
        raise bad(f"column {name}", expected="fractions in [0, 1] or percent", got=f"[{low:g}, {high:g}]")
    if "%" in name or {"percent", "pct"} & set(words_of(name)) or high > PERCENT:
        return "percent"
    if high > 1 + ROUNDING:
        raise bad(
            f"column {name}",
            expected="fractions in [0, 1] or percent",
            got=f"values up to {high:g}",
            remedy=f"say which: --map CURVE='{name}:percent' or ':fraction'",
        )
    if high > ROUNDING:
        return "fraction"
    return None


def agreed_unit(units: Mapping[str, Unit | None], told: Iterable[str] = ()) -> Unit:
    """The one unit of the columns of a file.

    Args:
        units: column -> unit, None where it may be either.
        told: columns whose unit the caller said; they need not agree with others.

    Returns:
        The unit of those that did not say.

    Raises:
        BadRequest: some are in percent and some are fractions; names them and the option that decides.

    Example:
        >>> agreed_unit({"a": "percent", "b": None})
        'percent'
    """
    kept = {name: unit for name, unit in units.items() if name not in set(told)}
    percent = [name for name, unit in kept.items() if unit == "percent"]
    fraction = [name for name, unit in kept.items() if unit == "fraction"]
    if percent and fraction:
        odd = f"{fraction[0]}:fraction"
        if len(percent) < len(fraction):
            odd = f"{percent[0]}:percent"
        raise bad(
            "units",
            expected="all columns in percent or all as fractions",
            got=f"{', '.join(percent[:4])} in percent and {', '.join(fraction[:4])} as fractions",
            remedy=f"say so: --map CURVE='{odd}'",
        )
    if percent:
        return "percent"
    return "fraction"
