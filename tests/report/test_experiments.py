"""Figures of the paper's artifacts hold the numbers that they are given, the paper's beside ours."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from cgro.report import experiments


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
    sd = 50**0.5
    tops = [text.xy[1] for text in drawn[0].axes[0].texts if isinstance(text, Annotation)]
    assert tops == pytest.approx([50.0, 70.0, 55.0 + sd, 75.0 + sd])  # above the bar of the spread, not in it
