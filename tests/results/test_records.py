"""Parts of summaries: special numbers, names with a slash, nothing unknown."""

import json
import math

import msgspec
import pytest

from cgro.results import ErrorRate, Evidence, Metric, ThreatRecord
from cgro.results.records import Real


def test_infinite_numbers_are_spelled_and_come_back() -> None:
    metric = Metric(value=math.inf, interval=(-math.inf, 2.0))
    text = json.dumps(metric.plain(), allow_nan=False)
    assert json.loads(text) == {"value": "inf", "interval": ["-inf", 2.0]}
    again = Metric.of(json.loads(text))
    assert (again.value, again.interval) == (math.inf, (-math.inf, 2.0))
    assert Metric.of({"value": math.nan}).value is None


@pytest.mark.parametrize("value", ["nan", "Infinity", True, None, [1]])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a number"):
        Real.read(value)  # type: ignore[attr-defined]


def test_names_with_a_slash() -> None:
    evidence = Evidence.of({"clean_error/test": 0.25})
    assert evidence.clean_error_test == 0.25
    assert evidence.plain() == {"clean_error/test": 0.25}


def test_unknown_and_missing_names_are_refused() -> None:
    threat = {"p": "inf", "radius": 0.1, "box": [0.0, 1.0]}
    assert ThreatRecord.of(threat).plain() == threat
    for wrong in ({**threat, "eps": 0.1}, {"p": "inf", "radius": 0.1}, {**threat, "p": "linf"}):
        with pytest.raises(msgspec.ValidationError):
            ThreatRecord.of(wrong)


def test_a_metric_is_an_error_an_average_or_a_number_over_seeds() -> None:
    error = ErrorRate(3, 10, "lower")
    metric = Metric.of_error(error, "pgd")
    assert metric.error == error
    assert metric.plain() == error.to_dict("pgd")
    seeds = Metric.over_seeds([0.1, None, 0.3])
    assert (seeds.typical, seeds.by_seed, seeds.error) == (0.2, [0.1, None, 0.3], None)
    assert Metric.over_seeds([None]).plain() == {"mean": None, "sd": None, "per_seed": [None]}
    assert Metric(value=0.5).by_seed == [0.5]
