"""The figure of the bound holds both sides, and no point where a logarithmic axis has no place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from cgro.report import bound
from cgro.report.style import GAP, MARK, ROBUST


def shaped(**values: object) -> Any:
    """A value with these attributes, as findings have them."""
    return SimpleNamespace(**values)


def test_the_bound_is_drawn_as_points_with_intervals(tmp_path: Path, drawn: list[Figure]) -> None:
    sides = shaped(gap=[1.0, 1.2, 1.4], robust_loss=[4.0, 6.0], bound=[50.0])
    bound.bound_points(tmp_path / "bound", {"digits": sides})
    axes: Any = drawn[0].axes[0]
    assert not axes.patches  # no bars: their length would mean nothing on a logarithmic axis
    assert axes.get_yscale() == "log"
    points = [container.lines[0].get_ydata()[0] for container in axes.containers]
    assert points == pytest.approx([1.2, 5.0, 50.0])
    colors = [container.lines[0].get_color() for container in axes.containers]
    assert colors == [GAP, ROBUST, MARK]
    ends = [container.lines[2][0].get_segments()[0][:, 1] for container in axes.containers]
    expected = stats.t.interval(0.95, 2, 1.2, stats.sem(sides.gap))
    assert ends[0] == pytest.approx(expected)
    assert ends[1][0] == pytest.approx(0.5)  # the t interval of two seeds reaches below 0
    assert ends[2] == pytest.approx([50.0, 50.0])


def test_a_gap_below_zero_has_no_point_on_the_logarithmic_axis(tmp_path: Path, drawn: list[Figure]) -> None:
    """Tiny networks may do better on test images: such a mean is left out, the others stay."""
    sides = {
        "small": shaped(gap=[-0.1, -0.2, -0.05], robust_loss=[1.0, 1.1, 1.2], bound=[0.5, 0.6, 0.7]),
        "real": shaped(gap=[0.1, 0.2, 0.3], robust_loss=[1.0, 2.0, 3.0], bound=[1.0, 1.0, 1.0]),
    }
    assert bound.bound_points(tmp_path / "bound", sides).exists()
    axes: Any = drawn[-1].axes[0]
    gap = axes.containers[0].lines[0].get_ydata()
    assert np.isnan(gap[0])
    assert gap[1] == pytest.approx(0.2)
