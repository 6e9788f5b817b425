"""A column that was read: the sentence for the terminal, the option that names it, plain values for the summary."""

import re
import shlex

import numpy as np
import pytest

from cgro.diagnosis.columns import CURVES, ERRORS, LOSSES, Column, map_option
from cgro.diagnosis.importers import parse_map
from cgro.diagnosis.units import unit_of

NAMES = (
    "pgd",
    "PGD Acc",
    "a, b",
    "it's",
    "$HOME",
    'say "a"',
    'say "a, b"',
    "it's a, b",
    "'quoted'",
    " spaced ",
)


def test_names_are_those_of_summaries_and_each_once() -> None:
    assert len(set(CURVES)) == len(CURVES) == 3 + len(ERRORS) + len(LOSSES)
    assert {"clean_error/train", "robust_error/test", "robust_loss/validation"} <= set(CURVES)


def test_sentences() -> None:
    assert Column("lr", "lr", "number").sentence(9) == "lr: column 'lr'"
    fraction = Column("err", "clean_error/train", "error", unit="fraction", n_missing=3, n_nan=2)
    assert fraction.sentence(9) == (
        "clean error, train: column 'err' as a fraction; 3 of 9 epochs without a value (2 NaN)"
    )


def test_a_column_survives_the_summary() -> None:
    column = Column("pgd", "robust_error/test", "accuracy", "pgd 20", "percent", 1, 1, 7.0)
    assert Column(**column.to_dict()) == column


@pytest.mark.parametrize("unit", ["", ":percent", "//10000"])
@pytest.mark.parametrize("name", NAMES)
def test_options_can_be_pasted_into_a_shell(name: str, unit: str) -> None:
    option = shlex.split(map_option("robust_accuracy/test", name, unit=unit))
    assert option[0] == "--map"
    assert parse_map(option[1]) == {"robust_accuracy/test": name + unit}


@pytest.mark.parametrize("name", NAMES)
def test_so_can_those_of_a_refused_unit(name: str) -> None:
    with pytest.raises(ValueError, match="say which") as refused:
        unit_of(name, np.array([0.2, 1.2]), curve="robust_error/test")
    option = re.search(r"--map .*(?= or ':fraction')", str(refused.value))
    assert option is not None
    assert parse_map(shlex.split(option[0])[1]) == {"robust_error/test": f"{name}:percent"}
