"""Every figure takes its colors from the palette: as it is drawn, and as its module is written."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from tests.report.drawings import DRAWINGS
from tests.report.palette import foreign, foreign_scales, own_colors

from cgro.report import style

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path for folder in ("src/cgro", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")
    if path != ROOT / "src/cgro/report/style.py"
)  # fmt: skip
ONCE = {draw.__name__: draw for draw in DRAWINGS.values()}
"""Every function of `report` that opens a figure is reached; tests/report/test_style.py holds the list to the source."""


@pytest.mark.parametrize("name", ONCE)
def test_a_figure_is_drawn_in_the_palette(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scales: set[str] = set()
    monkeypatch.setattr(style, "_draw_png", lambda drawing, file: scales.update(foreign_scales(drawing)))
    ONCE[name](tmp_path, "digits")
    assert scales == set()
    for file in tmp_path.rglob("*.svg"):
        assert foreign(file.read_text()) == set()


def test_only_style_writes_colors() -> None:
    written = {str(path.relative_to(ROOT)): own_colors(path.read_text()) for path in MODULES}
    assert {path: found for path, found in written.items() if found} == {}


def test_hues_are_taken_by_their_meaning() -> None:
    public = {name for name, value in vars(style).items() if isinstance(value, str) and value.startswith("#")}
    assert {name for name in public if not name.startswith("_")} == {
        "CLEAN", "ROBUST", "GAP", "MEMORY", "FLATNESS", "SIGNAL", "MARK", "TEXT_MARK", "INK", "PAPER"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('CLASSES = colormaps["tab10"]', set()),  # a name alone draws nothing: its import is what is noticed
        ("from matplotlib import colormaps", {"colormaps"}),
        ('matplotlib.colormaps.get_cmap("viridis")', {"colormaps", "get_cmap"}),
        ('axes.imshow(x, cmap="jet")', {"jet"}),
        ('axes.plot(x, color="tab:blue", markerfacecolor="white")', {"tab:blue", "white"}),
        ('axes.scatter(x, y, c="C1" if a else "none", edgecolors=["red"])', {"C1", "red"}),
        ('look = {"color": "#1f77b4"}', {"#1f77b4"}),
        ('axes.plot(x, color=MARK, label="red", marker="o"); axes.hist(x, color=COMPARED[1])', set()),
        ('call(scale="gray", title="#42")', set()),
    ],
)
def test_a_color_that_a_module_writes_is_noticed(source: str, found: set[str]) -> None:
    assert own_colors(source) == found


def test_a_scale_of_matplotlib_is_noticed() -> None:
    drawing = Figure()
    axes = drawing.add_subplot()
    axes.imshow([[0.0, 1.0]], cmap="viridis")
    axes.imshow([[0.0, 1.0]], cmap="cividis")
    axes.scatter([1], [2], c=[3.0], cmap="jet")
    axes.scatter([1], [2], color="red")  # no scale
    assert foreign_scales(drawing) == {"viridis", "jet"}


def test_what_names_no_color_is_drawn_in_one_that_means_nothing(tmp_path: Path) -> None:
    with style.figure(tmp_path / "x") as drawing:
        axes = drawing.add_subplot()
        lines = [axes.plot([0, k])[0] for k in range(3)]
        axes.bar([0], [1], yerr=[0.1], capsize=2)
    assert tuple(line.get_color() for line in lines) == style.COMPARED
    assert foreign((tmp_path / "x.svg").read_text()) == set()
