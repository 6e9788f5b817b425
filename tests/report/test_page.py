"""The page of a run that others made, or that is damaged: safe, one line where it cannot be, and never a traceback."""

import copy
import html.parser
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.drawings import flatness_curves, make_run, settings, training_rows, write_examples
from tests.report.test_style import HOSTILE, characters_of_xml

from cgro._check import BadRequest
from cgro.cli import main
from cgro.commands import report
from cgro.report import flatness, memory, page, training
from cgro.report.examples import read_examples
from cgro.report.shape import NUMBER, SHARE, TEXT, Maybe, require
from cgro.runs import Run

METRIC = {"value": 0.5, "interval": [0.4, 0.6], "n": 60, "bound": "lower", "attack": "PGD"}
CURVE = {"epoch": 1, "value": 0.5, "interval": [0.4, 0.6], "n": 60, "complete": True}
PARTS = {"gradient": [{"value": 1.0}, {"value": 3.0}], "rise": [{"value": 0.1}, {"value": 0.2}]}
SUMMARY: dict[str, Any] = {
    "command": "evaluate", "verdict": {"label": "robust", "reason": "x"}, "threat": {"p": "inf", "radius": 0.1},
    "metrics": {"robust_error/test": METRIC, "clean_error/test": METRIC, "flatness/gradient/test@0.1": {"value": 1.0}},
    "curves": {"ensemble": {"test": [CURVE, {**CURVE, "epoch": 2}]}},
    "flatness": {"radii": [0.05, 0.1], "training_radius": 0.1, "checkpoints": [{"parts": {"test": PARTS}}]},
}  # fmt: skip
DIAGNOSIS = {
    "label": "robust_overfitting", "reason": "x", "drops": [2], "rise": {"onset": 2.0}, "findings": ["a"], "remedies": ["b"],
    "lint": [{"name": "a", "status": "WARN", "finding": "b", "meaning": "c", "remedy": "d"}],
}  # fmt: skip


class Handlers(html.parser.HTMLParser):
    """Attributes that run scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [name for name, _ in attrs if name.startswith("on")]


def run_in(folder: Path, summary: Any = SUMMARY, **files: Any) -> Run:
    path = make_run(folder, config={**settings("digits"), "radius": 0.1}, summary=summary, rows=training_rows())
    for name, content in files.items():
        (path / name.replace("_", ".")).write_text(json.dumps(content))
    return Run(path)


def page_of(run: Run) -> str:
    return page.html([page.card(run)], [page.examples(run)])


# Text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_breaks_the_page(text: str, tmp_path: Path) -> None:
    summary = {
        **SUMMARY, "command": "diagnose", "verdict": {"label": text, "reason": text}, "threat": {"p": text},
        "metrics": {f"x@{text}": {**METRIC, "attack": text}, f"flatness/{text}/{text}": {"value": "inf"}},
        "curves": {text: {text: [CURVE, {**CURVE, "epoch": 2}]}},
    }  # fmt: skip
    fine = DIAGNOSIS["lint"][0]
    found = {
        **DIAGNOSIS,
        "label": text,
        "reason": text,
        "findings": [text],
        "remedies": [text],
        "lint": [dict.fromkeys(fine, text)],
    }
    run = run_in(
        tmp_path / "run", {**summary, "diagnoses": [found]}, environment_json={"schema": 1, text: {text: [text]}}
    )
    write_examples(run.path / "examples.npz", [text or "x", "ok"])
    card = page.card(run, found)
    (run.path / "summary.json").write_text(
        json.dumps({**json.loads((run.path / "summary.json").read_text()), "command": "train"})
    )
    shown = page.html([card], [page.examples(run)])
    assert shown.encode().decode() == shown
    assert characters_of_xml(shown)
    assert shown.count("<script") == 1 + shown.count('<script type="application/json">')
    assert "<svg onload" not in shown
    handlers = Handlers()
    handlers.feed(shown)
    assert handlers.found == []
    for data in re.findall(r'<script type="application/json">(.*?)</script>', shown, re.S):
        json.loads(data)


def test_describe_prints_no_escape_sequence_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worst = "\x1b]0;title\x07\x1b[31m\u202e\r\nrobust: all is well\x9b2J\ud800"
    run = run_in(tmp_path / "run", {**SUMMARY, "verdict": {"label": worst, "reason": worst}})
    assert main(["report", str(run.path), "--out", str(tmp_path / "a.html")]) == 0
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert next(line for line in out.splitlines() if line).startswith("run: \\x1b]0;title")
    assert not any(line.startswith("robust: all") for line in out.splitlines())


# Policy


def test_the_policy_allows_one_script_and_one_style_by_their_hash(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    shown = page_of(run)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', shown)
    assert policy
    assert "unsafe" not in policy[1]
    (script,) = re.findall(r"<script>(.*?)</script>", shown, re.S)
    (style,) = re.findall(r"<style>(.*?)</style>", shown, re.S)
    assert f"script-src '{page.csp_hash(script)}'" in policy[1]
    assert f"style-src '{page.csp_hash(style)}'" in policy[1]
    assert not re.search(r"""\sstyle=|\son[a-z]+=["']""", shown.replace(script, ""))
    assert "<svg" in shown


# Shapes


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a nested value."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        found += places(part, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """A copy with another value at a place; `...` takes it out."""
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if by is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = by
    return changed


WRONG = (..., None, "text", [], {}, [[]], {"a": 1}, -3.5, True, 1e308, "inf")


@pytest.mark.parametrize("diagnosed", [False, True])
def test_a_summary_of_another_shape_is_one_line_or_a_page(diagnosed: bool, tmp_path: Path) -> None:
    """Every place of a summary replaced by every wrong value: a page, or BadRequest that names the file."""
    whole = {**SUMMARY, "outcome": {"kind": "completed", "reason": "x"}}
    if diagnosed:
        whole = {
            "command": "diagnose",
            "outcome": {"reason": "x"},
            "verdict": None,
            "metrics": {},
            "diagnoses": [DIAGNOSIS],
        }
    run = run_in(tmp_path / "run")
    refused = 0
    for place in places(whole):
        for wrong in WRONG:
            (run.path / "summary.json").write_text(json.dumps(replaced(whole, place, wrong)))
            config = report.Config(runs=[str(run.path)], lint_n=0)
            try:
                card = page.card(run, report._diagnosis(run, config))
                json.dumps(card, allow_nan=False)
                page.html([card], [page.examples(run)])
            except BadRequest as error:
                refused += 1
                assert str(run.path) in str(error)
                assert "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize("wrong", [[], "x", 3, None, [{}]])
def test_a_summary_that_is_no_object(wrong: Any, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", summary_json=wrong)
    with pytest.raises(BadRequest, match="summary.json"):
        page.card(run)


@pytest.mark.parametrize("wrong", [..., None, "9", [], {}, 9.37, -0.1, True, 1e400, float("nan")])
@pytest.mark.parametrize("key", ["epoch", "robust_error/test", "clean_error/train", "lr", "part"])
def test_rows_of_another_shape(key: str, wrong: Any, tmp_path: Path) -> None:
    """A changed digit is found too: an error of 9.37 is no share. `part` and missing numbers only leave rows out."""
    run = run_in(tmp_path / "run")
    rows = [{"lr": 0.1, "part": 0, **row} for row in training_rows()]
    rows[2] = replaced(rows[2], (key,), wrong)
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for read in (page_of, lambda one: training.learning_curves(one.path)):
        try:
            read(run)
        except BadRequest as error:
            assert "metrics.jsonl" in str(error)
    if key.startswith("robust") and wrong not in (..., None):
        with pytest.raises(BadRequest, match=r"metrics.jsonl.*(line 3|\[2\]).*robust_error/test"):
            page_of(run)


@pytest.mark.parametrize("line", ["[]", "3", '"x"', "null", "[[1]]"])
def test_rows_that_are_no_objects(line: str, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    (run.path / "metrics.jsonl").write_text(line + "\n" + line + "\n")
    with pytest.raises(BadRequest, match="metrics.jsonl"):
        page.card(run)


@pytest.mark.parametrize(
    "content", [b"[]", b"3", b"\xff\xfe", b"", b'{"a": ' * 600 + b"1" + b"}" * 600, b"{" * 100_000]
)
def test_a_damaged_environment_is_one_line(content: bytes, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    (run.path / "environment.json").write_bytes(content)
    with pytest.raises(BadRequest, match="environment.json"):
        page.card(run)


@pytest.mark.parametrize("radius", ["abc", "1/0", [], {}, "8/255/3", True, float("nan"), "1" * 400])
def test_any_radius_in_the_settings_gives_a_page(radius: Any, tmp_path: Path) -> None:
    assert page.references({"radius": radius}, [{"robust_error/test": 0.5}]) == []


def test_flatness_and_memory_of_another_shape_are_one_line(tmp_path: Path) -> None:
    whole = flatness_curves("digits")[:1]
    (tmp_path / "flatness").mkdir()
    stop: list[str] = []
    for place in places(whole):
        for wrong in (..., "text", [], {}, None):
            (tmp_path / "flatness" / "curves.json").write_text(json.dumps(replaced(whole, place, wrong)))
            with pytest.MonkeyPatch.context() as patch:
                for name in ("by_radius", "by_epoch", "over_training"):
                    patch.setattr(flatness, name, lambda *_: tmp_path)  # drawing takes the time and has its own test
                try:
                    flatness.draw(tmp_path)
                    flatness.gaps(json.loads((tmp_path / "flatness" / "curves.json").read_text()))
                except BadRequest as error:
                    stop.append(str(error))
    assert all("curves.json" in message for message in stop)
    assert len(stop) > 100
    (tmp_path / "memory.json").write_text(json.dumps({"radius": "x"}))
    with pytest.raises(BadRequest, match="memory.json"):
        memory.draw(tmp_path)
    (tmp_path / "memory.json").write_text(json.dumps({"radius": 0.1}))
    np.savez(tmp_path / "examples.npz", x=np.ones(3))
    with pytest.raises(BadRequest, match="examples.npz"):
        memory.draw(tmp_path)


def test_every_stored_result_has_its_shape() -> None:
    results = Path(__file__).parents[2] / "results"
    found = sorted(results.glob("**/summary.json"))
    assert found
    for path in found:
        if json.loads(path.read_text())["command"] != "reproduce":
            page.read_summary(Run(path.parent))


def test_require_says_where() -> None:
    shape = {"a": [NUMBER], "b": Maybe({...: SHARE}), "c": TEXT}
    require({"a": [1, 2.5], "c": "x", "more": object()}, shape, "f")
    require({"a": [], "b": {"any": 1, "name": 0}, "c": ""}, shape, "f")
    for value, said in (({"a": [1, True], "c": ""}, r"a\[1\], got True"), ({"a": 1, "c": ""}, "a list at a, got 1"),
                        ({"a": [], "b": {"z": 1.5}, "c": ""}, r"a share in \[0, 1\] at b.z"), ({"a": []}, "an entry 'c'"),
                        ([], "an object, got a list"), ({"a": [10**400], "c": ""}, r"a finite number at a\[0\]")):  # fmt: skip
        with pytest.raises(BadRequest, match=said):
            require(value, shape, "f")


# Examples


DAMAGED = {
    "no x": {"x": None}, "no classes": {"classes": None}, "vector": {"x": np.ones(3, "float32"), "x_adv": np.ones(3, "float32")},
    "other shape": {"x_adv": np.ones((3, 1, 5, 5), "float32")}, "text pixels": {"x": np.array(["a"])},
    "bytes": {"x": np.zeros((3, 1, 6, 6), "uint8"), "x_adv": np.zeros((3, 1, 6, 6), "uint8")},
    "no pixels": {"x": np.ones((3, 1, 0, 6), "float32"), "x_adv": np.ones((3, 1, 0, 6), "float32")},
    "nan": {"x": np.full((3, 1, 6, 6), np.nan, "float32")}, "infinite": {"x_adv": np.full((3, 1, 6, 6), np.inf, "float32")},
    "label too high": {"y": np.array([0, 1, 9])}, "label too low": {"prediction": np.array([0, -1, 1])},
    "label between": {"prediction_adv": np.array([0, 0.5, 1])}, "label nan": {"y": np.array([0, np.nan, 1])},
    "too few labels": {"y": np.array([0])}, "labels of text": {"y": np.array(["a", "b", "c"])},
    "names are numbers": {"classes": np.array([1, 2])}, "names in a table": {"classes": np.array([["a", "b"]])},
    "binary of text": {"binary": np.array("yes")}, "binary of three": {"binary": np.array([True, False, True])},
    "binary labels": {"binary": np.array(True)}, "one name for two": {"binary": np.array(True), "classes": np.array(["a"]),
                                                                       **dict.fromkeys(("y", "prediction", "prediction_adv"), np.array([1, 1, -1]))},
    "wide": {"x": np.zeros((1, 1, 2, 1025), "float32"), "x_adv": np.zeros((1, 1, 2, 1025), "float32"),
             **dict.fromkeys(("y", "prediction", "prediction_adv"), np.array([1]))},
    "many": {"x": np.zeros((65, 1, 2, 2), "float32"), "x_adv": np.zeros((65, 1, 2, 2), "float32"),
             **dict.fromkeys(("y", "prediction", "prediction_adv"), np.ones(65, int))},
}  # fmt: skip


@pytest.mark.parametrize("arrays", DAMAGED.values(), ids=DAMAGED.keys())
def test_examples_of_another_kind_are_left_out_and_the_page_says_why(arrays: dict[str, Any], tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", {**SUMMARY, "command": "train"})
    write_examples(run.path / "examples.npz", ["cat", "dog"], **arrays)
    found = page.examples(run)
    assert not found.shown
    assert found.left_out.startswith("examples.npz")
    assert f"Left out: {found.left_out[:12]}" in page_of(run)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"\x80\x04K\x01.", b"not a zip", "cut", "flipped", "link", "pipe", "folder"]
)
def test_damaged_files_of_examples_are_left_out(content: bytes | str, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", {**SUMMARY, "command": "train"})
    path = run.path / "examples.npz"
    whole = write_examples(tmp_path / "other.npz", ["cat", "dog"]).read_bytes()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif content == "flipped":
        path.write_bytes(whole[:200] + bytes(b ^ 0xFF for b in whole[200:400]) + whole[400:])
    elif content == "link":
        path.symlink_to(tmp_path / "other.npz")
    elif content == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    found = page.examples(run)
    assert not found.shown
    assert found.left_out
    assert "Left out: examples.npz" in page_of(run)


def test_good_examples_are_shown(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", {**SUMMARY, "command": "train"})
    two = {
        "binary": np.array(True),
        "y": np.array([-1, 1, 1]),
        "prediction": np.array([-1, 1, -1]),
        "prediction_adv": np.array([1, 1, 1]),
    }
    for channels, more in ((1, {}), (3, {}), (2, {}), (4, {}), (1, two)):
        write_examples(run.path / "examples.npz", ["cat", "dog"], channels=channels, **more)
        found = page.examples(run)
        assert found.left_out == ""
        assert len(found.shown) == 3
        assert training.adversarial_grid(run.path)
    assert [one["before"] for one in found.shown] == ["cat", "dog", "cat"]
    assert [one["wrong"] for one in found.shown] == [True, False, False]
    assert read_examples(run.path / "examples.npz").right_before.tolist() == [True, True, False]


def test_a_run_of_another_command_has_no_examples(tmp_path: Path) -> None:
    """`cgro memory` keeps other arrays under the same name."""
    run = run_in(tmp_path / "run", {**SUMMARY, "command": "memory"})
    np.savez(run.path / "examples.npz", **{"train/margin": np.ones(3)})
    assert page.examples(run) == page.Pictures()
