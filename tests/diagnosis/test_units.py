"""Percent or fraction, per column."""

import numpy as np
from tests.cases import refused

from cgro.diagnosis.units import agreed_unit, unit_of


def test_units_come_from_the_whole_range() -> None:
    falls = np.array([0.62, 45.0, 0.3, 0.0])  # percent whose first and last values look like fractions
    assert unit_of("acc", falls) == "percent"
    assert unit_of("acc", falls / 100) == "fraction"
    assert unit_of("acc", np.zeros(3)) is None
    assert unit_of("acc", np.full(3, np.nan)) is None
    assert unit_of("acc percent", np.array([0.5])) == "percent"
    assert unit_of("acc", np.array([0.5, 1 + 5e-7])) == "fraction"
    refused(lambda: unit_of("acc", np.array([1.2, 0.5])), "column acc", "1.2", ":percent")
    refused(lambda: unit_of("acc", np.array([101.0])), "101")
    refused(lambda: unit_of("acc", np.array([-0.2])), "-0.2")


def test_columns_agree_or_the_caller_says() -> None:
    assert agreed_unit({"a": "percent", "b": "percent", "c": None}) == "percent"
    assert agreed_unit({"a": None}) == "fraction"
    assert agreed_unit({"a": "percent", "b": "fraction"}, told=["b"]) == "percent"
    refused(lambda: agreed_unit({"a": "percent", "b": "fraction", "c": "percent"}), "a, c in percent", "b:fraction")
