"""The command line: parse, call one command, set the exit code.

0 done; 1 a check that was asked for failed; 2 bad request, one line; 130 interrupted, the run can be resumed.
The table below is static and a command's module is imported only when it is chosen, so help answers at once.
"""

import importlib
import json
import sys
from collections.abc import Sequence

from cgro import __version__

COMMANDS = {
    "quickstart": "the phenomenon on real digits, in pictures, in three minutes",
    "report": "one HTML file about one or several runs: verdict, curves, examples, numbers, lint",
    "data": "which data sets are available, and where they were found",
    "train": "standard or adversarial training, with the four errors and the verdict",
    "evaluate": "clean and robust errors of a run or a checkpoint",
    "diagnose": "does MY model overfit robustly? a run, checkpoints, curves or a training log",
    "dynamics": "the three stages of Section 5, simulated exactly on patch data",
    "separation": "distance between the classes, and the largest admissible radius",
    "memorize": "the robust memoriser of Theorem 4.4 on your data, with a certificate",
    "flatness": "how flat the loss is around training and test images; the bound",
    "memory": "does it act from memory inside the training balls, and whom does it remember?",
    "lower-bound": "Theorem 4.7: what robust generalization costs, floor and construction",
    "reproduce": "the paper's tables and figures, with a verdict per claim",
}

ELSEWHERE = {"reproduce": "cgro.experiments.reproduce"}
"""Commands that call commands live a floor above them."""

_HELP = """usage: cgro COMMAND [options]

Does my network overfit robustly, why, and what helps? After Li and Li, ICML 2025.

commands:
{table}

cgro COMMAND --help shows the options and examples of one command. cgro --version prints the version.
"""


def help_text() -> str:
    """The top-level help."""
    return _HELP.format(table="\n".join(f"  {name:12} {line}" for name, line in COMMANDS.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return 0
    if argv[0] == "--version":
        print(f"cgro {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"cgro: expected one of {', '.join(COMMANDS)}; got {argv[0]!r}; see cgro --help", file=sys.stderr)
        return 2
    return _call(argv[0], argv[1:])


def _call(name: str, argv: Sequence[str]) -> int:
    from cgro._check import BadRequest, CheckFailed

    try:
        from cgro.commands._common import parse

        module = importlib.import_module(ELSEWHERE.get(name, f"cgro.commands.{name.replace('-', '_')}"))
        config = parse(name, module.__doc__ or "", module.Config, argv, getattr(module, "RECIPES", None))
        try:
            run = module.run(config)
        except CheckFailed as failed:
            print(f"cgro {name}: {failed}", file=sys.stderr)
            return 1
        result = run.summary
        text = json.dumps(result, indent=2) if config.json else module.describe(result)
        print(text if config.json or run.path is None else f"{text}\n\n{run.path}")
        return 0
    except BadRequest as error:
        print(" ".join(f"cgro {name}: {error}".split()), file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, `head` say, has had enough
        sys.stdout = None
        return 0
    except OSError as error:  # a full disk, a folder that cannot be written
        what = f"{error.strerror or error}: {error.filename or 'output'}"
        print(f"cgro {name}: {what}; free space or change --out", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        how = str(stop) or "the same command with the same --out resumes it"
        print(f"cgro {name}: interrupted; {how}", file=sys.stderr)
        return 130
    except SystemExit as done:  # --help
        return int(done.code or 0)


if __name__ == "__main__":
    sys.exit(main())
