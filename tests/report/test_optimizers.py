"""The figure of widths by optimizer shows PGD and ensemble of each, and the gaps."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from cgro.report.optimizers import optimizer_curves


def networks(test: float) -> SimpleNamespace:
    return SimpleNamespace(
        robust_train=[90.0, 92.0],
        robust_test=[test, test + 2],
        gaps=[90.0 - test, 90.0 - test],
        beside=SimpleNamespace(ensemble=[test - 10, test - 12]),
    )


def test_accuracies_and_gaps_by_optimizer(tmp_path: Path, drawn: list[Figure]) -> None:
    starts = {"SGD": {2: networks(70), 16: networks(75)}, "Adam": {4: networks(60), 16: networks(61)}}
    optimizer_curves(tmp_path / "f", starts, "MNIST")
    left, right = drawn[0].axes
    shown: dict[str, Any] = {bars.get_label(): bars.lines[0].get_ydata() for bars in left.containers}
    assert shown["SGD: training, PGD"] == pytest.approx([91, 91])
    assert shown["SGD: test, PGD"] == pytest.approx([71, 76])
    assert shown["Adam: test, ensemble"] == pytest.approx([49, 50])
    assert [bars.get_label() for bars in right.containers] == ["SGD", "Adam"]
    assert right.containers[0].lines[0].get_ydata() == pytest.approx([20, 15])
    assert left.get_xticks().tolist() == [2, 4, 16]
