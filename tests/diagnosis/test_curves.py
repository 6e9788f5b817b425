"""Curves as values: rows of a program, copies of clean columns, and what is refused."""

import pytest
from tests.cases import refused

from cgro._check import BadRequest
from cgro.diagnosis import CurveRule, Curves, diagnose
from cgro.diagnosis.importers import from_table

QUICK = CurveRule(n_boot=19)


def test_copied_robust_columns_are_refused_in_any_format() -> None:
    rows = [{"epoch": t, "clean_error/test": 0.3 - t / 100, "robust_error/test": 0.3 - t / 100} for t in range(12)]
    assert diagnose(Curves.from_rows(rows)).training == "standard"


def test_a_constant_answer_is_no_copy() -> None:
    rows = [
        {"epoch": t, "clean_error/test": 0.9, "robust_error/test": 0.9, "clean_error/train": 0.9} for t in range(12)
    ]
    found = diagnose(Curves.from_rows(rows))
    assert (found.training, found.label) == ("adversarial", "collapsed")


def test_curves_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadRequest, match="3 values each, one per epoch, got robust_error/test 2"):
        Curves([1, 2, 3], {"robust_error/test": [0.5, 0.4]})


def test_rows_of_a_program() -> None:
    good = {"epoch": 1, "robust_error/test": 0.5}
    for row in ({"epoch": "x"}, {"epoch": None}, {"epoch": 10**400}, {"epoch": 10**5_000}, {}, {"epoch": []}):
        refused(lambda row=row: Curves.from_rows([good, row], {"source": "run"}), "run: epoch")
    refused(lambda: Curves([1.0, float("inf")], {}), "finite")


def test_values_that_are_not_finite_were_not_measured() -> None:
    odd = (0.5, float("inf"), float("nan"), 10**400, None)
    rows = [{"epoch": e, "robust_error/test": v} for e, v in enumerate(odd)]
    assert Curves.from_rows(rows).measured("robust_error/test")[0].tolist() == [0.0]
    assert Curves.from_rows(rows)["robust_error/test"][0] == 0.5
    for value in ("0.5", True, [0.5], {}):
        refused(lambda value=value: Curves.from_rows([{"epoch": 1, "robust_error/test": value}]), "a number")
    found = from_table([{"epoch": 1, "robust_error/test": "inf"}, {"epoch": 2, "robust_error/test": 0.5}], "table")
    assert found.measured("robust_error/test")[1].tolist() == [0.5]  # infinity does not make the others percent
    diagnose(found, rule=QUICK)
