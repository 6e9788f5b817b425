"""The names of errors are those of the types and files that hold them."""

import json
from pathlib import Path

import msgspec
import pytest

from cgro.results import keys
from cgro.results.records import Evidence
from cgro.rows import check_error

GOLDEN = Path(__file__).parents[1] / "golden" / "train_summary_shape.json"
NAMES = {name: value for name, value in vars(keys).items() if name.isupper() and name != "ON_VALIDATION"}


def test_a_name_is_its_key_spelled_in_capitals() -> None:
    """Two constants whose values were exchanged would be read as each other everywhere."""
    for name, key in NAMES.items():
        kind, part = name.split("_")
        found, measured_by = key.partition("@")[::2]
        if kind == "CERTIFIED":
            assert (found, measured_by) == (f"robust_error/{part.lower()}", "certified")
        else:
            assert (found, measured_by) == (f"{kind.lower()}_error/{part.lower()}", "")


def test_the_four_are_those_of_the_stored_types() -> None:
    stored = {field.encode_name for field in msgspec.structs.fields(Evidence)}
    assert {keys.CLEAN_TRAIN, keys.CLEAN_TEST, keys.ROBUST_TRAIN, keys.ROBUST_TEST} <= stored


def test_the_selected_epoch_is_named_as_in_the_golden_summary() -> None:
    metrics = json.loads(GOLDEN.read_text())["metrics"]
    assert {keys.CLEAN_TEST + keys.ON_VALIDATION, keys.ROBUST_TEST + keys.ON_VALIDATION} <= set(metrics)


@pytest.mark.parametrize("key", NAMES.values())
def test_each_is_taken_for_an_error(key: str) -> None:
    with pytest.raises(ValueError, match="a fraction"):
        check_error(key, 1.5, "summary.json")
