"""docs/distributed.md: torchrun hands the words behind `cgro` over as they are, and the commands take them."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from cgro.cli import TOGETHER
from cgro.commands._parser import parse

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "distributed.md", ROOT / "README.md")
LINES = sorted({line for page in PAGES for line in re.findall(r"torchrun [^`\n]*", page.read_text())} - {"torchrun "})
CALLS = [line for line in LINES if "--nproc-per-node" in line and "..." not in line]


@pytest.mark.parametrize("line", CALLS)
def test_torchrun_hands_over_every_word(line: str) -> None:
    words = shlex.split(line)
    told = get_args_parser().parse_args(words[1:])
    assert told.training_script == "cgro"
    assert told.training_script_args == words[words.index("cgro") + 1 :]
    command, *options = told.training_script_args
    assert command in TOGETHER
    module = import_module(f"cgro.commands.{command}")
    parse(command, "", module.Config, options, getattr(module, "RECIPES", None))


def test_the_page_has_calls_and_without_two_dashes_one_would_be_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(CALLS) >= 3
    with pytest.raises(SystemExit):
        get_args_parser().parse_args(["--nproc-per-node", "2", "-m", "cgro", "evaluate", "runs/a", "--n", "100"])
    assert "ambiguous option: --n" in capsys.readouterr().err
