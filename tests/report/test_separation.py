"""The histogram of distances shows each norm, the separation, and the radius that was asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.report.runs import NEAREST, separation_run

from cgro._check import BadRequest
from cgro.report.separation import nearest_histogram


def test_a_panel_per_norm_with_every_example(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    assert nearest_histogram(separation_run(tmp_path, "digits")) == tmp_path / "figures" / "separation.png"
    first, second = drawn[0].axes
    counts = np.array([bar.get_height() for bar in first.patches])
    edges = np.array([bar.get_x() for bar in first.patches])
    assert counts.sum() == len(NEAREST)
    assert counts[edges < 0.19].sum() == 0  # the empty part left of the separation is shown
    assert edges[0] == pytest.approx(0.0)
    assert sum(bar.get_height() for bar in second.patches) == len(NEAREST)
    assert list(lines_of(first)) == ["separation 0.2"]
    assert first.get_xlabel() == r"distance ($\ell_\infty$, input units)"


def test_the_radius_is_marked_at_its_double(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    nearest_histogram(separation_run(tmp_path, "digits", radius=0.3))
    assert lines_of(drawn[0].axes[0])["twice the radius 0.3"].get_xdata()[0] == 0.6


@pytest.mark.parametrize("wrong", [np.zeros(0), np.zeros((2, 2)), np.arange(3), np.array([1.0, np.nan])])
def test_damaged_distances_are_one_line(wrong: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="nearest.npz: expected a list of distances at 2"):
        nearest_histogram(separation_run(tmp_path, "digits", **{"2": wrong}))
