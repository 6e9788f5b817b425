"""Numbers of finished runs, as artifacts read them."""

from collections.abc import Iterable, Mapping, Sequence

from cgro._check import bad
from cgro.experiments.seeds import percent
from cgro.results import Metric, Summary

Row = Mapping[str, float]
"""A row of metrics.jsonl."""


def known(metric: Metric) -> float:
    """The value of a metric; over seeds the mean.

    Args:
        metric: of a run.

    Returns:
        The number.

    Raises:
        BadRequest: it is not known.
    """
    found = metric.typical
    if found is None:
        raise bad("a metric", expected="a number", got="none")
    return float(found)


def numbers(summaries: Iterable[Summary], key: str) -> list[float]:
    """A metric of several runs; see `Summary.number`.

    Args:
        summaries: one per seed.
        key: of the metric.

    Returns:
        One value per seed.
    """
    return [summary.number(key) for summary in summaries]


def errors(summaries: Iterable[Summary], key: str) -> list[float]:
    """An error of several runs, in percent.

    Args:
        summaries: one per seed.
        key: of the error.

    Returns:
        One number per seed.
    """
    return percent(numbers(summaries, key))


def accuracies(summaries: Iterable[Summary], key: str) -> list[float]:
    """Percent right on the examples of an error.

    Args:
        summaries: one per seed.
        key: of the error.

    Returns:
        One number per seed.
    """
    return [accuracy(error) for error in numbers(summaries, key)]


def accuracy(error: float) -> float:
    """Percent right from an error.

    Args:
        error: a fraction in [0, 1].

    Returns:
        Percent.

    Example:
        >>> accuracy(0.25)
        75.0
    """
    return 100 * (1 - error)


def per_seed(metric: Metric) -> list[float]:
    """The values of a metric.

    Args:
        metric: of one seed or of several, all of which are known.

    Returns:
        One number per seed.

    Raises:
        BadRequest: a seed has none.
    """
    found = []
    for value in metric.by_seed:
        if value is None:
            raise bad("a metric", expected="a number for every seed", got="none")
        found.append(float(value))
    return found


def n_examples(summary: Summary, key: str) -> int:
    """Examples that an error was counted on.

    Args:
        summary: of a run.
        key: of the error.

    Returns:
        Their number.

    Raises:
        BadRequest: it is no error that was counted.
    """
    metric = summary.metrics.get(key)
    error = None if metric is None else metric.error
    if error is None:
        raise bad(f"cgro {summary.command}", expected=f"a run that counted {key}", got="none")
    return error.n


def column(rows: Sequence[Row], key: str) -> list[float]:
    """An error over the epochs of one run, in percent.

    Args:
        rows: of metrics.jsonl, all of which have it.
        key: of the error.

    Returns:
        One number per row.
    """
    return [100 * row[key] for row in rows]
