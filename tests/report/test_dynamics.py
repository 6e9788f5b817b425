"""Figures of the simulator show the records of the run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tests.report.runs import boundary, dynamics_rows, dynamics_run, dynamics_summary, make_run, sweep_run

from cgro._check import BadRequest
from cgro.report.dynamics import _largest, filters_figure, filters_gif, stages_figure
from cgro.report.style import ROBUST


def test_stages_are_those_of_the_run(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    assert stages_figure(dynamics_run(tmp_path)) == tmp_path / "figures" / "stages.png"
    upper, lower = drawn[0].axes
    rows = dynamics_rows()[1:]  # step 0 has no place on a logarithmic axis
    signal = lines_of(upper)[r"signal learned, $\alpha^q U$"]
    assert signal.get_xdata().tolist() == [row["step"] for row in rows]
    assert signal.get_ydata() == pytest.approx([np.mean(row["signal_margin"]) for row in rows])
    noise = lines_of(upper)["noise learned, mean $V_i$"]
    assert noise.get_ydata() == pytest.approx([np.mean(row["noise_learned"]) for row in rows])
    accuracies = lines_of(lower)
    assert list(accuracies) == ["robust accuracy, train", "robust accuracy, test"]
    train, test = accuracies.values()
    assert train.get_ydata() == pytest.approx([55.0] * 4)
    assert test.get_ydata() == pytest.approx([60.0] * 4)
    assert train.get_color() == test.get_color() == ROBUST
    assert (train.get_linestyle(), test.get_linestyle()) == ("--", "-")
    band = lower.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((50, 70))  # the range over seeds
    assert (
        " ".join(upper.get_title().split()) == "theorem: radius 0.5 x signal, robust weight 0.5; 2 seeds, range shaded"
    )
    assert [axes.get_ylabel() for axes in (upper, lower)] == ["contribution to the margin (logits)", "accuracy (%)"]


def test_boundaries_of_stages_are_marked(tmp_path: Path, drawn: list[Figure]) -> None:
    every = {
        "signal_growth_end": boundary(9.0, 11.0),
        "memorization_start": boundary(90.0, 110.0),
        "memorization_end": boundary(500.0, 700.0),
    }
    stages_figure(dynamics_run(tmp_path / "one"))
    stages_figure(dynamics_run(tmp_path / "all", stages=every, calibrated=True))
    stages_figure(dynamics_run(tmp_path / "none", stages=None))
    one, whole, none = (figure.axes[0] for figure in drawn)
    marked = [line.get_xdata()[0] for line in drawn[1].axes[1].lines[2:]]
    assert marked == [10, 100, 600]  # in the panel of accuracies too
    assert [text.get_text() for text in one.texts] == ["I", "no later stage found"]
    assert [text.get_text() for text in whole.texts] == ["I", "II", "III"]
    assert [line.get_xdata()[0] for line in whole.lines[2:]] == [10, 100, 600]
    assert len(none.texts) == 0
    assert whole.get_title().startswith("theorem (calibrated): ")


def test_filters_at_four_times(tmp_path: Path, drawn: list[Figure]) -> None:
    stages = dict(dynamics_summary().stages or {}, memorization_start=boundary(100.0, None))
    filters_figure(dynamics_run(tmp_path, stages=stages))
    rows = dynamics_rows()
    assert [axes.get_title() for axes in drawn[0].axes] == ["step 0", "step 10", "step 100", "step 1000"]
    for axes, row in zip(drawn[0].axes, [rows[0], *rows[2:]], strict=True):
        points = axes.collections[0].get_offsets()
        expected = np.stack([2.0 * np.array(row["filter_signal"]), row["filter_noise"]], 1)  # strength 2
        assert np.allclose(points, expected)
    assert len({axes.get_xlim() for axes in drawn[0].axes}) == 1


def test_filters_without_boundaries_at_even_times(tmp_path: Path, drawn: list[Figure]) -> None:
    filters_figure(dynamics_run(tmp_path, stages=None))
    assert [axes.get_title() for axes in drawn[0].axes] == ["step 0", "step 10", "step 100", "step 1000"]


def test_the_animation_has_its_frames(tmp_path: Path) -> None:
    with Image.open(filters_gif(dynamics_run(tmp_path), n_frames=5)) as image:
        assert image.n_frames == 5
        assert image.size == (396, 324)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[1].pop("noise_learned"), r"metrics.jsonl: expected .*noise_learned"),
        (lambda rows: rows[1].update(signal_margin=["x", 1]), r"metrics.jsonl: expected .*signal_margin"),
        (lambda rows: rows[1].update(filter_noise=[1.0]), "metrics.jsonl: expected as many values in every row"),
        (lambda rows: rows.clear(), "expected recorded steps"),
    ],
)
def test_damaged_records_are_one_line(change: Any, said: str, tmp_path: Path) -> None:
    rows = dynamics_rows()
    change(rows)
    run = make_run(tmp_path, config={"command": "dynamics"}, summary=dynamics_summary(), rows=rows)
    with pytest.raises(BadRequest, match=said):
        stages_figure(run)


def test_the_figures_of_one_setting_need_its_setting(tmp_path: Path) -> None:
    run = dynamics_run(tmp_path, setting={"robust_weight": 0.5})
    with pytest.raises(BadRequest, match="summary.json: expected"):
        stages_figure(run)
    sweep = sweep_run(tmp_path / "sweep", "theorem", ("radius_ratio",))
    with pytest.raises(BadRequest):
        stages_figure(sweep)


@pytest.mark.parametrize(
    ("values", "largest"), [([1.0, -3.0], 3.0), ([2.0, np.nan, np.inf, -1e200], 2.0), ([0.0], 1.0), ([np.nan], 1.0)]
)
def test_axes_show_the_largest_number_that_they_can(values: list[float], largest: float) -> None:
    """A training that diverged ended in a traceback: its filters had grown past what an axis takes."""
    assert _largest(np.array(values)) == largest
