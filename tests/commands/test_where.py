"""Conditions: as numbers where both are, and refused where they cannot be met."""

from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.catalog import Listed
from cgro.commands._where import as_number, read_conditions

RUN = Listed(
    Path("runs/a"),
    "train",
    "finished",
    None,
    "",
    {"radius": "8/255", "width": 4, "model": "lenet", "quick": True, "lr": None},
    {"robust_error/test": 0.5},
)
COLUMNS = ["run", "verdict", *RUN.settings, *RUN.metrics]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("width=4", True),
        ("width=4.0", True),
        ("width!=4", False),
        ("radius=8/255", True),
        ("radius<0.1", True),
        ("radius >= 0.1", False),
        ("robust_error/test>0.49", True),
        ("model=lenet", True),
        ("model=LeNet", False),
        ("model==lenet", True),
        ("width == 4", True),
        ("model = 'lenet'", True),
        ('model != "lenet"', False),
        ("model~NET", True),
        ("model>3", False),
        ("quick=true", True),
        ("quick=false", False),
        ("lr=none", True),
        ("lr<1", False),
        ("lr!=0.1", True),
        ("verdict=none", True),
        ("run~runs/", True),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    (condition,) = read_conditions([text], COLUMNS)
    assert condition.holds(RUN) is holds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("width", "COLUMN=VALUE"),
        ("=4", "COLUMN=VALUE"),
        ("width=<4", "COLUMN=VALUE"),
        ("width===4", "COLUMN=VALUE"),
        ("widht=4", "did you mean width"),
        ("width<four", "a number"),
    ],
)
def test_what_can_never_hold_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_conditions([text], COLUMNS)


def test_an_infinite_number_is_no_number_to_compare() -> None:
    assert as_number(float("inf")) is None
