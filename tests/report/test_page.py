"""The page of a run that others made: safe whatever its texts are, and complete."""

import html.parser
import json
import re
from pathlib import Path

import msgspec
import pytest
from tests.report.runs import (
    COMPLETED,
    METRIC,
    checkpoints,
    diagnose_summary,
    diagnosis,
    flatness_record,
    make_run,
    settings,
    train_summary,
    training_rows,
    write_examples,
)
from tests.report.test_style import HOSTILE, characters_of_xml

from cgro.cli import main
from cgro.report.card import read_card
from cgro.report.page import LONGEST_TEXT, csp_hash, printable_text
from cgro.report.page import html as render
from cgro.report.pictures import read_pictures
from cgro.report.side_by_side import Difference
from cgro.results import ErrorRate, Metric, SelectedRecord, SelectionRecord, Summary, VerdictRecord
from cgro.runs import Run


class Handlers(html.parser.HTMLParser):
    """Attributes that run scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [name for name, _ in attrs if name.startswith("on")]


def run_in(folder: Path, summary: Summary, text: str = "digits") -> Run:
    config = {**settings("digits"), "note": text}
    return Run(make_run(folder, config=config, summary=summary, rows=training_rows()))


def page_of(run: Run) -> str:
    return render([read_card(run)], [read_pictures(run)])


def data_of(page: str) -> list[dict]:
    """What the script reads of each chart."""
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]


# Text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_breaks_the_page(text: str, tmp_path: Path) -> None:
    """Every place of a run and of its diagnosis in which a text can stand, with the same text."""
    record = flatness_record(text)
    parts = {text: record.checkpoints[-1].parts["test"]}
    point = msgspec.structs.replace(record.checkpoints[-1], label=text, parts=parts)
    summary = train_summary(
        verdict=VerdictRecord(label=text, reason=text),
        metrics={f"x@{text}": msgspec.structs.replace(METRIC, attack=text), f"flatness/{text}/{text}": Metric(value=1)},
        curves={text: {text: checkpoints()}},
        flatness=msgspec.structs.replace(record, checkpoints=[point]),
    )
    run = run_in(tmp_path / "run", summary, text)
    (run.path / "environment.json").write_text(json.dumps({"schema": 1, text: {text: [text]}}))
    write_examples(run.path / "examples.npz", [text or "x", "ok"])
    card = read_card(run, diagnosis(text, label=text))
    shown = render([card, read_card(run)], [read_pictures(run)] * 2)
    assert shown.encode().decode() == shown
    assert characters_of_xml(shown)
    assert len(data_of(shown)) == 11  # two of curves, one of checkpoints, two of flatness, in both runs; one of both
    assert shown.count("<script") == 1 + len(data_of(shown))
    assert "<svg onload" not in shown
    handlers = Handlers()
    handlers.feed(shown)
    assert handlers.found == []


def test_text_is_printed_on_one_line_and_numbers_as_they_are() -> None:
    assert printable_text("a\n\x1b[31mb") == r"a \x1b[31mb"
    assert printable_text({"a": "\u202e"}) == r"{'a': '\u202e'}"
    assert (printable_text(3), printable_text(0.5), printable_text(None)) == (3, 0.5, "None")
    assert len(str(printable_text("x" * 2 * LONGEST_TEXT))) <= LONGEST_TEXT


def test_describe_prints_no_escape_sequence_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worst = "\x1b]0;title\x07\x1b[31m\u202e\r\nrobust: all is well\x9b2J\ud800"
    run = run_in(tmp_path / "run", train_summary(verdict=VerdictRecord(label=worst, reason=worst)))
    assert main(["report", str(run.path), "--out", str(tmp_path / "a.html")]) == 0
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert next(line for line in out.splitlines() if line).startswith("run: \\x1b]0;title")
    assert not any(line.startswith("robust: all") for line in out.splitlines())


# Policy


def test_the_policy_allows_one_script_and_one_style_by_their_hash(tmp_path: Path) -> None:
    shown = page_of(run_in(tmp_path / "run", train_summary()))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', shown)
    assert policy
    assert "unsafe" not in policy[1]
    (script,) = re.findall(r"<script>(.*?)</script>", shown, re.S)
    (style,) = re.findall(r"<style>(.*?)</style>", shown, re.S)
    assert f"script-src '{csp_hash(script)}'" in policy[1]
    assert f"style-src '{csp_hash(style)}'" in policy[1]
    assert not re.search(r"""\sstyle=|\son[a-z]+=["']""", shown.replace(script, ""))
    assert "<svg" in shown


# What it says


def test_charts_hold_the_values_of_the_run(tmp_path: Path) -> None:
    summary = train_summary(curves={"pgd": {"test": checkpoints([0.5, 0.75])}}, flatness=flatness_record())
    curves, gap, strong, gradient, rise = data_of(page_of(run_in(tmp_path / "run", summary)))
    rows = training_rows()
    assert curves["labels"][0] == "robust error, test"
    assert curves["lines"][0] == pytest.approx([100 * row["robust_error/test"] for row in rows], abs=1e-3)
    expected = [100 * (row["robust_error/test"] - row["robust_error/train"]) for row in rows]
    assert gap["lines"] == [pytest.approx(expected)]
    assert (strong["labels"], strong["lines"]) == (["pgd, test"], [[50.0, 75.0]])
    last = flatness_record().checkpoints[-1].parts
    assert gradient["along"] == "radius"
    assert gradient["lines"] == [[m.value for m in part.gradient] for part in last.values()]
    assert rise["lines"] == [[m.value for m in part.rise] for part in last.values()]
    assert rise["epochs"] == [0.05, 0.1, 0.2]


def test_the_verdict_stands_first_with_its_evidence(tmp_path: Path) -> None:
    found = diagnosis("because", findings=["one finding"], remedies=["one remedy"])
    run = run_in(tmp_path / "run", diagnose_summary(found))
    shown = render([read_card(run, found)], [read_pictures(run)])
    words = ("not recorded", "robust overfitting", "Because", "Learning curves", "one finding", "one remedy")
    words = (*words, "Robust generalization gap", "To do:", "Configuration")
    places = [shown.index(word) for word in words]
    assert places == sorted(places)
    assert 'class="verdict bad"' in shown
    assert "onset 2 [1.5, 2.5]</text>" in shown
    assert shown.count("lr drop</text>") == 2  # in the curves and in the gap
    assert "Side by side" not in shown


@pytest.mark.parametrize(
    ("label", "tone"),
    [
        ("robust", "good"),
        ("cgro", "bad"),
        ("too_little_evidence", ""),
        ("none", ""),
        ("reproduced", "good"),
        ("not reproduced", "bad"),
        ("derived", ""),
        ("partly", ""),
        ("cannot be told", ""),
        ("cannot be tested at this scale", ""),
    ],
)
def test_the_tone_of_a_verdict(label: str, tone: str, tmp_path: Path) -> None:
    summary = train_summary(verdict=VerdictRecord(label=label, reason="x"))
    assert f'<div class="verdict {tone}">' in page_of(run_in(tmp_path / "run", summary))


def test_several_runs_side_by_side(tmp_path: Path) -> None:
    one = run_in(tmp_path / "one", train_summary(metrics={"robust_error/test": Metric(value=0.125)}))
    none = run_in(tmp_path / "two", train_summary(metrics={"clean_error/test": Metric(mean=0.25, sd=None)}))
    shown = render([read_card(run) for run in (one, none)], [read_pictures(run) for run in (one, none)])
    table = shown[shown.index("Side by side") : shown.index('<div class="runs">')]
    cells = re.findall(r"<t[hd](?: [^>]*)?>([^<]*)<", table)
    assert cells == [
        *("run", "verdict", "robust_error/test", "clean_error/test"),
        *("1. one", "no large robust gap", "12.50%", "not measured"),
        *("2. two", "no large robust gap", "not measured", "25.00%"),
    ]


def test_side_by_side_shows_intervals_differences_and_one_chart(tmp_path: Path) -> None:
    found = {"robust_error/test": Metric.of_error(ErrorRate(50, 100, "lower"))}
    runs = [run_in(tmp_path / name, train_summary(metrics=found)) for name in ("first", "second")]
    compared = [Difference(2, "robust_error/test", -0.125, (-0.25, 0.0), "paired by seed (3 seeds)")]
    shown = render([read_card(run) for run in runs], [read_pictures(run) for run in runs], compared)
    part = shown[shown.index("Side by side") : shown.index('<div class="runs">')]
    assert "50.00%" in part
    assert "40.38% to 59.62%" in part  # Wilson's interval
    assert part.count("n = 100") == 2
    assert "-12.50" in part
    assert "-25.00 to +0.00" in part
    assert "paired by seed (3 seeds)" in part
    (chart,) = data_of(part)
    assert chart["labels"] == ["1. first, test", "1. first, train", "2. second, test", "2. second, train"]
    assert chart["lines"][0] == pytest.approx([100 * row["robust_error/test"] for row in training_rows()], abs=1e-3)


def test_the_chart_has_the_fitted_valley_the_best_epoch_and_the_interval_of_the_onset(tmp_path: Path) -> None:
    chosen = SelectedRecord(rule="test", epoch=3, robust_error=0.5, clean_error=None, robust_error_train=None)
    selection = SelectionRecord(on_test=chosen, on_validation=None, last=chosen, last_five=chosen, gap=0.1, bias=None)
    rows = [{**row, "valley": 0.5, "part": 0} for row in training_rows()]
    found = diagnosis(selection=selection)
    run = Run(make_run(tmp_path / "run", config={"target": "a/out.log"}, summary=diagnose_summary(found), rows=rows))
    shown = render([read_card(run, found)], [read_pictures(run)])
    curves = data_of(shown)[0]
    assert curves["labels"][-1] == "falls, then rises (fit)"
    assert curves["lines"][-1] == [50.0] * len(rows)
    assert "best epoch 3</text>" in shown
    (left, width) = re.findall(r'class="band" x="([\d.]+)" y="8" width="([\d.]+)"', shown)[0]
    by_epoch = dict(zip(curves["epochs"], curves["xs"], strict=True))
    step = by_epoch[2] - by_epoch[1]
    assert float(left) == pytest.approx(by_epoch[1] + 0.5 * step, abs=0.2)
    assert float(width) == pytest.approx(step, abs=0.2)


def test_shares_are_percent_and_other_numbers_are_not(tmp_path: Path) -> None:
    metrics = {
        "robust_error/test@pgd20": Metric(value=0.4532, interval=(0.4, 0.5)),
        "rise/robust_error/test": Metric(value=0.05),
        "memory/ranking": Metric(value=0.625),
    }
    shown = page_of(run_in(tmp_path / "run", train_summary(metrics=metrics)))
    assert "45.32%" in shown
    assert "40.00% to 50.00%" in shown
    assert "5.00%" in shown
    assert ">0.625<" in shown
    assert "0.4532" not in shown


def test_every_cell_of_a_table_says_its_column_on_a_phone_and_a_print_opens_what_is_folded(tmp_path: Path) -> None:
    shown = page_of(run_in(tmp_path / "run", train_summary(metrics={"robust_error/test": Metric(value=0.5)})))
    cells = re.findall(r"<td[^>]*>", shown)
    assert cells
    assert all("data-label=" in cell for cell in cells)
    assert 'addEventListener("beforeprint"' in shown
    assert "white-space: pre-wrap" in shown


def test_examples_are_shown_or_their_absence_is_said(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", train_summary())
    write_examples(run.path / "examples.npz", ["cat", "dog"], prediction_adv=[1, 1, 0])
    shown = page_of(run)
    assert shown.count('src="data:image/png;base64,') == 6
    assert 'alt="The same image attacked, predicted dog"' in shown
    assert shown.count("(wrong)") == 1
    assert 'data-radius="0.1"' in shown
    write_examples(run.path / "examples.npz", ["cat", "dog"], y=None)
    assert "Left out: examples.npz: expected the arrays of cgro train, got none called y" in page_of(run)


def test_a_run_without_anything_is_a_page(tmp_path: Path) -> None:
    summary = Summary(command="other", seed=0, threat=None, outcome=COMPLETED, verdict=None, metrics={})
    run = run_in(tmp_path / "run", summary)
    (run.path / "metrics.jsonl").write_text("")
    shown = page_of(run)
    assert data_of(shown) == []
    assert "WARN: not run" in shown
