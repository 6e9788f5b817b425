"""The tutorial's file and commands, as they stand in the docs."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "own_data_and_network.md"


def block(language: str, n: int = 0) -> str:
    """A block of code in a language, the first one if not told otherwise."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[n]


def test_the_file_of_20_lines_trains_from_the_command_line(tmp_path: Path) -> None:
    code = block("python")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 20
    (tmp_path / "mine.py").write_text(code)
    commands = [shlex.split(line) for line in block("sh").splitlines()]
    assert {name for name, *_ in commands} == {"cgro"}
    code = (
        f"from cgro.cli import main\nprint([main(c[1:]) for c in {commands!r}])\n"  # one process: importing torch is slow
        f"from mine import Net\nnet = Net((1, 16, 16), 3)\nbefore = net[0].bias.clone()\n{block('python', 1)}"
        "print((net[0].bias != before).any().item())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0
    assert {line.partition(":")[0] for line in done.stderr.splitlines()} <= {"next", "remark", "training"}, done.stderr
    assert done.stdout.endswith("[0, 0, 0]\nTrue\n")
    assert "1x16x16 float32; mine:data\nclasses    row (" in done.stdout
    result = json.loads((tmp_path / "runs" / "mine" / "summary.json").read_text())
    assert result["data"]["classes"] == ["row", "column", "diagonal"]
    assert result["model"]["n_parameters"] == 25 * 16 + 16 + 144 * 3 + 3
    assert result["metrics"]["clean_error/test"]["value"] < 0.25
    assert result["metrics"]["robust_error/test@pgd10"]["n"] == 100
