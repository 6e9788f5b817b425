"""Phase diagrams show the cells of the sweep and what the theory predicts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.report.runs import dynamics_run, sweep_run

from cgro._check import BadRequest
from cgro.report.phase import phase_diagram
from cgro.report.style import MARK, ROBUST


def changed(run: Path, *changes: dict[str, Any]) -> Path:
    """The run with these entries in its first rows."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row, change in zip(rows, changes, strict=False):
        row.update(change)
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def test_a_plane_shows_every_cell(tmp_path: Path, drawn: list[Figure]) -> None:
    run = sweep_run(tmp_path, "theorem", ("radius_ratio", "robust_weight"))
    changed(run, {"outcome": "non_finite"}, {"robust_error/test": [0.1, 0.1]})
    assert phase_diagram(run) == tmp_path / "figures" / "phase.png"
    axes = drawn[0].axes[0]
    # Cells are in the order of the grid, the first parameter outermost; it is the horizontal one.
    accuracy = np.ma.filled(axes.collections[0].get_array().reshape(3, 3).astype(float), np.nan)
    expected = np.full((3, 3), 75.0)
    expected[0, 0] = np.nan  # diverged: hatched
    expected[1, 0] = 90.0
    assert np.allclose(accuracy, expected, equal_nan=True)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("radius / signal strength", "robust weight")
    assert drawn[0].axes[1].get_ylabel() == "robust test accuracy (%)"
    assert axes.patch.get_hatch() == "////"  # seen where a cell is missing
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["predicted onset", "diverged"]
    assert axes.get_title() == "theorem, 2 seeds per cell"


def test_the_axes_end_where_the_parameters_do(tmp_path: Path, drawn: list[Figure]) -> None:
    phase_diagram(sweep_run(tmp_path, "theorem", ("n_filters", "robust_weight")))
    axes = drawn[0].axes[0]
    assert axes.get_ylim()[1] == 1.0  # the cell of weight 1 reaches half a step beyond
    assert axes.get_xlim()[1] > 1.0
    assert "diverged" not in [text.get_text() for text in drawn[0].legends[0].get_texts()]


def test_a_line_shows_three_accuracies(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    run = sweep_run(tmp_path, "theorem", ("n_filters",))
    changed(run, {"robust_error/test": [0.0, 0.5], "robust_error/train": [0.0, 0.0]})
    phase_diagram(run)
    (axes,) = drawn[0].axes
    lines = lines_of(axes)
    assert list(lines) == ["clean test", "robust training", "robust test", "predicted onset"]
    assert lines["robust test"].get_xdata().tolist() == [0.1, 0.5, 1.0]
    assert lines["robust test"].get_ydata() == pytest.approx([75, 75, 75])
    assert lines["robust training"].get_ydata() == pytest.approx([100, 75, 75])
    assert lines["robust test"].get_color() == lines["robust training"].get_color() == ROBUST
    assert lines["robust training"].get_linestyle() == "--"
    # Ratios 0.1, 0.55, 1.0 meet the predicted 0.6 a ninth of the way from the second value to the third.
    assert lines["predicted onset"].get_xdata() == pytest.approx([0.5 + 0.5 / 9] * 2)
    assert lines["predicted onset"].get_color() == MARK
    assert axes.get_xlabel() == "filters"


def test_predictions_that_are_infinite_are_no_lines(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    infinite = {"onset_ratio": "inf", "extinction_ratio": "inf"}
    phase_diagram(changed(sweep_run(tmp_path, "theorem", ("n_train",)), infinite, infinite, infinite))
    assert list(lines_of(drawn[0].axes[0])) == ["clean test", "robust training", "robust test"]


def test_a_run_of_one_setting_or_with_missing_cells_is_refused(tmp_path: Path) -> None:
    run = sweep_run(tmp_path / "a", "theorem", ("n_train",))
    (run / "metrics.jsonl").write_text("".join((run / "metrics.jsonl").read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(BadRequest, match="metrics.jsonl: expected a row for each of 3 cells"):
        phase_diagram(run)
    other = dynamics_run(tmp_path / "b")
    (other / "metrics.jsonl").write_text("")
    with pytest.raises(BadRequest, match="expected a sweep"):
        phase_diagram(other)
