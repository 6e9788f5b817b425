"""Every file in examples/ runs as it is called, and leaves a run that the command line reads."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cgro.cli import main
from cgro.runs import Run

FOLDER = Path(__file__).parents[2] / "examples"
NEEDS = {
    "plain_pytorch": "torch",
    "lightning_callback": "lightning",
    "hugging_face": "transformers",
    "accelerate_loop": "accelerate",
    "keras_fit": "keras",
}
"""Example -> the package that it is about."""


def test_every_example_is_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(NEEDS)


def test_the_loop_itself_needs_three_lines() -> None:
    text = (FOLDER / "plain_pytorch.py").read_text()
    assert text.count("  # 1") == text.count("  # 2") == text.count("  # 3") == 1


@pytest.mark.parametrize("name", NEEDS)
def test_it_runs(tmp_path: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    package = NEEDS[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(FOLDER / f"{name}.py"), str(tmp_path / "run")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "next: cgro report" in done.stderr
    assert len(Run.open(tmp_path / "run").rows()) >= 12
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "r.html")]) == 0
