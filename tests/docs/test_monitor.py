"""docs/monitor.md: its loop runs as written, in three lines, and its table holds the stored numbers."""

import json
import re
import shlex
from pathlib import Path

import pytest

from cgro.cli import main
from cgro.runs import Run

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "monitor.md").read_text()
(LOOP,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^cgro (.*)$", re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[0], re.MULTILINE)


def test_the_loop_runs_and_its_run_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(LOOP, {})
    assert len(Run.open("runs/mine").rows()) == 12
    for command in COMMANDS:
        assert main(shlex.split(command)) == 0
    assert Path("mine.html").exists()


def test_three_lines_are_about_the_monitor() -> None:
    assert len(re.findall(r"^\s*monitor\b.*$", LOOP, re.MULTILINE)) == 3


def test_the_alarms_are_those_of_the_benchmark() -> None:
    cells = json.loads((ROOT / "benchmarks" / "results" / "monitor_alarm.json").read_text())["cells"]
    for cell in cells:
        row = f"| {100 * cell['noise']:g} points, correlation {cell['rho']:g} | "
        (line,) = (text for text in TEXT.splitlines() if text.startswith(row))
        numbers = [text.strip() for text in line.strip("| ").split(" | ")][1:]
        if cell["rises"]:
            assert numbers[2:] == [str(cell["alarms"]), f"{cell['epochs_after_onset']:g}"]
            assert not cell["before_onset"]
        else:
            assert numbers[:2] == [str(cell["alarms"]), str(cell["by_one_look"])]
    assert len(cells) == 8


def test_every_argument_is_in_the_table() -> None:
    import inspect

    from cgro import Monitor

    table = TEXT.partition("## What goes in")[2].partition("## What it leaves alone")[0]
    for name in inspect.signature(Monitor).parameters:
        assert f"`{name}`" in table or name in ("out", "seed"), name
