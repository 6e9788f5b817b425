"""The figure of `cgro bench`: a bar per way at its ratio to the bare passes, with quartiles."""

from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from tests.report.runs import bench_run

from cgro.report.speed import ratios_figure
from cgro.report.style import COMPARED, MARK


def test_a_bar_per_way_with_quartiles_and_the_floor(tmp_path: Path, drawn: list[Figure]) -> None:
    assert ratios_figure(bench_run(tmp_path, "digits")) == tmp_path / "figures" / "speed.png"
    (axes,) = drawn[0].axes
    bars = [bar for container in axes.containers if hasattr(container, "patches") for bar in container.patches]
    assert [bar.get_width() for bar in bars] == [1.25, 2.5]
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars] == [COMPARED[1], MARK]
    segments = [line.get_segments()[0] for line in axes.collections]
    assert [(s[0][0], s[1][0]) for s in segments] == [
        (pytest.approx(1.125), pytest.approx(1.375)),
        (pytest.approx(2.25), pytest.approx(2.75)),
    ]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["attack, digits", "attack, common loop"]
    (floor,) = [line for line in axes.lines if line.get_label() == "the bare passes"]
    assert floor.get_xdata()[0] == 1.0
