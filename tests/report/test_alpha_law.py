"""The figure of the finite-size law: measured points, predicted slopes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from cgro.report.alpha_law import Growth, alpha_law_figure


def test_points_are_means_and_lines_have_the_predicted_slope(
    tmp_path: Path, drawn: list[Figure], lines_of: Any
) -> None:
    margins = np.array([[9.0, 11.0], [12.0, 12.0], [16.0, 14.0]])
    growths = [
        Growth(2.0, "fixed", [2.0, 3.0, 4.0], margins, 0.25),
        Growth(3.0, "fixed", [2.0, 3.0, 4.0], margins, 0.5),
        Growth(2.0, "scaled", [2.0, 3.0, 4.0], margins, 0.1),
    ]
    alpha_law_figure(tmp_path / "f", growths)
    fixed, scaled = drawn[0].axes
    assert (fixed.get_title(), scaled.get_title()) == ("fixed", "scaled")
    lines = lines_of(fixed)
    assert list(lines) == ["q = 2, predicted slope 0.250", "q = 3, predicted slope 0.500"]
    for line, slope in zip(lines.values(), (0.25, 0.5), strict=True):
        x, y = np.log(line.get_xdata()), np.log(line.get_ydata())
        assert np.polyfit(x, y, 1)[0] == pytest.approx(slope)
        assert y.mean() == pytest.approx(np.log(margins).mean())
    points = [line for line in fixed.lines if line.get_linestyle() == "None"]
    assert len(points) == 2
    assert points[0].get_ydata() == pytest.approx(np.exp(np.log(margins).mean(1)))
    assert len(lines_of(scaled)) == 1
