"""The figures of the remedies show predictions open and measurements filled, and no more than was measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from cgro.report.remedies import IN_DIAGRAM, Curve, Shift, Stop, courses_figure, shifts_figure
from cgro.report.style import PAPER

RHOS = [0.02, 0.035, 0.07]
PLAIN = Shift("plain-far", "plain", 1.0, [0.9, 1.1], RHOS, [80.0, 15.0, 2.0], "")
DECAY = Shift("decay-4", "weight decay", 0.2, [0.25, 0.35], RHOS, [3.0, 3.0, 2.0], "")
TRADES = Shift("trades-1", "TRADES", np.inf, [], RHOS, [np.inf] * 3, "3.1")


def test_lines_are_predicted_and_points_measured(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    shifts_figure(tmp_path / "f", [PLAIN, DECAY, TRADES], 0.035)
    left, right = drawn[0].axes
    lines = lines_of(left)
    assert list(lines) == ["plain", "weight decay"]
    assert lines["weight decay"].get_ydata().tolist() == [3.0, 3.0, 2.0]
    assert lines["weight decay"].get_marker() == IN_DIAGRAM["decay-4"].marker  # as the point has it
    points = [tuple(map(float, (line.get_xdata()[0], line.get_ydata()[0]))) for line in left.lines
              if len(line.get_xdata()) == 1]  # fmt: skip
    heights = [y for x, y in points if x == pytest.approx(0.035, rel=0.02)]
    assert any(y == pytest.approx(15.0) for y in heights)
    assert any(y == pytest.approx(4.5) for y in heights)  # 0.3 of the predicted plain N
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["TRADES", "weight decay"]
    assert any("runs to 3.1" in text.get_text() for text in right.texts)
    open_ones = [line for line in right.lines if line.get_markerfacecolor() == PAPER and len(line.get_xdata())]
    assert [float(line.get_xdata()[0]) for line in open_ones] == [0.2]


def test_courses_are_in_percent_with_their_prediction(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    curves = [Curve("fixed", [50, 500], [[0.4, 0.4], [0.5, 0.5]]), Curve("fresh", [50, 500], [[0.4, 0.4], [0.1, 0.3]])]
    stops = [Stop(5, [0.3, 0.34], [0.5, 0.5], 0.31), Stop(50, [0.1, 0.1], [0.5, 0.5], 0.09)]
    courses_figure(tmp_path / "f", curves, ([50, 500], [41.0, 19.0]), stops)
    left, right = drawn[0].axes
    lines = lines_of(left)
    assert lines["fresh noise at every step"].get_ydata() == pytest.approx([40, 20])
    assert list(lines["predicted, fresh noise"].get_ydata()) == [41.0, 19.0]
    by_n = lines_of(right)
    assert by_n["best step"].get_ydata() == pytest.approx([32, 10])
    assert by_n["best step, predicted"].get_ydata() == pytest.approx([31, 9])
    assert "%" in left.get_ylabel()
    assert "%" in right.get_ylabel()
