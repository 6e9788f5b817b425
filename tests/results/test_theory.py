"""What is computed from the theory: checks that were not asked for are left out, infinite predictions are spelled."""

import math

from cgro.results import ChecksRecord, IntervalCheck, PredictionRecord


def test_checks_that_were_not_asked_for_are_left_out() -> None:
    assert ChecksRecord().plain() == {}
    checks = ChecksRecord(interval=IntervalCheck(n=4, least=1.0, agrees=True))
    assert checks.plain() == {"interval": {"n": 4, "least": 1.0, "agrees": True}}
    again = ChecksRecord.of(checks.plain())
    assert again.interval
    assert again.interval.agrees
    assert not again.milp


def test_an_infinite_prediction_is_spelled() -> None:
    row = PredictionRecord(predicted=math.inf, measured=None, statement="never")
    assert row.plain() == {"predicted": "inf", "measured": None, "statement": "never"}
    assert PredictionRecord.of(row.plain()).predicted == math.inf
