"""Percent or fraction: decided per column from its whole range, never value by value. Pure functions."""

from collections.abc import Iterable, Mapping

import numpy as np

from cgro._check import bad
from cgro.diagnosis.columns import Unit, map_option
from cgro.diagnosis.vocabulary import words_of

PERCENT = 1.5
"""An accuracy or error above this is in percent. A choice: fractions end at 1, and no whole curve stays below 1.5%."""
ROUNDING = 1e-6
"""How far beyond 0 or 1 a value may lie for the rounding of whoever wrote it. Above single precision's 6e-8 at 1."""
SAME_LEVEL = 0.25
"""A curve goes on where its unit changes: the medians of three values on either side differ by less, in one unit. A
collapse to a hundredth of an accuracy would look alike by chance only. A choice."""
WHOLE_PART = 10
"""So many values before or after a restart that no other unit explains are a training in another unit. A choice."""
LITTLE = 0.1
"""By how many percent a training that answers one of a hundred classes varies at most. A choice."""
AS_FRACTIONS = "write every error as a fraction, such as value / 100 of percent"
ONE: Mapping[Unit, float] = {"percent": 100.0, "fraction": 1.0}
"""What stands for all examples in each unit."""


def unit_of(
    name: str, values: np.ndarray, epochs: np.ndarray | None = None, *, curve: str | None = None
) -> Unit | None:
    """Percent or fraction, from all values of a column and from its name.

    Args:
        name: of the column; `%` or `percent` in it decides.
        values: (N,) errors or accuracies in the order of the file, NaN where not measured.
        epochs: (N,) of the values; None: they are not known, and the position stands for them.
        curve: what `--map` calls it, where the caller can say the unit by that option; a message then advises it, else
            to write fractions.

    Returns:
        The unit; None where every value is 0, which is the same in both.

    Raises:
        BadRequest: values below 0 or above 100, or up to 1.5, where one cannot tell, or a unit that changes.

    Example:
        >>> values = np.array([0.62, 45.0, 0.0])
        >>> unit_of("acc", values), unit_of("acc", values / 100), unit_of("acc %", values / 100)
        ('percent', 'fraction', 'percent')
    """
    if epochs is None:
        epochs = np.arange(len(values))
    known, places = values[np.isfinite(values)], epochs[np.isfinite(values)]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    if low < -ROUNDING or high > 100 + ROUNDING:
        remedy = ""
        if curve is not None and low >= 0 and np.array_equal(known, np.round(known)):
            remedy = f"if these are counts of N examples, add {map_option(curve, name, unit='//N')}"
        raise bad(
            f"column {name}", expected="fractions in [0, 1] or percent", got=f"[{low:g}, {high:g}]", remedy=remedy
        )
    one_unit = which = AS_FRACTIONS
    if curve is not None:
        say_percent = map_option(curve, name, unit=":percent")
        one_unit = f"write one unit, or say that it is one: {say_percent}"
        which = f"say which: {say_percent} or ':fraction'"
    changed = unit_change(known, places)
    if changed is not None:
        raise bad(f"column {name}", expected="one unit", got=changed, remedy=one_unit)
    if "%" in name or {"percent", "pct"} & set(words_of(name)) or high > PERCENT:
        return "percent"
    if high > 1 + ROUNDING:
        expected = "fractions in [0, 1] or percent"
        raise bad(f"column {name}", expected=expected, got=f"values up to {high:g}", remedy=which)
    if high > ROUNDING:
        return "fraction"
    return None


def require_percent_that_vary(columns: Mapping[str, np.ndarray], curves: Mapping[str, str]) -> None:
    """Refuse columns that say percent where all of them are as fractions would be: a program that wrote 0.45 as `%`.

    A training that stays below 1% with all its errors or accuracies is one that answers a constant, and varies little.

    Args:
        columns: name -> values, NaN where not measured, of all columns that are in percent by their names or cells.
        curves: name -> what `--map` calls it.

    Raises:
        BadRequest: no value is above 1, and they vary by more than a tenth of a percent.

    Example:
        >>> curves = {"acc %": "clean_accuracy/test", "robust acc %": "robust_accuracy/test"}
        >>> require_percent_that_vary({"acc %": np.array([1.0, 1.0, 0.98])}, curves)
        >>> require_percent_that_vary({"acc %": np.array([0.3, 0.6]), "robust acc %": np.array([20.0, 40.0])}, curves)
        >>> try:
        ...     require_percent_that_vary({"acc %": np.array([0.3, 0.6])}, curves)
        ... except ValueError as error:
        ...     print(str(error).partition(";")[0])
        column acc %: expected percent, as it says, got values in [0.3, 0.6]
    """
    ranges = {}
    for name, values in columns.items():
        known = values[np.isfinite(values)]
        if len(known):
            ranges[name] = (float(known.min()), float(known.max()))
    if any(high > 1 + ROUNDING for _, high in ranges.values()):
        return
    for name, (low, high) in ranges.items():
        if high - low > LITTLE:
            raise bad(
                f"column {name}",
                expected="percent, as it says",
                got=f"values in [{low:g}, {high:g}]",
                remedy=f"say which: {map_option(curves[name], name, unit=':fraction')} or ':percent'",
            )


def unit_change(values: np.ndarray, epochs: np.ndarray) -> str | None:
    """Where a column changes from percent to fractions or back, as where two programs or runs wrote it.

    There is one place between values above 1 and values up to 1, and there either the curve goes on at a hundredth, or
    a hundred times, of its level; or the epochs start again and both parts are whole trainings. A collapse of an
    accuracy from 45% to 0.3% is none: its level changes.

    Args:
        values: (N,) in the order of the file, without NaN.
        epochs: (N,) of each.

    Returns:
        What is written from which epoch on; None where one unit explains all.

    Example:
        >>> accuracy = np.linspace(40.0, 46.0, 8)
        >>> unit_change(np.r_[accuracy, accuracy / 100], np.arange(16.0))
        'percent up to epoch 7 and fractions from epoch 8 on'
        >>> unit_change(np.r_[accuracy, [0.1, 0.0, 0.0]], np.arange(11.0))
    """
    small = values <= 1 + ROUNDING
    turns = np.nonzero(small[1:] != small[:-1])[0] + 1
    if len(turns) != 1:
        return None
    t = int(turns[0])
    large_before = not small[0]
    parts = (values[:t], values[t:]) if large_before else (values[t:], values[:t])
    if min(map(len, parts)) < 2 or parts[0].max() <= PERCENT:
        return None
    near = np.median(values[max(0, t - 3) : t]), np.median(values[t : t + 3])
    large, fraction = near if large_before else near[::-1]
    goes_on = abs(100 * fraction / large - 1) < SAME_LEVEL
    starts_again = epochs[t] <= epochs[t - 1] and min(map(len, parts)) >= WHOLE_PART
    if not (goes_on or (starts_again and epochs[t] <= epochs[0])):
        return None
    first, second = ("percent", "fractions") if large_before else ("fractions", "percent")
    return f"{first} up to epoch {epochs[t - 1]:g} and {second} from epoch {epochs[t]:g} on"


def agreed_unit(
    units: Mapping[str, Unit | None], told: Iterable[str] = (), *, curves: Mapping[str, str] | None = None
) -> Unit:
    """The one unit of the columns of a file.

    Args:
        units: column -> unit, None where it may be either.
        told: columns whose unit the caller said; they need not agree with others.
        curves: column -> what `--map` calls it; None: the caller cannot say by that option.

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
        remedy = AS_FRACTIONS
        if curves is not None:
            odd, unit = fraction[0], ":fraction"
            if len(percent) < len(fraction):
                odd, unit = percent[0], ":percent"
            below_one = ", ".join(f"'{name}:percent'" for name in fraction[:4])
            remedy = (
                f"if all are in percent, say {below_one}; if not, say so: {map_option(curves[odd], odd, unit=unit)}"
            )
        raise bad(
            "units",
            expected="all columns in percent or all as fractions",
            got=f"{', '.join(percent[:4])} in percent and {', '.join(fraction[:4])} as fractions",
            remedy=remedy,
        )
    if percent:
        return "percent"
    return "fraction"
