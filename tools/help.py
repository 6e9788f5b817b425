"""Write what `cgro COMMAND --help` prints into src/cgro/commands/help, one file per command.

Options live beside the code that they steer, so reading them imports torch, which takes seconds; the stored texts
answer at once. tests/test_cli.py holds them equal to the options.

  python tools/help.py
"""

import contextlib
import importlib
import io
import os
from pathlib import Path

from cgro.cli import COMMANDS, ELSEWHERE, HELP_FOLDER
from cgro.commands._parser import parse

WIDTH = 100
"""Columns of the texts; a terminal that is narrower wraps them."""


def help_of(name: str) -> str:
    """The help of a command, from its options.

    Args:
        name: of the command.

    Returns:
        What argparse prints, `WIDTH` columns wide.
    """
    module = importlib.import_module(ELSEWHERE.get(name, f"cgro.commands.{name.replace('-', '_')}"))
    text = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            parse(name, module.__doc__ or "", module.Config, ["--help"], getattr(module, "RECIPES", None))
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return text.getvalue()


def main(folder: Path = Path(HELP_FOLDER)) -> None:
    """Write all of them.

    Args:
        folder: that holds the texts.
    """
    folder.mkdir(exist_ok=True)
    for name in COMMANDS:
        (folder / f"{name}.txt").write_text(help_of(name))


if __name__ == "__main__":
    main()
