"""Completion of words in a shell: the stored scripts are those of the options, and bash completes by them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cgro.cli import COMMANDS, COMPLETION_FOLDER, COMPLETIONS, main

ASK = """
source {script}
COMP_WORDS=({words})
COMP_CWORD={at}
COMP_LINE="{line}"
COMP_POINT={point}
_shtab_cgro
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_the_stored_script_is_that_of_the_options(shell: str) -> None:
    """Where this fails an option or a text changed: run python tools/completion.py."""
    pytest.importorskip("shtab", reason="the stored scripts are made by shtab, of the extra dev")
    from tools import completion

    assert (Path(COMPLETION_FOLDER) / shell).read_text() == completion.script(shell)


def completed(line: str) -> list[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    script = ASK.format(
        script=Path(COMPLETION_FOLDER) / "bash",
        words=" ".join(f"'{word}'" for word in words),
        at=len(words) - 1,
        line=line,
        point=len(line),
    )
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_and_options() -> None:
    assert completed("cgro mem") == ["memory", "memorize"]
    assert set(completed("cgro ")) == {*COMMANDS, "completion"}
    assert "--objective" in completed("cgro train --obj")
    assert completed("cgro completion z") == ["zsh"]
    assert completed("cgro train --no-such") == []


def test_the_script_is_printed_and_another_shell_refused(capsys: pytest.CaptureFixture) -> None:
    assert main(["completion", "bash"]) == 0
    assert "complete -" in capsys.readouterr().out
    assert main(["completion", "--help"]) == 0
    assert "compinit" in capsys.readouterr().out
    for words in (["completion", "csh"], ["completion"], ["completion", "bash", "zsh"]):
        assert main(words) == 2
        assert capsys.readouterr().err.startswith("cgro completion: expected one of bash, zsh, fish; got ")
