"""docs/compare.md: its plan for the reader's own network runs, at toy size, and its effects are those of the code."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from cgro.report.compare import WORDS

TEXT = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
TOY = {"n_train": 90, "n_test": 30, "epochs": 2, "eval_attack": "pgd2", "eval_n": 20, "final_n": 20}


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_plan_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block("python"))
    plan = yaml.safe_load(block("yaml"))
    plan["base"] |= TOY
    plan["seeds"] = 1
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    (words,) = [shlex.split(line)[1:] for line in block("sh").splitlines()]
    command = [sys.executable, "-m", "cgro.cli", *words, "--strong", "pgd2", "--threads", "1", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs" / "compare" / "summary.json").read_text())
    assert list(summary["remedies"]) == list(plan["remedies"])
    assert summary["n_open"] == 0
    assert summary["failed"] == {}


def test_every_effect_is_described() -> None:
    described = re.findall(r"^\| ([a-z ]+) \| .* \|$", TEXT, re.MULTILINE)
    assert set(described) - {"effect"} == set(WORDS.values()) - {"reference"}
