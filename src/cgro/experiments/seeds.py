"""Arithmetic on numbers per seed."""

from collections.abc import Sequence


def rises(first: Sequence[float], last: Sequence[float]) -> list[float]:
    """How much a quantity rises, paired by seed.

    Args:
        first: one number per seed.
        last: of the same seeds.

    Returns:
        The second minus the first of each seed.

    Raises:
        ValueError: not as many of the one as of the other.

    Example:
        >>> rises([1.0, 2.0], [3.0, 2.5])
        [2.0, 0.5]
    """
    return [after - before for before, after in zip(first, last, strict=True)]


def ratios(denominators: Sequence[float], numerators: Sequence[float]) -> list[float]:
    """How many times as large a quantity is, paired by seed.

    Args:
        denominators: one number per seed, none 0.
        numerators: of the same seeds.

    Returns:
        The second over the first of each seed.

    Raises:
        ValueError: not as many of the one as of the other.

    Example:
        >>> ratios([2.0], [3.0])
        [1.5]
    """
    return [top / bottom for bottom, top in zip(denominators, numerators, strict=True)]


def percent(shares: Sequence[float]) -> list[float]:
    """Shares as percent.

    Args:
        shares: fractions, one per seed.

    Returns:
        100 times each.

    Example:
        >>> percent([0.25, 1.0])
        [25.0, 100.0]
    """
    return [100 * share for share in shares]
