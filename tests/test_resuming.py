"""Whether an unfinished run may go on: settings, options of later versions, other software."""

from pathlib import Path

import pytest

from cgro import resuming
from cgro._check import BadRequest
from cgro.resuming import check_known, check_settings, with_changes

RUN = Path("runs/mine")


def test_the_same_settings_go_on_and_new_options_have_their_default() -> None:
    there = {"epochs": 3, "lr": 0.1}
    check_settings(RUN, there, {"epochs": 3, "lr": 0.1}, {})
    check_settings(RUN, there, {"epochs": 3, "lr": 0.1, "clip": 0.0}, {"clip": 0.0})
    check_settings(RUN, {**there, "clip": None}, {"epochs": 3, "lr": 0.1, "clip": None}, {})


@pytest.mark.parametrize(
    ("asked", "defaults", "message"),
    [
        ({"epochs": 4}, {}, "other settings: epochs 3 there, 4 here"),
        ({"epochs": 3, "clip": 1.0}, {"clip": 0.0}, "other settings: clip 0.0 there, 1.0 here"),
        ({"epochs": 3, "clip": None}, {}, "other settings: clip None there, None here"),
    ],
)
def test_other_settings_are_refused(asked: dict, defaults: dict, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        check_settings(RUN, {"epochs": 3}, asked, defaults)


def test_options_of_a_later_version_are_refused_by_name() -> None:
    check_known(RUN, {"cgro": "9.9"}, ["epochs"], ["epochs", "lr"])
    with pytest.raises(BadRequest, match=r"does not know \(magic\); go on with cgro 9.9"):
        check_known(RUN, {"cgro": "9.9"}, ["epochs", "magic"], ["epochs", "lr"])


def test_changes_since_the_last_time_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made_in = {**resuming.environment(), "threads": 1, "settings": {"epochs": 3}}
    now = {**resuming.environment(), "threads": 97}
    monkeypatch.setattr(resuming, "environment", lambda: now)
    resumed, words = with_changes(made_in)
    assert "97" in words
    assert resumed["settings"] == made_in["settings"]
    assert [entry["environment"]["threads"] for entry in resumed["resumed"]] == [97]
    assert with_changes(resumed) == (resumed, "")
