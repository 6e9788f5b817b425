"""docs/training.md: its Python runs, and its table of outcomes is that of the code."""

import re
from pathlib import Path
from typing import get_args

import pytest

from cgro.training.history import COLLAPSE_SHARE, DIVERGED_FACTOR
from cgro.trajectory import OutcomeKind

TEXT = (Path(__file__).parents[2] / "docs" / "training.md").read_text()


def test_the_python_runs(capsys: pytest.CaptureFixture) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(script, {})
    assert capsys.readouterr().out.startswith("3 epochs 0.")


def test_every_outcome_is_described() -> None:
    described = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, re.MULTILINE))
    assert set(described) == set(get_args(OutcomeKind))
    assert f"{DIVERGED_FACTOR:g} times" in described["diverged"]
    assert f"{COLLAPSE_SHARE:.0%}" in described["collapsed"]
