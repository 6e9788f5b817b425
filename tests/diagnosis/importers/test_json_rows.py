"""JSON in its three forms, and damaged."""

import json

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.json_rows import JsonRows


def read(text: str) -> Curves:
    (found,) = JsonRows().read(Text(text, "x"), Told({}))
    return found


ROWS = [{"epoch": e, "test_robust_acc": 0.5 + e / 100, "loss": None, "note": [1]} for e in range(12)]


def test_three_forms_of_the_same_rows() -> None:
    lists = {key: [row[key] for row in ROWS] for key in ("epoch", "test_robust_acc")}
    for text in (json.dumps(ROWS), json.dumps(lists), "\n".join(map(json.dumps, ROWS))):
        assert np.allclose(read(text)["robust_error/test"], 0.5 - np.arange(12) / 100)


def test_lists_without_epochs_are_counted_from_one() -> None:
    assert read('{"val_adv_acc": [0.5, 0.6]}').epoch.tolist() == [1, 2]


def test_nan_as_python_writes_it_is_nan_and_null_is_nothing() -> None:
    found = read(
        "\n".join(
            json.dumps({**row, "test_robust_acc": float("nan")}) if row["epoch"] > 8 else json.dumps(row)
            for row in ROWS
        )
    )
    assert (found.columns[0].n_missing, found.columns[0].n_nan, found.columns[0].nan_from) == (3, 3, 9)
    found = read(
        "\n".join(json.dumps({**row, "test_robust_acc": None}) if row["epoch"] > 8 else json.dumps(row) for row in ROWS)
    )
    assert (found.columns[0].n_missing, found.columns[0].n_nan) == (3, 0)


def test_a_last_line_that_was_cut_is_left_out() -> None:
    assert len(read("\n".join(map(json.dumps, ROWS)) + '\n{"epoch": 12, "te')) == 12


@pytest.mark.parametrize(
    "text",
    [
        '{"epoch": 1, "test_acc": 0.8, "test_acc": 0.5}\n{"epoch": 2, "test_acc": 0.8, "test_acc": 0.5}',
        '[{"epoch": 1, "test_acc": 0.8}, {"epoch": 2, "epoch": 3, "test_acc": 0.5}]',
        '{"history": {"test_acc": [0.8, 0.9], "test_acc": [0.5, 0.4]}}',
        '{"epoch": 1, "test": {"acc": 0.8, "acc": 0.5}}',
    ],
)
def test_a_key_twice_in_one_object_is_refused(text: str) -> None:
    refused(lambda: read(text), "each key once", "twice in one object")


def test_a_key_in_several_objects_is_no_repetition() -> None:
    assert len(read('{"epoch": 1, "test": {"adv_acc": 0.5}, "train": {"adv_acc": 0.6}}\n{"epoch": 2, "test": {}}')) == 2
