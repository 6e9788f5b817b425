"""Numbers of runs: found, in percent, or said to be missing."""

import pytest

from cgro._check import BadRequest
from cgro.experiments.metrics import accuracies, column, errors, known, n_examples, per_seed
from cgro.results import ErrorRate, Metric, OutcomeRecord, Summary
from cgro.results.keys import ROBUST_TEST


def summary(**metrics: Metric) -> Summary:
    return Summary(
        command="evaluate",
        seed=0,
        threat=None,
        outcome=OutcomeRecord(kind="completed", reason=""),
        verdict=None,
        metrics={name.replace("__", "/"): metric for name, metric in metrics.items()},
    )


ONE = summary(robust_error__test=Metric.of_error(ErrorRate(30, 120, "lower")))


def test_errors_and_accuracies_are_percent() -> None:
    assert ONE.number(ROBUST_TEST) == 0.25
    assert errors([ONE, ONE], ROBUST_TEST) == [25.0, 25.0]
    assert accuracies([ONE], ROBUST_TEST) == [75.0]
    assert n_examples(ONE, ROBUST_TEST) == 120
    assert column([{ROBUST_TEST: 0.5}, {ROBUST_TEST: 0.25}], ROBUST_TEST) == [50.0, 25.0]


def test_over_seeds_the_mean_or_each() -> None:
    metric = Metric.over_seeds([0.1, 0.3])
    assert known(metric) == pytest.approx(0.2)
    assert per_seed(metric) == [0.1, 0.3]
    assert per_seed(Metric(value=0.4)) == [0.4]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(BadRequest, match="cgro evaluate: expected a run with clean_error/test, got none"):
        ONE.number("clean_error/test")
    with pytest.raises(BadRequest, match="counted"):
        n_examples(summary(memory__score=Metric(value=1.0)), "memory/score")
    for metric in (Metric(value=None), Metric.over_seeds([0.1, None])):
        with pytest.raises(BadRequest, match="expected a number"):
            per_seed(metric)
