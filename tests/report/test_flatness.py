"""Figures of flatness show the curves of the run; Spearman's correlation against its definition."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.report.runs import flatness_part, flatness_record, only_test, places, replaced, write_flatness

from cgro._check import BadRequest
from cgro.report.flatness import by_epoch, by_radius, draw, gaps, over_training, training_index
from cgro.report.style import FLATNESS
from cgro.results import FlatnessCheckpoint, FlatnessRecord, Metric


def with_checkpoints(record: FlatnessRecord, checkpoints: list[FlatnessCheckpoint]) -> FlatnessRecord:
    return msgspec.structs.replace(record, checkpoints=checkpoints)


def test_by_radius_one_run(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    record = flatness_record()
    assert by_radius(tmp_path / "a", [record]) == tmp_path / "a.png"
    last = record.checkpoints[-1]
    for axes, measure in zip(drawn[0].axes, ("gradient", "rise"), strict=True):
        lines = lines_of(axes)
        assert list(lines) == ["training radius", "train (local)", "test (global)"]
        assert lines["training radius"].get_xdata() == [0.1, 0.1]
        for part, label in (("train", "train (local)"), ("test", "test (global)")):
            expected = [metric.value for metric in getattr(last.parts[part], measure)]
            assert lines[label].get_xdata() == pytest.approx(record.radii)
            assert lines[label].get_ydata() == pytest.approx(expected)
            assert lines[label].get_color() == FLATNESS
            assert lines[label].get_linestyle() == ("--" if part == "train" else "-")
        bars = axes.containers[0].lines[2][0].get_segments()
        assert [high - low for (_, low), (_, high) in bars] == pytest.approx([0.2] * 3)
        assert axes.get_xlabel() == "radius (input units)"
        assert "nats" in axes.get_ylabel()
        assert axes.get_yscale() == "log"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_constant_network_has_no_logarithm(value: float, tmp_path: Path, drawn: list[Figure]) -> None:
    """Matplotlib's warning stood among the lines of the command."""
    flat = [Metric(value=0.0, interval=(0.0, 0.0))] * 3
    rise = [Metric(value=value, interval=(value, value))] * 3
    part = msgspec.structs.replace(flatness_part([], []), gradient=flat, rise=rise)
    point = FlatnessCheckpoint(label="last", epoch=1, parts={"train": part, "test": part})
    record = with_checkpoints(flatness_record(), [point])
    by_radius(tmp_path / "a", [record])
    by_epoch(tmp_path, [record])
    expected = ["linear", "log" if value else "linear"]
    for figure in drawn:
        assert [axes.get_yscale() for axes in figure.axes] == expected


def test_by_radius_of_several_runs_draws_their_mean_and_spread(
    tmp_path: Path, drawn: list[Figure], lines_of: Any
) -> None:
    records = [flatness_record(), flatness_record(seed=1)]
    by_radius(tmp_path / "a", records)
    values = np.array([[m.value for m in one.checkpoints[-1].parts["test"].rise] for one in records])
    axes = drawn[0].axes[1]
    assert lines_of(axes)["test (global)"].get_ydata() == pytest.approx(values.mean(0))
    bars = axes.containers[1].lines[2][0].get_segments()
    assert [high - low for (_, low), (_, high) in bars] == pytest.approx(2 * values.std(0, ddof=1))


def test_values_that_are_not_known_leave_gaps(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    part = flatness_part([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    odd = msgspec.structs.replace(part, rise=[Metric(value=None), Metric(value=float("inf")), Metric(value=3.0)])
    point = FlatnessCheckpoint(label="last", epoch=None, parts={"test": odd})
    assert by_radius(tmp_path / "a", [with_checkpoints(flatness_record(), [point])])
    shown = lines_of(drawn[0].axes[1])["test (global)"].get_ydata()
    assert np.isnan(shown).tolist() == [True, True, False]


def test_by_epoch_has_a_column_per_epoch_and_at_most_six(tmp_path: Path, drawn: list[Figure]) -> None:
    record = flatness_record(n_epochs=11)
    by_epoch(tmp_path, [record, flatness_record(seed=1)])
    top = drawn[0].axes[:6]
    assert [axes.get_title() for axes in top] == [f"epoch {e}" for e in (1, 3, 5, 7, 9, 11)]
    bottom = drawn[0].axes[6 + 2]
    expected = [metric.value for metric in record.checkpoints[4].parts["train"].rise]
    assert bottom.lines[0].get_ydata() == pytest.approx(expected)
    assert drawn[0].get_suptitle() == "digits, digits x8, trained at digits, seed 0"


def test_over_training(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    records = [flatness_record(), flatness_record(seed=1)]
    over_training(tmp_path / "a", records)
    left, right = drawn[0].axes
    assert list(lines_of(left)) == ["train (local)", "test (global)"]  # once, for both runs
    assert len(left.lines) == 4
    expected = [point.parts["test"].gradient[1].value for point in records[1].checkpoints]
    assert left.lines[3].get_ydata() == pytest.approx(expected)
    points = gaps(records)
    assert points is not None
    for k, scattered in enumerate(right.collections):
        assert np.allclose(scattered.get_offsets(), np.stack([points[0][k], points[1][k]], 1))
    flatness, gap = points[0].ravel(), points[1].ravel()
    rank = 6 * sum((np.argsort(np.argsort(flatness)) - np.argsort(np.argsort(gap))) ** 2)
    rho = 1 - rank / (6 * (6**2 - 1))  # Spearman's formula without ties
    assert right.get_legend().get_title().get_text() == f"rank correlation {rho:.2f}"


def test_gaps_are_those_of_the_robust_loss_at_the_training_radius() -> None:
    points = []
    for epoch in (1, 2, 3, 4):
        train = flatness_part([1.0, 2.0, 3.0], [0.1, 0.2, 0.3], loss=0.5)
        test = flatness_part([4.0, 5.0 + epoch, 6.0], [0.4, 0.5 + epoch, 0.6], loss=0.75)
        points.append(FlatnessCheckpoint(label="x", epoch=epoch, parts={"train": train, "test": test}))
    last = FlatnessCheckpoint(label="last", epoch=None, parts=points[-1].parts)
    record = with_checkpoints(flatness_record(), [*points, last])
    shorter = with_checkpoints(flatness_record(), points[1:])
    found = gaps([record, shorter])
    assert found is not None
    assert found[0].tolist() == [[7.0, 8.0, 9.0]] * 2
    assert found[1] == pytest.approx(np.array([[0.75 + 2.5 - 0.7, 0.75 + 3.5 - 0.7, 0.75 + 4.5 - 0.7]] * 2))
    assert gaps([with_checkpoints(record, points[:2])]) is None  # too few epochs
    assert gaps([msgspec.structs.replace(record, training_radius=0.3)]) is None
    alone = [msgspec.structs.replace(point, parts={"test": point.parts["test"]}) for point in points]
    assert gaps([with_checkpoints(record, alone)]) is None


def test_the_training_radius_among_the_radii() -> None:
    record = flatness_record()
    assert training_index(record) == 1
    assert training_index(msgspec.structs.replace(record, training_radius=0.1 + 1e-12)) == 1
    assert training_index(msgspec.structs.replace(record, training_radius=0.11)) is None


def test_a_run_without_epochs_has_one_figure(tmp_path: Path, drawn: list[Figure]) -> None:
    last = FlatnessCheckpoint(label="last", epoch=None, parts=flatness_record().checkpoints[0].parts)
    run = write_flatness(tmp_path, [with_checkpoints(flatness_record(), [last])])
    assert [path.name for path in draw(run)] == ["flatness_by_radius.png"]
    names = [path.name for path in draw(write_flatness(tmp_path, [flatness_record()]))]
    assert names == ["flatness_by_radius.png", "flatness_by_epoch.png", "flatness_over_training.png"]


def test_curves_of_another_shape_are_one_line(tmp_path: Path, drawn: list[Figure]) -> None:
    file = write_flatness(tmp_path, [only_test(flatness_record(n_epochs=1))]) / "flatness" / "curves.json"
    whole = json.loads(file.read_text())
    refused = 0
    for place in places(whole):
        for wrong in (..., "text", [], {}, None):
            file.write_text(json.dumps(replaced(whole, place, wrong)))
            try:
                draw(tmp_path)
            except BadRequest as error:
                refused += 1
                assert str(error).startswith(f"{file}: expected")
    assert refused > 100
