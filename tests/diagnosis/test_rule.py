"""Thresholds of the verdict on curves."""

from dataclasses import asdict

from cgro.definitions import DEFAULT_RULE
from cgro.diagnosis.rule import CurveRule


def test_thresholds_are_plain_values_that_a_summary_stores() -> None:
    plain = asdict(CurveRule())
    assert plain.pop("point") == asdict(DEFAULT_RULE)
    assert all(isinstance(value, int | float) for value in plain.values())
