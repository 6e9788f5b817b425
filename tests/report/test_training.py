"""Figures of a training show the numbers of the run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox
from tests.report.runs import (
    ERRORS,
    checkpoints,
    make_run,
    settings,
    train_summary,
    training_rows,
    write_examples,
)

from cgro._check import BadRequest
from cgro.report.examples import read_examples
from cgro.report.style import CLEAN, PAPER, ROBUST
from cgro.report.training import COLUMN, adversarial_grid, learning_curves, robust_error_by_epoch
from cgro.results import ErrorRate
from cgro.runs import Run

LABELS = {
    "clean_error/train": "clean error, train",
    "clean_error/test": "clean error, test",
    "robust_error/train": "robust error, train",
    "robust_error/test": "robust error, test",
}


def test_learning_curves_are_those_of_the_run(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    rows = training_rows()
    path = learning_curves(make_run(tmp_path, config=settings("digits"), rows=rows))
    assert path == tmp_path / "figures" / "learning_curves.png"
    (axes,) = drawn[0].axes
    lines = lines_of(axes)
    assert set(lines) == set(LABELS.values())
    for key, label in LABELS.items():
        line = lines[label]
        assert line.get_xdata() == pytest.approx([1, 2, 3, 4, 5])
        assert line.get_ydata() == pytest.approx([100 * row[key] for row in rows])
        assert line.get_color() == (CLEAN if key.startswith("clean") else ROBUST)
        assert line.get_linestyle() == ("--" if key.endswith("train") else "-")
    gap = 100 * (rows[-1]["robust_error/test"] - rows[-1]["robust_error/train"])
    assert axes.texts[0].get_text() == f"robust gap {gap:.1f} points"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "error (%)")
    assert axes.get_title() == "digits: adversarial training, $\\ell_\\infty$ radius digits\none seed"
    assert not axes.containers  # how many examples are behind a point is not known


def test_learning_curves_of_one_seed_say_n_intervals_and_drops(tmp_path: Path, drawn: list[Figure]) -> None:
    rates = (0.1, 0.1, 0.01, 0.01, 0.008)
    rows = [{**row, "lr": rate} for row, rate in zip(training_rows(), rates, strict=True)]
    summary = train_summary()
    run = make_run(tmp_path, config={**settings("digits"), "eval_n": 40}, summary=summary, rows=rows)
    learning_curves(run)
    (axes,) = drawn[0].axes
    counts = {"train": min(40, summary.data.n_train), "test": min(40, summary.data.n_test)}
    sizes = f"{counts['train']} train and {counts['test']} test examples"
    assert axes.get_title().endswith(f"one seed, {sizes}, bars 95% intervals")
    bars = dict(zip(LABELS, (axes.containers[k] for k in (2, 3, 0, 1)), strict=True))  # drawn robust first, train first
    for key, container in bars.items():
        n = counts[key.rpartition("/")[2]]
        for row, (start, end) in zip(rows, container.lines[2][0].get_segments(), strict=True):
            low, high = ErrorRate(round(n * row[key]), n).interval
            value = 100 * row[key]
            assert (start[1], end[1]) == pytest.approx((min(value, 100 * low), max(value, 100 * high)))
    (drop,) = (line for line in axes.lines if line.get_label() == "learning rate drops")
    assert drop.get_xdata()[0] == 2.5


def test_learning_curves_over_seeds_are_means_with_bars(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    rows = training_rows()
    other = [{key: value / 2 if key in ERRORS else value for key, value in row.items()} for row in rows]
    make_run(tmp_path, config={**settings("digits"), "seeds": 2, "attack": "none"})
    make_run(tmp_path / "seed-0", config=settings("digits"), rows=rows)
    make_run(tmp_path / "seed-1", config=settings("digits"), rows=other)
    assert learning_curves(tmp_path)
    (axes,) = drawn[0].axes
    values = 100 * np.array([[row["robust_error/test"] for row in part] for part in (rows, other)])
    assert lines_of(axes)["robust error, test"].get_ydata() == pytest.approx(values.mean(0))
    bars = axes.containers[1].lines[2][0].get_segments()
    assert [high - low for (_, low), (_, high) in bars] == pytest.approx(2 * values.std(0, ddof=1))
    assert axes.get_title().startswith("digits: standard training")
    assert axes.get_title().endswith(", 2 seeds\nmean over seeds, bars one standard deviation")


def test_no_evaluation_no_learning_curves(tmp_path: Path) -> None:
    assert learning_curves(make_run(tmp_path, config=settings("digits"), rows=[{"epoch": 1, "lr": 0.1}])) is None


def test_the_robust_error_of_checkpoints(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    curves = {
        "pgd": {"test": checkpoints([0.3, 0.5]), "train": checkpoints([0.1, 0.2])},
        "apgd": {"test": checkpoints([0.4, 0.6])},
    }
    path = make_run(tmp_path, config=settings("digits"), summary=train_summary(curves=curves))
    assert robust_error_by_epoch(path)
    (axes,) = drawn[0].axes
    lines = lines_of(axes)
    assert list(lines) == ["pgd, test", "pgd, train", "apgd, test"]
    assert lines["pgd, train"].get_ydata() == pytest.approx([10, 20])
    assert lines["apgd, test"].get_ydata() == pytest.approx([40, 60])
    assert lines["pgd, train"].get_linestyle() == "--"
    assert lines["pgd, test"].get_color() == lines["pgd, train"].get_color() != lines["apgd, test"].get_color()
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == PAPER]
    assert [line.get_xdata().tolist() for line in hollow] == [[2], [2], [2]]  # stopped before its end
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((20, 60))


def test_no_curves_of_checkpoints_no_figure(tmp_path: Path) -> None:
    assert robust_error_by_epoch(make_run(tmp_path, config=settings("digits"), summary=train_summary())) is None


@pytest.mark.parametrize("wrong", [9.37, "0.5", None])
def test_a_wrong_error_of_a_checkpoint_is_refused(wrong: Any, tmp_path: Path) -> None:
    summary = train_summary(curves={"pgd": {"test": checkpoints()}})
    run = Run(make_run(tmp_path, config=settings("digits"), summary=summary))
    text = (run.path / "summary.json").read_text()
    changed = text.replace('"value": 0.75', f'"value": {"null" if wrong is None else repr(wrong)}'.replace("'", '"'))
    assert changed != text
    (run.path / "summary.json").write_text(changed)
    with pytest.raises(BadRequest, match=r"summary.json: expected .* at curves"):
        robust_error_by_epoch(run.path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_adversarial_examples_are_those_of_the_run(channels: int, tmp_path: Path, drawn: list[Figure]) -> None:
    source = write_examples(tmp_path / "examples.npz", ["cat", "dog"], channels=channels)
    assert adversarial_grid(tmp_path)
    found = read_examples(source)
    clean, change, attacked = of_column(drawn[0].axes[0], 1)
    shown = clean.get_array()
    assert shown.shape == ((6, 6, 3) if channels == 3 else (6, 6))
    if channels == 1:
        assert np.array_equal(shown, found.x[1, 0])
        assert np.array_equal(attacked.get_array(), found.x_adv[1, 0])
    assert np.allclose(change.get_array(), (found.x_adv[1] - found.x[1]).mean(0))
    scale = np.abs(found.x_adv - found.x).max()
    assert change.get_clim() == pytest.approx((-scale, scale))
    assert predictions(drawn[0].axes[0]) == [["cat", "dog", "cat"], ["cat", "dog", "cat"]]
    assert adversarial_grid(tmp_path / "none") is None


def of_column(axes: Axes, i: int) -> list[AxesImage]:
    """The images of a column from above, of which none lies over another."""
    boxes = [Bbox.from_extents(*np.array(image.get_extent())[[0, 2, 1, 3]]) for image in axes.images]
    assert not any(box.count_overlaps(boxes[:k]) for k, box in enumerate(boxes))
    column = [image for image in axes.images if i < np.mean(image.get_extent()[:2]) / COLUMN < i + 1]
    return sorted(column, key=lambda image: -image.get_extent()[3])


def predictions(axes: Axes) -> list[list[str]]:
    """What stands above the clean and the attacked images, from left to right."""
    texts = [text for text in axes.texts if text.get_rotation() == 0 and text.get_text()]
    rows = {}
    for text in sorted(texts, key=lambda text: text.get_position()[0]):
        rows.setdefault(text.get_position()[1] > -1, []).append(text.get_text())
    return [rows[True], rows[False]]


def test_a_wrong_prediction_is_marked_by_a_word(tmp_path: Path, drawn: list[Figure]) -> None:
    write_examples(tmp_path / "examples.npz", ["cat", "dog"], prediction_adv=np.array([1, 1, 1]))
    assert adversarial_grid(tmp_path)
    assert predictions(drawn[0].axes[0]) == [["cat", "dog", "cat"], ["dog  wrong", "dog", "dog  wrong"]]
