"""Published numbers stand only beside a run of the same setting."""

from typing import Any

import pytest

from cgro.report.curves import Epoch
from cgro.report.published import compare

ERRORS = (0.6, 0.47, 0.54, 0.54, 0.54, 0.54, 0.54)
EPOCHS = [Epoch(k, None, {"robust_error/test": error}) for k, error in enumerate(ERRORS)]
SETTING = {"data": "cifar10", "model": "preactresnet", "p": "inf", "radius": "8/255", "width": None}


def test_the_same_setting_is_compared() -> None:
    """Rice, Wong and Kolter (ICML 2020), Table 1: 53.92% at the end of training, 46.51% at the best epoch."""
    last, lowest = compare(SETTING, EPOCHS)
    assert (last.what, last.ours, last.theirs) == ("mean of the last five", pytest.approx(54.0), 53.92)
    assert last.delta == pytest.approx(0.08)
    assert (lowest.what, lowest.ours, lowest.theirs) == ("selected on test", pytest.approx(47.0), 46.51)
    assert lowest.delta == pytest.approx(0.49)


@pytest.mark.parametrize(
    "change",
    [{"radius": "0.1"}, {"data": "mnist"}, {"model": "lenet"}, {"p": 2}, {"width": 32}, {"model": None}],
)
def test_another_setting_is_not(change: dict[str, Any]) -> None:
    assert compare({**SETTING, **change}, EPOCHS) == []
    assert compare(SETTING, [Epoch(1, None, {"clean_error/test": 0.1})]) == []


@pytest.mark.parametrize("radius", ["abc", "1/0", [], {}, "8/255/3", True, None, float("nan"), "1" * 400])
def test_any_radius_in_the_settings_is_no_error(radius: Any) -> None:
    assert compare({**SETTING, "radius": radius}, EPOCHS) == []
