"""Write the scripts that `cgro completion SHELL` prints into src/cgro/commands/completion, one per shell.

Like the stored help texts: reading the options imports torch, which a shell that starts must not wait for. Needs shtab,
which is in the extra `dev`. tests/test_completion.py holds the scripts equal to the options.

  python tools/completion.py
"""

import argparse
import importlib
from pathlib import Path

import shtab

from cgro.cli import COMMANDS, COMPLETION_FOLDER, COMPLETIONS, ELSEWHERE
from cgro.commands._options import options_of
from cgro.commands._parser import parser_of


def whole_parser() -> argparse.ArgumentParser:
    """One parser with a subparser per command, which is what shtab reads.

    Returns:
        Of all words that `cgro` takes.
    """
    whole = argparse.ArgumentParser(prog="cgro", description="Does my network overfit robustly, why, and what helps?")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers()
    for name, line in COMMANDS.items():
        module = importlib.import_module(ELSEWHERE.get(name, f"cgro.commands.{name.replace('-', '_')}"))
        recipes = getattr(module, "RECIPES", None) or {}
        parser = parser_of(name, "", options_of(module.Config).values(), recipes)
        for action in parser._actions:  # the only place where argparse keeps them
            takes_a_word = action.nargs is None and action.choices is None
            if takes_a_word:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # how shtab is told
        commands.add_parser(name, parents=[parser], add_help=False, help=line)
    shells = commands.add_parser("completion", help="print a script that completes words in a shell")
    shells.add_argument("shell", choices=COMPLETIONS)
    return whole


def script(shell: str) -> str:
    """What a shell reads.

    Args:
        shell: one of `COMPLETIONS`.

    Returns:
        Its lines.
    """
    return shtab.complete(whole_parser(), shell=shell)


def main(folder: Path = Path(COMPLETION_FOLDER)) -> None:
    """Write all of them.

    Args:
        folder: that holds the scripts.
    """
    folder.mkdir(exist_ok=True)
    for shell in COMPLETIONS:
        (folder / shell).write_text(script(shell))


if __name__ == "__main__":
    main()
