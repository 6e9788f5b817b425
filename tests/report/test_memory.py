"""Figures of the memory probe show its margins, quarters and memorization values."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.report.runs import memory_run, quarter

from cgro._check import BadRequest
from cgro.report.memory import Shares, draw, over_seeds
from cgro.report.style import MEMORY, ROBUST


def test_three_panels_of_a_whole_probe(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    assert draw(memory_run(tmp_path)) == tmp_path / "figures" / "memory.png"
    margins, quarters, values = drawn[0].axes
    arrays = np.load(tmp_path / "examples.npz")
    for part, linestyle in (("train", "--"), ("test", "-")):
        line = lines_of(margins)[part]
        assert np.array_equal(line.get_xdata(), np.sort(arrays[f"{part}/margin"]))
        assert line.get_ydata() == pytest.approx(5 * np.arange(1, 21))
        assert line.get_linestyle() == linestyle
        assert lines_of(quarters)[f"robust, {part}"].get_color() == ROBUST
    assert lines_of(quarters)["robust, test"].get_ydata() == pytest.approx([50, 60, 70, 80])
    bars = quarters.containers[-1]
    assert [bar.get_height() for bar in bars] == pytest.approx([40, 30, 20, 10])
    assert bars[0].get_facecolor()[:3] == pytest.approx(tuple(int(MEMORY[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    heights = [bar.get_height() for bar in values.containers[0]]
    assert heights == pytest.approx([40, 30, np.nan, 10], nan_ok=True)
    assert values.get_xlabel() == "quarter by distance to the boundary"
    assert drawn[0].get_suptitle() == "Memorization in the balls of radius 0.1"


def test_panels_follow_what_was_probed(tmp_path: Path, drawn: list[Figure]) -> None:
    run = memory_run(tmp_path)
    (run / "memory.json").write_text(json.dumps({"radius": 0.1, "stages": None}))
    draw(run)
    assert len(drawn[0].axes) == 1
    arrays = dict(np.load(run / "examples.npz"))
    np.savez(run / "examples.npz", **arrays, **{"train/clean_flip": np.ones(20)})
    (run / "memory.json").write_text(json.dumps({"radius": 0.1, "stages": None, "influence": [0.1] * 4}))
    draw(run)
    assert len(drawn[1].axes) == 2
    assert drawn[1].axes[1].get_xlabel() == "quarter by distance to the standard boundary"


@pytest.mark.parametrize(
    "found",
    [
        {"radius": "x"},
        {"quarters": [quarter(0.1)] * 3},
        {"quarters": [{**quarter(0.1), "interval": [0.1]}] * 4},
        {"influence": [0.1] * 5},
        {"influence": ["x"] * 4},
        {"unknown": 1},
    ],
)
def test_a_probe_of_another_shape_is_one_line(found: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="memory.json: expected"):
        draw(memory_run(tmp_path, **found))


@pytest.mark.parametrize("margins", [None, np.ones((2, 2)), np.zeros(0), np.array(["x"])])
def test_margins_of_another_kind_are_one_line(margins: np.ndarray | None, tmp_path: Path) -> None:
    run = memory_run(tmp_path)
    arrays = {"train/margin": np.ones(3)} if margins is None else {"train/margin": np.ones(3), "test/margin": margins}
    np.savez(run / "examples.npz", **arrays)
    with pytest.raises(BadRequest, match="examples.npz: expected a list of margins at test/margin"):
        draw(run)


def test_over_seeds(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    train = [[0.9, 0.8, 0.7, 0.6], [0.7, 0.8, 0.7, 0.6]]
    data = {"mnist": SimpleNamespace(train=train, test=train, memory=[[0.1] * 4, [0.3] * 4])}
    assert over_seeds(tmp_path / "q", {**data, "cifar": data["mnist"]}) == tmp_path / "q.svg"
    assert [axes.get_title() for axes in drawn[0].axes] == ["mnist", "cifar"]
    assert lines_of(drawn[0].axes[1])["robust, train"].get_ydata() == pytest.approx([80, 80, 70, 60])
    assert [bar.get_height() for bar in drawn[0].axes[0].containers[-1]] == pytest.approx([20] * 4)


def test_shares_over_seeds_are_mean_and_standard_deviation() -> None:
    found = Shares.over_seeds([[0.0, 1.0], [1.0, 1.0]])
    assert found.share == pytest.approx([0.5, 1.0])
    assert found.spread == pytest.approx([np.sqrt(0.5), 0.0])
    assert Shares.over_seeds([[0.5, 0.5]]).spread == pytest.approx([0.0, 0.0])
