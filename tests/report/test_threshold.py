"""The figure of the sample threshold shows the runs and the prediction beside them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from cgro.report.style import INK, MEMORY, shades
from cgro.report.threshold import Transition, threshold_figure


def transition(rho: float, dim: int = 400) -> Transition:
    return Transition(
        rho=rho,
        patch_dim=dim,
        power=3.0,
        predicted=8.0,
        halves=[8.0, 12.0],
        overlap=0.5 * dim / 400,
        sizes=[2, 8, 32],
        memorized=[[1.0, 1.0], [0.75, 0.25], [0.0, 0.0]],
        robust_test=[[0.1, 0.3], [0.5, 0.4], [0.0, 0.0]],
    )


def test_cells_are_colored_by_robust_error_and_the_line_is_the_prediction(
    tmp_path: Path, drawn: list[Figure], lines_of: Any
) -> None:
    threshold_figure(tmp_path / "f", [transition(0.05), transition(0.02)], [transition(0.03)], [])
    left, right = drawn[0].axes[:2]
    (cells,) = left.collections
    assert np.asarray(cells.get_array()) == pytest.approx([20, 45, 0] * 2)
    assert cells.get_offsets().tolist()[:2] == [[0.05, 2.0], [0.05, 8.0]]
    (line,) = lines_of(left).values()
    assert line.get_xdata().tolist() == [0.02, 0.05]
    assert line.get_ydata().tolist() == [8.0, 8.0]
    assert right.get_xlabel() == "N / predicted N at half"


def test_shares_are_drawn_over_n_in_units_of_the_prediction(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    threshold_figure(tmp_path / "f", [transition(0.05)], [transition(0.03, 100), transition(0.03, 25_600)], [])
    lines = lines_of(drawn[0].axes[1])
    assert list(lines) == ["d = 100", "d = 25,600", "predicted half"]
    assert lines["d = 100"].get_xdata() == pytest.approx([0.25, 1.0, 4.0])
    assert lines["d = 100"].get_ydata() == pytest.approx([100, 50, 0])
    assert [line.get_color() for line in list(lines.values())[:2]] == shades(MEMORY, 2)
    ranges = [band.get_paths()[0].vertices[:, 1] for band in drawn[0].axes[1].collections]
    assert [(low_high.min(), low_high.max()) for low_high in ranges] == [(0, 100)] * 2
    assert [tick for tick in drawn[0].axes[1].get_xticks() if tick == 1.0]
    assert lines["predicted half"].get_color() == INK


def test_ratios_stand_over_the_overlap_of_every_line(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    other = replace(transition(0.07), power=4.0, halves=[16.0])
    blind = replace(transition(0.07), halves=[])
    threshold_figure(tmp_path / "f", [transition(0.05), blind], [transition(0.03, 1600)], [other])
    axes = drawn[0].axes[2]
    assert list(lines_of(axes)) == ["q = 3", "q = 4", "predicted, without overlap"]
    points = {(float(x), float(y)) for line in axes.lines[:-1] for x, y in zip(*line.get_data(), strict=True)}
    assert {(0.5, 1.25), (2.0, 1.25), (0.5, 2.0)} <= points
    assert {(0.5, 1.0), (0.5, 1.5)} <= points  # the ends of the range of seeds
    assert len(points) == 7
