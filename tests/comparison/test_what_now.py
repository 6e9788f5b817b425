"""The page about robust overfitting and the table of the advice, from a stored comparison."""

import json
import re
import shlex
from pathlib import Path

import msgspec
import pytest
from tests.report.test_compare import FOUND, remedy, summary

from cgro.commands import train
from cgro.commands._common import parse
from cgro.comparison.what_now import BEGIN, END, command_of, filled, found_in, main, table_of
from cgro.diagnosis.measured_remedies import FILE, MeasuredTable
from cgro.reading import read_json
from cgro.results import CompareSummary, Metric
from cgro.results.reading import plain_summary, read_value
from cgro.runs import dump_json

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "what_now.md"


def store(results: Path, name: str, result: CompareSummary) -> None:
    path = results / "cpu" / f"compare-{name}" / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(dump_json(plain_summary(result)))


def example() -> CompareSummary:
    plain = remedy("plain", [0.5, 0.6])
    awp = msgspec.structs.replace(remedy("awp", [0.45, 0.5]), options={"extension": ["awp:gamma=0.01"]})
    rise = {"robust_error/test": Metric(mean=0.1, interval=(0.05, 0.15))}
    worse = msgspec.structs.replace(remedy("cut|mix", [0.6, 0.7]), options={"augment": "crop-flip"}, differences=rise)
    return summary(plain, worse, awp)


def test_a_stored_comparison_becomes_a_table_and_advice(tmp_path: Path) -> None:
    store(tmp_path, "mnist", example())
    page, file = tmp_path / "page.md", tmp_path / "measured_remedies.json"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main(tmp_path, page, file)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "### CIFAR-10 (JPEG mirror)\n\nNot measured." in text
    rows = re.findall(r"^\| (?!remedy|---)(.*) \|$", text, re.MULTILINE)
    assert rows[0] == "awp | -5.0 points [-6.0, -4.0] | helps | cgro train --extension awp:gamma=0.01"
    assert rows[1].startswith(r"cut\|mix | +10.0 points [+5.0, +15.0]")
    assert len(rows) == 2
    table = read_value(read_json(file), "", MeasuredTable)
    assert [one.name for one in table.comparisons[0].remedies] == ["cut|mix", "awp"]
    main(tmp_path, page, file)
    assert page.read_text() == text


def test_what_ships_is_what_is_stored() -> None:
    found = found_in(ROOT / "results")
    assert filled(PAGE.read_text(), table_of(found)) == PAGE.read_text()
    table = MeasuredTable(comparisons=[one for one in found.values() if one is not None])
    assert json.loads(FILE.read_text()) == table.plain()


def test_commands_are_ones_that_can_be_run() -> None:
    command = command_of({"objective": "trades:beta=6", "extension": ["awp", "ema:decay=0.9"], "lr_drops": "3,5"})
    config = parse("train", "", train.Config, shlex.split(command)[2:])
    assert (config.objective, config.extension, config.lr_drops) == ("trades:beta=6", ["awp", "ema:decay=0.9"], "3,5")


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the marks"):
        filled("a page", "a table")
    with pytest.raises(ValueError, match="options of cgro train"):
        command_of({"no_such": 1})
    store(tmp_path, "mnist", summary(remedy("plain", [0.5]), n_open=2))
    with pytest.raises(ValueError, match="a finished comparison, got 2 jobs"):
        found_in(tmp_path)
    assert FOUND.n_open == 0
