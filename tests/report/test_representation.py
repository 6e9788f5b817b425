"""Figures of Section 4 show what the runs computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from tests.report.runs import lower_bound_run, make_run, settings, write_plane

from cgro._check import BadRequest
from cgro.report.representation import REGIONS, decision_regions, hierarchy, parameter_law, toy
from cgro.report.style import CLEAN, MEMORY, ROBUST


def test_decision_regions(tmp_path: Path, drawn: list[Figure]) -> None:
    make_run(tmp_path, config=settings("digits"))
    assert decision_regions(tmp_path) is None
    assert decision_regions(write_plane(tmp_path)) == tmp_path / "figures" / "decision_regions.png"
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles == ["$f_{clean}$", "$f_S$ (Lemma 4.5)", "F, the ReLU network"]
    for axes in drawn[0].axes:
        assert [text.get_text() for text in axes.texts] == ["+1", "-1", "+1"]
        points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines]
        assert points == [(0.0, 0.0), (0.5, 0.1), (0.1, 0.5)]
        assert axes.get_xlabel() == "first direction (input units)"
    assert drawn[0].get_suptitle().endswith(r"$\ell_\infty$ balls, radius digits")


def test_regions_of_many_classes_differ_in_color_or_hatch(tmp_path: Path, drawn: list[Figure]) -> None:
    """A stripe per class, which holds its points and no other's."""
    make_run(tmp_path, config=settings("digits"))
    classes = np.tile(np.arange(9), (9, 1))
    ball = np.zeros((9, 9))
    decision_regions(
        write_plane(tmp_path, binary=False, clean=classes, hard=classes, network=classes * 0 + 9, ball=ball)
    )
    regions = [one for one in drawn[0].axes[1].collections if isinstance(one, ContourSet) and one.filled]
    assert len(regions) == 9
    for k, region in enumerate(regions):
        inside = [any(path.contains_point((x, 0.1)) for path in region.get_paths()) for x in np.linspace(-1, 1, 9)]
        assert np.flatnonzero(inside).tolist() == [k]
    assert len({(tuple(region.get_facecolor()[0]), *region.hatches) for region in regions}) == 9
    (legend,) = drawn[0].legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named[:10] == [f"answer {k}" for k in range(10)]
    assert [patch.get_hatch() or "" for patch in legend.get_patches()[:9]] == [region.hatches[0] for region in regions]
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["1", "-1", "1"]


def test_the_legend_names_both_answers_the_balls_and_the_images(tmp_path: Path, drawn: list[Figure]) -> None:
    make_run(tmp_path, config=settings("digits"))
    decision_regions(write_plane(tmp_path))
    (legend,) = drawn[0].legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["answer -1", "answer +1", "edge of a ball", "training image and its label"]
    assert [patch.get_facecolor()[:3] for patch in legend.get_patches()] == [REGIONS(0)[:3], REGIONS(1)[:3]]


@pytest.mark.parametrize(("p", "n"), [("2", 3), (2, 3), ("inf", 0)])
def test_balls_of_l2_are_circles_of_their_radius(p: object, n: int, tmp_path: Path, drawn: list[Figure]) -> None:
    make_run(tmp_path, config={**settings("digits"), "p": p, "radius": "8/255"})
    decision_regions(write_plane(tmp_path))
    for axes in drawn[0].axes:
        circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
        assert [circle.radius for circle in circles] == [pytest.approx(8 / 255)] * n
        assert axes.get_aspect() == 1.0  # round on the page too
        if n:
            assert [circle.center for circle in circles] == [(0.0, 0.0), (0.5, 0.1), (0.1, 0.5)]


def test_a_damaged_plane_is_one_line(tmp_path: Path) -> None:
    make_run(tmp_path, config=settings("digits"))
    with pytest.raises(BadRequest, match=r"slice.npz: expected answers of the shape \(9, 9\)"):
        decision_regions(write_plane(tmp_path, hard=np.ones((3, 3))))
    np.savez(tmp_path / "slice.npz", s=np.ones(9))
    with pytest.raises(BadRequest, match="expected the arrays of cgro memorize, got none called t, clean"):
        decision_regions(tmp_path)


def test_the_hierarchy_of_sizes(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    assert hierarchy(lower_bound_run(tmp_path))
    (axes,) = drawn[0].axes
    lines = lines_of(axes)
    assert list(lines) == [
        "robust: a network we build",
        "robust: no smaller network can (Theorem 4.7)",
        "CGRO: memorizer of N = 100 points",
        "clean: 2 parameters, error 0",
    ]
    construction, floor, memorizer, clean = lines.values()
    dims = np.array([4, 8, 16])
    assert construction.get_ydata() == pytest.approx(3 * dims * np.log10(2))
    assert floor.get_ydata() == pytest.approx([np.nan, 32 * np.log10(2), 64 * np.log10(2)], nan_ok=True)
    assert memorizer.get_ydata() == pytest.approx(2 * dims * np.log10(2))
    assert clean.get_ydata() == pytest.approx([np.log10(2)] * 3)
    assert [line.get_color() for line in lines.values()] == [ROBUST, ROBUST, MEMORY, CLEAN]
    assert axes.texts[0].get_text() == "the lower bound passes the memorizer at D = 8"


def test_no_dimension_no_hierarchy(tmp_path: Path) -> None:
    run = lower_bound_run(tmp_path)
    (run / "metrics.jsonl").write_text("")
    assert hierarchy(run) is None


def test_the_errors_of_the_toy(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    rows = [{"dim": d, "expected": 0.1 * d, "robust_test": 0.1 * d + 0.01, "exact": True} for d in (2, 4)]
    assert toy(tmp_path, rows, 300) == tmp_path / "figures" / "toy.png"
    lines = lines_of(drawn[0].axes[0])
    assert lines["robust test error, expected"].get_ydata() == pytest.approx([20, 40])
    assert lines["one draw, exact"].get_ydata() == pytest.approx([21, 41])
    assert lines["clean test and robust training error"].get_ydata() == pytest.approx([0, 0])
    with pytest.raises(BadRequest, match="expected"):
        toy(tmp_path, [{"dim": 2}], 300)


def test_the_parameters_of_memorizers(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    rows = []
    for data, shift in (("random", 0), ("mnist5k", -1)):
        for n in (20, 10):
            count = {"measured": 24 * n + shift, "generic": 25 * n}
            rows.append({"variant": "lean", "data": data, "n": n, "dim": 4, **count})
    assert parameter_law(tmp_path / "law", rows) == tmp_path / "law.png"
    (axes,) = drawn[0].axes
    line = lines_of(axes)["lean: 3ND + 4N + D"]
    assert sorted(set(zip(line.get_xdata(), line.get_ydata(), strict=True))) == [(40, 250), (80, 500)]
    points = {
        marker: [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata())]
        for marker in "os"
    }
    assert sorted(points["o"][0].get_ydata()) == [240, 480]
    assert sorted(points["s"][0].get_ydata()) == [239, 479]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
