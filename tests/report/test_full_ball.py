"""The phase map shows every cell by its phase, and the predicted lines where they are."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cgro.report.full_ball import NAMES, Boundaries, Point, phase_map

RATIOS = [0.6, 0.7, 0.8, 0.9, 1.0]
LINES = Boundaries(RATIOS, [0.0, 0.0, 1.0, 1.5, 2.0], [5.0, 4.5, 4.0, 3.5, 3.0], 0.7071)


def test_cells_are_placed_named_and_labeled(tmp_path: Path, drawn: list[Figure]) -> None:
    points = [
        Point(0.9, 2.2, "cgro", 0.0, 100.0),
        Point(0.8, 0.8, "unfitted", 87.3, 100.0),
        Point(0.8, 1.2, "unfitted", 60.0, 99.0),
    ]
    assert phase_map(tmp_path / "phases", points, LINES) == tmp_path / "phases.png"
    assert (tmp_path / "phases.svg").exists()
    axes = drawn[0].axes[0]
    places = [np.asarray(collection.get_offsets()).tolist() for collection in axes.collections]
    assert places == [[[0.9, 2.2]], [[0.8, 0.8], [0.8, 1.2]]]
    assert [text.get_text() for text in axes.texts] == ["0 / 100", "87 / 100", "60 / 99"]
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend[3:] == [NAMES["cgro"][0], NAMES["unfitted"][0]]


def test_lines_are_the_predictions_and_begin_at_the_threshold(tmp_path: Path, drawn: list[Figure]) -> None:
    phase_map(tmp_path / "phases", [], LINES)
    clean, fit, threshold = drawn[0].axes[0].lines
    assert list(clean.get_ydata()) == LINES.clean
    assert np.isnan(np.asarray(fit.get_ydata(), float)[:2]).all()
    assert list(fit.get_ydata())[2:] == [1.0, 1.5, 2.0]
    assert set(threshold.get_xdata()) == {0.7071}
