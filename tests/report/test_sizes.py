"""The figure of the gap by size shows gaps, accuracies and the level at which a gap counts as closed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from cgro.report.sizes import sizes_figure


def test_gaps_and_accuracies_by_radius(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    few = SimpleNamespace(n=250, gaps=[20.0, 22.0], robust_train=[99.0, 97.0], robust_test=[79.0, 75.0])
    many = SimpleNamespace(n=8000, gaps=[4.0, 6.0], robust_train=[97.0, 95.0], robust_test=[93.0, 89.0])
    sizes_figure(tmp_path / "f", {0.1: [few, many], 0.3: [many, few]}, closed=10.0, title="MNIST")
    left, right = drawn[0].axes
    gaps = lines_of(left)
    assert gaps["radius 0.1"].get_xdata().tolist() == [250, 8000]
    assert gaps["radius 0.1"].get_ydata() == pytest.approx([21, 5])
    accuracies = lines_of(right)
    assert accuracies["radius 0.1, training"].get_ydata() == pytest.approx([98, 96])
    assert accuracies["radius 0.1, training"].get_linestyle() == "--"
    assert accuracies["radius 0.3, test"].get_ydata() == pytest.approx([91, 77])
    assert [line.get_ydata()[0] for line in left.lines][-1] == 10.0
    low, high = (
        left.collections[0].get_paths()[0].vertices[:, 1].min(),
        left.collections[0].get_paths()[0].vertices.max(),
    )
    assert low == 4.0
    assert high == 8000
