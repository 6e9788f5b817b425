"""Text from outside cannot end a figure, and no figure is half written."""

import ast
import errno
import os
import xml.dom.minidom
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from tests.report.drawings import DRAWINGS

from cgro._check import BadRequest
from cgro.report import style
from cgro.report.chart import Line
from cgro.report.curves import CURVES
from cgro.report.style import (
    CLEAN,
    COMPARED,
    FLATNESS,
    GAP,
    MARK,
    MEMORY,
    ROBUST,
    SIGNAL,
    draw_band,
    figure,
    line_of,
    name_mark,
    plain_text,
    wrapped_text,
)
from cgro.runs import write_arrays

SOURCE = Path(__file__).parents[2] / "src" / "cgro"
HOSTILE = {
    "mathtext": "$\\frac{1}{$", "dollars": "a$b$c_^", "backslash": "\\$\\$x^$ \\", "odd": "\\\\$",
    "surrogate": "\ud800x", "control": "a\x00b\x07\x1b[31m\x85\ufffe", "direction": "\u202egnp.exe\u202c\u2066\u200f",
    "long": "A" * 10_000, "wide": "$" * 10_000, "newlines": "a\nb\r\n<b>\v\f\u2028c", "script": "<script>alert(1)</script>",
    "close": "--></text></svg><svg onload='x'>", "cdata": "]]><![CDATA[", "emoji": "\U0001f600\U0001f469\u200d\U0001f52c 漢字 عربى",
    "combining": "e" + "\u0301" * 500, "empty": "", "underscore": "_hidden", "percent": "%s {0} {x} %(y)d",
}  # fmt: skip


def characters_of_xml(text: str) -> bool:
    """The production Char of XML 1.0."""
    return all(c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000" for c in text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_plain_text_is_one_line_of_characters_that_xml_knows(text: str) -> None:
    plain = plain_text(text)
    assert characters_of_xml(plain)
    assert len(plain.splitlines()) <= 1
    assert len(plain.replace(r"\$", "$")) <= 65
    assert not plain.replace(r"\$", "").count("$")


def test_ordinary_text_is_not_changed() -> None:
    for text in (
        "mnist5k",
        "CIFAR-10 (JPEG mirror)",
        "owner/name",
        "Katze, Hund & Größe",
        "l_inf 8/255",
        "C:\\data_1^2",
    ):
        assert plain_text(text) == text
    assert wrapped_text("one two three", 8, 2) == "one two\nthree"


def test_a_color_has_one_meaning() -> None:
    meanings = (CLEAN, ROBUST, GAP, MEMORY, FLATNESS, SIGNAL, MARK, *COMPARED)
    assert len(set(meanings)) == len(meanings)


def test_curves_are_drawn_as_the_page_draws_them() -> None:
    """Parts of the data by the line, clean and robust by the color, in figures of matplotlib and on the page."""
    for curve in CURVES:
        assert curve.color == (CLEAN if curve.key.startswith("clean") else ROBUST)
        assert curve.key.endswith(f"/{curve.part}")
    parts = ("train", "test", "validation")
    assert [line_of(part)["linestyle"] for part in parts] == ["--", "-", ":"]
    assert len({Line("a", "#000", part, []).dash for part in parts}) == 3
    assert line_of("else")["linestyle"] == "-."


def test_a_band_is_the_mean_and_the_range_of_seeds(tmp_path: Path) -> None:
    values = np.array([[1.0, 3.0], [2.0, 6.0]])
    with figure(tmp_path / "x") as drawing:
        axes = drawing.add_subplot()
        draw_band(axes, np.arange(2), values, color="black", label="a", linestyle="-")
        draw_band(axes, np.arange(2), values[:, :1], color="black", label="b", linestyle="-")
        assert axes.lines[0].get_ydata() == pytest.approx([2, 4])
        assert len(axes.collections) == 1  # one seed has no range
        heights = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == (1, 6)


@pytest.mark.parametrize(
    ("others", "sides"),
    [
        ([(5.0, 9.0), (9.0, 1.0)], ["left bottom", "left bottom", "left bottom"]),  # all free: right of the mark, above
        ([(1.0, 1.1), (9.0, 9.0)], ["left bottom", "left top", "left bottom"]),  # over the name of the first, so below
        ([(1.5, 1.4), (9.0, 9.0)], ["left top", "left bottom", "left bottom"]),  # the first over the mark of the second
        ([(11.9, 6.0)], ["left bottom", "right bottom"]),  # beyond the edge, so left of the mark
    ],
)
def test_a_name_stands_where_it_is_free(tmp_path: Path, others: list[tuple[float, float]], sides: list[str]) -> None:
    axes = named_marks(tmp_path, [(1.0, 1.0), *others])
    assert [f"{text.get_ha()} {text.get_va()}" for text in axes.texts] == sides
    assert all(text.get_visible() for text in axes.texts)


def test_a_name_without_a_free_place_is_left_out(tmp_path: Path) -> None:
    around = [(x, y) for x in (5.0, 7.0) for y in (5.7, 6.3)]
    axes = named_marks(tmp_path, [*around, (6.0, 6.0)])
    assert not axes.texts[-1].get_visible()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_visible()]
    assert len(boxes) >= 2
    for k, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[k + 1 :])


def named_marks(folder: Path, points: Sequence[tuple[float, float]]) -> Axes:
    with figure(folder / "x") as drawing:
        axes = drawing.add_subplot()
        axes.set(xlim=(0, 12), ylim=(0, 12))
        for k, point in enumerate(points):
            name_mark(axes, f"mark {k} with its name", point, "black")
    return axes


def drawn_from() -> set[str]:
    """Every function of `report` that opens a figure."""
    found = set()
    for path in sorted((SOURCE / "report").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            called = {getattr(c.func, "id", "") for c in ast.walk(node) if isinstance(c, ast.Call)}
            if isinstance(node, ast.FunctionDef) and called & {"figure", "Figure"}:
                found.add(f"{path.stem}.{node.name}")
    return found - {"style.figure"}


def test_every_function_that_draws_is_walked() -> None:
    assert drawn_from() == set(DRAWINGS)


ONCE = {draw.__name__: draw for draw in DRAWINGS.values()}


@pytest.mark.parametrize("name", ONCE)
def test_no_text_ends_a_figure(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layout and SVG are made of the worst texts, and of all others in one; pixels, which take the time, of none."""
    monkeypatch.setattr(style, "_draw_png", lambda drawing, file: None)
    worst = {key: HOSTILE[key] for key in ("mathtext", "long")}
    mixed = "".join(text[:12] for key, text in HOSTILE.items() if key not in worst)
    for key, text in (worst | {"mixed": mixed}).items():
        ONCE[name](tmp_path / key, text)
        for file in (tmp_path / key).rglob("*.svg"):
            content = file.read_bytes().decode()
            xml.dom.minidom.parseString(content)
            assert "<script" not in content
            assert "<svg onload" not in content


def test_outside_text_beside_mathtext_of_ours(tmp_path: Path) -> None:
    with figure(tmp_path / "x") as drawing:
        drawing.suptitle(rf"$\ell_\infty$ {plain_text('$a_1$ costs $5')}")
    content = (tmp_path / "x.svg").read_text()
    assert "\\" not in content.split("<!--")[-1].split("-->", 1)[1]  # the comment repeats the source
    glyphs = "".join(part.split("</tspan>")[0].split(">")[-1] for part in content.split("<tspan")[1:])
    assert glyphs.count("$") == 3


# Writing: whole or not at all.


def write_figure(folder: Path) -> None:
    with figure(folder / "drawn") as drawing:
        drawing.suptitle("new")


def write_examples_of_a_training(folder: Path) -> None:
    import torch

    from cgro.commands._final import save_examples
    from cgro.data import load
    from cgro.definitions import FGSM, ThreatModel
    from cgro.runs import Run

    data = load("digits", n_train=100, n_test=9)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    save_examples(model, data, FGSM(ThreatModel("inf", 0.1)), Run(folder))


def write_plane(folder: Path) -> None:
    import torch

    from cgro.definitions import ThreatModel
    from cgro.representation.memorizer import RobustMemorizer
    from cgro.representation.slice import save_slice

    x = torch.tensor([[0.1, 0.1, 0.9], [0.9, 0.1, 0.1], [0.1, 0.9, 0.5], [0.8, 0.8, 0.2]], dtype=torch.float64)

    class Score(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 8 * (x[:, 0] - x[:, 1])

    memorizer = RobustMemorizer(Score().eval(), x, torch.tensor([-1, 1, -1, 1]), ThreatModel("inf", 0.05))
    assert save_slice(memorizer, folder / "slice.npz")


WRITERS = (
    write_figure,
    write_examples_of_a_training,
    write_plane,
    lambda folder: write_arrays(folder / "a.npz", {"a": np.ones(3)}),
)


@pytest.mark.parametrize("failing", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_leaves_old_files_whole_and_nothing_else(
    write, failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert before

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing in ("fsync", "replace"):
        monkeypatch.setattr(os, failing, full)
    else:
        real = open

        def opened(path: object, mode: str = "r", *more: object, **options: object):
            if not {"w", "x"} & set(mode):
                return real(path, mode, *more, **options)
            file = real(path, mode, *more, **options) if failing == "write" else full()
            return Full(file)

        monkeypatch.setattr("builtins.open", opened)
    with pytest.raises(BadRequest, match="the disk is full"):
        write(tmp_path)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


class Full:
    """An open file on a disk that fills up after a few bytes."""

    def __init__(self, file) -> None:
        self.file = file

    def __enter__(self) -> "Full":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


def direct_writes(text: str) -> list[int]:
    """Lines of a source file that write to a path rather than to memory.

    A call is fine if its target is a name that the same function made by `io.BytesIO()`; opening for reading is fine.
    """
    found = []
    tree = ast.parse(text)
    buffers = {
        node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and "BytesIO" in ast.dump(node.value)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        target = node.args[0] if node.args else None
        writers = ("savefig", "savez", "savez_compressed", "savetxt", "tofile", "imsave")
        if name in writers or (name == "save" and isinstance(node.func, ast.Attribute)):
            if not (isinstance(target, ast.Name) and target.id in buffers):
                found.append(node.lineno)
        elif name in ("write_text", "write_bytes"):
            found.append(node.lineno)
        elif name == "open":
            texts = [a.value for a in (*node.args, *(k.value for k in node.keywords)) if isinstance(a, ast.Constant)]
            modes = [t for t in texts if isinstance(t, str) and t and set(t) <= set("rwaxbt+")]
            if any(set(mode) & set("wax+") for mode in modes) and "devnull" not in ast.dump(node):
                found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("drawing.savefig(path)", 1), ("np.savez(folder / 'a.npz', x=x)", 1), ("open(path, 'w')", 1),
        ("open(path, mode='ab')", 1), ("path.open('wb')", 1), ("path.write_text('x')", 1), ("image.save(path)", 1),
        ("b = io.BytesIO()\nnp.savez(b, x=x)", 0), ("open(path)", 0), ("open(path, 'rb')", 0), ("open(os.devnull, 'w')", 0),
    ],
)  # fmt: skip
def test_the_check_of_writes_finds_what_it_should(text: str, n: int) -> None:
    assert len(direct_writes(text)) == n


def test_nothing_but_runs_writes_to_a_final_name() -> None:
    """`writing` has the one function that does: beside the place, then renamed."""
    found = {
        str(path.relative_to(SOURCE)): lines
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "writing.py" and (lines := direct_writes(path.read_text()))
    }
    assert found == {}
