"""Ctrl-C before a command's first handler and after its last: a real process each, the signal at a known place."""

import subprocess
import sys

import pytest

OURS = "from cgro.__main__ import run as main"
WITHOUT = "from cgro.cli import main"
"""As it was: the front door imports the command line before anything handles a signal."""
AT_IMPORT = """
import sys, signal
class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == "cgro.cli":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Pressed())
"""
AT_THE_END = """
import atexit, signal, sys
atexit.register(signal.raise_signal, signal.SIGINT)
"""


def started(before: str, door: str, *argv: str, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    how = "signal.SIG_IGN" if ignored else "signal.default_int_handler"
    code = f"{before}\nsignal.signal(signal.SIGINT, {how})\n{door}\nsys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)


def test_ctrl_c_while_the_command_line_is_imported_is_one_line() -> None:
    found = started(AT_IMPORT, OURS, "--version")
    assert (found.returncode, found.stderr) == (130, "cgro: interrupted; nothing was begun\n")
    planted = started(AT_IMPORT, WITHOUT, "--version")
    assert planted.returncode != 130
    assert "Traceback" in planted.stderr


def test_ctrl_c_behind_the_result_changes_nothing() -> None:
    found = started(AT_THE_END, OURS, "--version")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("cgro ")
    planted = started(AT_THE_END, WITHOUT, "--version")
    assert "KeyboardInterrupt" in planted.stderr


@pytest.mark.parametrize("before", [AT_IMPORT, AT_THE_END])
def test_an_ignored_ctrl_c_stays_ignored(before: str) -> None:
    found = started(before, OURS, "--version", ignored=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_python_m_is_the_same_door() -> None:
    found = subprocess.run([sys.executable, "-m", "cgro", "nonsense"], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "nonsense" in found.stderr
