"""Figures of the paper's artifacts hold the numbers that they are given, the paper's beside ours."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import stats

from cgro.report import experiments
from cgro.report.style import GAP, MARK, ROBUST


def shaped(**values: object) -> Any:
    """A value with these attributes, as findings have them."""
    return SimpleNamespace(**values)


def heights(drawing: Figure) -> list[float]:
    """Of all bars, in the order in which they were drawn."""
    return [bar.get_height() for bar in drawing.axes[0].patches if isinstance(bar, Rectangle)]


def test_learning_curves_are_means_over_seeds(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    names = ("clean_train", "clean_test", "robust_train")
    curves = {name: [[10.0, 9.0, 8.0], [12.0, 11.0, 10.0]] for name in names}
    curves["robust_test"] = [[50.0, 40.0, 44.0], [52.0, 42.0, 48.0]]
    found = shaped(epochs=[1, 2, 3], curves=shaped(**curves), drops=[2], note="", data="digits")
    experiments.curves_over_epochs(tmp_path / "curves", found)
    lines = lines_of(drawn[0].axes[0])
    assert list(lines["robust error, test"].get_ydata()) == [51.0, 41.0, 46.0]
    assert list(lines["clean error, train"].get_ydata()) == [11.0, 10.0, 9.0]
    assert list(lines["learning rate drops"].get_xdata()) == [2.5, 2.5]
    assert drawn[0].axes[0].get_title() == "digits: adversarial training, 2 seeds"


def test_width_curves_show_the_paper_beside_ours_and_the_gaps(
    tmp_path: Path, drawn: list[Figure], lines_of: Any
) -> None:
    ours = {}
    for width in (4, 8):
        accuracies = {
            "clean_test": [80.0, 82.0],
            "robust_test": [40.0, 42.0],
            "robust_train": [50.0 + width, 52.0 + width],
        }
        ours[width] = shaped(**accuracies)
    paper = {1: (85.0, 43.0, 64.0), 5: (86.0, 46.0, 97.0)}
    experiments.width_curves(tmp_path / "widths", ours, paper, "title", "width")
    left, right = drawn[0].axes
    assert list(lines_of(left)["clean test, paper"].get_ydata()) == [85.0, 86.0]
    assert list(lines_of(left)["robust train, ours"].get_ydata()) == [55.0, 59.0]
    assert list(lines_of(right)["ours"].get_ydata()) == [14.0, 18.0]
    assert list(lines_of(right)["paper"].get_ydata()) == [21.0, 51.0]


def test_bars_have_the_means_for_heights(tmp_path: Path, drawn: list[Figure]) -> None:
    groups = {"paper": {"a": [50.0], "b": [70.0]}, "ours": {"a": [50.0, 60.0], "b": [70.0, 80.0]}}
    experiments.accuracy_bars(tmp_path / "bars", groups, ["a", "b"])
    assert heights(drawn[0]) == [50.0, 70.0, 55.0, 75.0]


def test_brackets_reach_from_the_attack_to_the_certificate(tmp_path: Path, drawn: list[Figure]) -> None:
    errors = {"clean_error": [2.0], "naive_pgd": [3.0], "certified_error": [0.0]}
    task = shaped(robust_low=[80.0, 82.0], robust_high=[86.0, 88.0], **errors)
    unknown = shaped(robust_low=[80.0], robust_high=[], **errors)
    experiments.robust_brackets(tmp_path / "brackets", {"a": task, "b": unknown})
    first, second = (bar for bar in drawn[0].axes[0].patches if isinstance(bar, Rectangle))
    assert (first.get_y(), first.get_height()) == pytest.approx((81.0, 6.0))
    assert second.get_height() == pytest.approx(0.8)  # seen, though nothing is known


def test_the_law_of_sizes_is_drawn_by_norm(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    sizes = [shaped(p="2", n_times_dim=64 * n, generic=400 * n, dim=64) for n in (2, 1)]
    experiments.size_law(tmp_path / "law", sizes, {"2": 1.0})
    axes = drawn[0].axes[0]
    assert "$\\ell_2$: power of N D 1.000" in lines_of(axes)
    assert np.allclose(np.array(axes.lines[0].get_xydata()), [[64, 400], [128, 800]])


def test_the_bound_is_drawn_as_points_with_intervals(tmp_path: Path, drawn: list[Figure]) -> None:
    sides = shaped(gap=[1.0, 1.2, 1.4], robust_loss=[4.0, 6.0], bound=[50.0])
    experiments.bound_points(tmp_path / "bound", {"digits": sides})
    (axes,) = drawn[0].axes
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
        "small": SimpleNamespace(gap=[-0.1, -0.2, -0.05], robust_loss=[1.0, 1.1, 1.2], bound=[0.5, 0.6, 0.7]),
        "real": SimpleNamespace(gap=[0.1, 0.2, 0.3], robust_loss=[1.0, 2.0, 3.0], bound=[1.0, 1.0, 1.0]),
    }
    assert experiments.bound_points(tmp_path / "bound", sides).exists()
    (axes,) = drawn[-1].axes
    gap = axes.containers[0].lines[0].get_ydata()
    assert np.isnan(gap[0])
    assert gap[1] == pytest.approx(0.2)
