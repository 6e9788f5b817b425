"""docs/clusters.md: its commands are read, its Python imports, and what it says of options is what the code takes."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from cgro.cli import ELSEWHERE
from cgro.commands._parser import parse
from cgro.jobs import slurm, workers
from cgro.jobs.execute import PATIENCE
from cgro.jobs.places import Place

TEXT = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
COMMANDS = re.findall(r"^cgro (\w+) (.*?)(?: &)?$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_every_command_is_read(name: str, words: str) -> None:
    module = import_module(ELSEWHERE.get(name, f"cgro.commands.{name}"))
    config = parse(name, "", module.Config, shlex.split(words), getattr(module, "RECIPES", None))
    assert Place.of(config, config.threads).name == config.executor


def test_the_commands_are_those_that_take_an_executor() -> None:
    assert {name for name, _ in COMMANDS} == {"train", "dynamics", "compare", "reproduce"}


def test_the_python_imports_and_its_options_exist() -> None:
    """What it does is done in tests/jobs/test_sweeps.py."""
    (script,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {"__name__": "page"}
    exec(script, names)
    calls = [ast.unparse(node) for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    configs = [text for text in calls if re.match(r"\w+\.Config\(", text)]
    assert len(configs) == 2
    for text in configs:
        eval(text, names)


def test_the_numbers_are_those_of_the_code() -> None:
    listed = re.findall(r"`([\w-]+)`", TEXT.partition("- `--slurm-options`: ")[2].partition("as sbatch")[0])
    assert tuple(listed) == slurm.OPTIONS
    assert f"saves ({slurm.WARNING})" in " ".join(TEXT.split())
    assert f"at a time ({slurm.IN_QUEUE})" in TEXT
    assert f"up to {slurm.REQUEUES} times" in TEXT
    assert f"within {PATIENCE:.0f} seconds" in TEXT
    assert (workers.RESTARTS, TEXT.count("up to three times")) == (3, 2)
    assert (slurm.TRIES, "tried five times" in TEXT) == (5, True)
    assert sum(slurm.FASTEST * 4**k for k in range(slurm.TRIES - 1)) < 45
