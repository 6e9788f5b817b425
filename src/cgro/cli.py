"""The command line: parse, call one command, set the exit code.

0 done; 1 a check that was asked for failed; 2 bad request, one line; 130 interrupted, the run can be resumed: by
Ctrl-C, SIGTERM, SIGHUP or SIGUSR1, which all mean the same. The table below is static and a command's module is
imported only when it is chosen, so help answers at once; that of a command is a stored text, see tools/help.py.
"""

import contextlib
import gc
import importlib
import os
import shlex
import string
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import ModuleType

from cgro import __version__
from cgro._exits import BAD_REQUEST, CHECK_FAILED, DONE, INTERRUPTED
from cgro._interrupt import (
    SIGNALS,
    deferred_requests,
    follow_parent,
    ignore,
    interrupt,
    interrupted_by,
    is_requested,
    stop_requests,
)

TYPE_CHECKING = False  # see cgro/__init__.py
if TYPE_CHECKING:
    from pathlib import Path

    from cgro._check import BadRequest
    from cgro._progress import Loudness
    from cgro.commands._options import Output

COMMANDS = {
    "quickstart": "the phenomenon on real digits, in pictures, in three minutes",
    "diagnose": "does MY model overfit robustly? a run, checkpoints, curves or a training log",
    "report": "one HTML file about one or several runs: verdict, curves, examples, numbers, lint",
    "runs": "list, filter, compare and export the runs below a folder",
    "data": "which data sets are available, and where they were found",
    "train": "standard or adversarial training, with the four errors and the verdict",
    "evaluate": "clean and robust errors of a run or a checkpoint",
    "lint": "can the robust errors of a run or a checkpoint be believed? checks, each with what to do",
    "bench": "what this machine gives on MY network: attack, epoch, evaluation, beside the bare passes and peers",
    "compare": "what helps? remedies side by side on your data and network, at equal compute",
    "flatness": "how flat the loss is around training and test images; the bound",
    "memory": "does a network memorize its training images, and which ones?",
    "separation": "distance between the classes, and the largest admissible radius",
    "memorize": "the robust memorizer of Theorem 4.4 on your data, with a certificate",
    "lower-bound": "Theorem 4.7: how many parameters robust generalization needs",
    "dynamics": "the three stages of Section 5, simulated exactly on patch data",
    "reproduce": "the paper's tables and figures, with a verdict per claim",
}

TOGETHER = ("train", "evaluate", "lint", "diagnose", "flatness", "memory")
"""Commands that several processes of torchrun do together, each its share."""

ELSEWHERE = {"compare": "cgro.comparison.compare", "reproduce": "cgro.experiments.reproduce"}
"""Commands that call commands live a floor above them."""

SPREAD = ("train", "dynamics")
"""Commands that are made of runs of their own kind; see cgro.jobs.sweeps. Those of ELSEWHERE plan theirs."""

HELP_FOLDER = os.path.join(os.path.dirname(__file__), "commands", "help")  # pathlib would cost a tenth of --help
"""What the commands print for --help. Reading their options instead would import torch."""
HELP = ("-h", "--help")
COMPLETIONS = ("bash", "zsh", "fish")
"""Shells for which `cgro completion` has a script."""
COMPLETION_FOLDER = os.path.join(os.path.dirname(__file__), "commands", "completion")
"""The scripts, stored for the same reason as the help; see tools/completion.py."""

_HELP = """usage: cgro COMMAND [options]

Does my network overfit robustly, why, and what helps? After Li and Li, ICML 2025.

commands:
{table}

cgro COMMAND --help shows the options and examples of one command. cgro --version prints the version.
cgro completion bash|zsh|fish prints a script that completes commands and options in your shell.
"""


def help_text() -> str:
    """The top-level help.

    Returns:
        Several lines.
    """
    return _HELP.format(table="\n".join(f"  {name:12} {line}" for name, line in COMMANDS.items()))


STANDARD_STREAMS = (0, 1, 2)
LACK_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What torch's allocators say."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words behind `cgro`; None: those of this process.

    Returns:
        The exit code; see the top of this module.
    """
    _open_closed_streams()
    if argv is None:
        argv = sys.argv[1:]
    try:
        follow_parent()  # first: it may give SIGTERM back, and until something has begun that may simply end us
        with stop_requests(interrupt, SIGNALS):
            return _answer(list(argv))
    except KeyboardInterrupt:  # one more while the first was being told
        return INTERRUPTED


def _open_closed_streams() -> None:
    """Standard streams that the caller closed (`2>&-`) become the null device.

    Otherwise the next file that is opened gets their number, and what libraries print goes into it.
    """
    for descriptor in STANDARD_STREAMS:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _answer(argv: Sequence[str]) -> int:
    if not argv or argv[0] in (*HELP, "help"):
        return _show(help_text().rstrip("\n"))
    if argv[0] == "--version":
        return _show(f"cgro {__version__}")
    if argv[0] == "completion":
        return _complete(argv[1:])
    if argv[0] not in COMMANDS:
        return _tell("cgro", f"expected one of {', '.join(COMMANDS)}; got {argv[0]!r}; see cgro --help", BAD_REQUEST)
    stored = os.path.join(HELP_FOLDER, f"{argv[0]}.txt")
    if argv[1:] and argv[1] in HELP and os.path.exists(stored):
        with open(stored, encoding="utf-8") as file:
            return _show(file.read().rstrip("\n"))
    try:
        return _call(argv[0], argv[1:])
    except KeyboardInterrupt as stop:
        return _tell_interrupted(argv[0], str(stop))
    except Exception:
        # pybind11 makes a TypeError of an interrupt that reaches it
        if not is_requested():
            raise
        return _tell_interrupted(argv[0])


def _complete(words: Sequence[str]) -> int:
    """Print the script of a shell, or how it is used."""
    if len(words) == 1 and words[0] in COMPLETIONS:
        with open(os.path.join(COMPLETION_FOLDER, words[0]), encoding="utf-8") as file:
            return _show(file.read().rstrip("\n"))
    how = """usage: cgro completion bash|zsh|fish

  bash   eval "$(cgro completion bash)"              in ~/.bashrc
  zsh    cgro completion zsh > FOLDER/_cgro          a folder of $fpath, before compinit
  fish   cgro completion fish > ~/.config/fish/completions/cgro.fish"""
    if words and words[0] in HELP:
        return _show(how)
    return _tell("cgro completion", f"expected one of {', '.join(COMPLETIONS)}; got {' '.join(words)!r}", BAD_REQUEST)


def _tell_interrupted(name: str, how: str = "") -> int:
    with stop_requests(ignore):
        how = how or "the same command with the same --out resumes it"
        return _tell(f"cgro {name}", f"{interrupted_by()}; {how}", INTERRUPTED)


def _call(name: str, argv: Sequence[str]) -> int:
    """The exit code of a command; what it raises becomes one line, unless it is an error of ours."""
    from cgro._check import BadRequest, CheckFailed

    who = f"cgro {name}"
    try:
        return _run(name, argv)
    except CheckFailed as failed:
        return _tell(who, str(failed), CHECK_FAILED)
    except BadRequest as error:
        if is_requested():  # an interrupt inside a reader of C code, which told it as damage
            raise KeyboardInterrupt from None
        return _tell(who, str(error), BAD_REQUEST)
    except BrokenPipeError:  # the reader of our output, `head` say, has had enough
        return _drop_output()
    except OSError as error:  # a full disk, a folder that cannot be written
        what = f"{error.strerror or error}: {error.filename or 'output'}"
        return _tell(who, f"{what}; free space or change --out", BAD_REQUEST)
    except (UnicodeError, RecursionError, MemoryError, RuntimeError) as error:
        text = _of_the_input(error)
        if not text:
            raise
        return _tell(who, text, BAD_REQUEST)
    except SystemExit as ended:  # a network of the caller's, in the middle of its work
        what = f"code of yours ended the program: sys.exit({ended.code!r})"
        return _tell(who, f"{what}; nothing was finished", BAD_REQUEST)


def _run(name: str, argv: Sequence[str]) -> int:
    """Parse, run the command, and print its result."""
    with deferred_requests(), _without_collections():
        from cgro._check import BadRequest
        from cgro._progress import is_beside, told
        from cgro.commands._options import in_flags
        from cgro.commands._parser import parse

        module = importlib.import_module(ELSEWHERE.get(name, f"cgro.commands.{name.replace('-', '_')}"))
        try:
            config = parse(name, module.__doc__ or "", module.Config, argv, getattr(module, "RECIPES", None))
            _require_alone(name, config)
        except SystemExit as done:  # --help
            return int(done.code or 0)
        except BadRequest:  # of the words on the command line, which all processes were given
            if is_beside():
                return BAD_REQUEST
            raise
    with told(_loudness_of(config)):
        try:
            _say_in_vain(config)
            return _do(name, module, config)
        except BadRequest as error:
            if config.verbose:
                _show_trace()
            raise BadRequest(in_flags(str(error), config)) from error
        except Exception as error:
            failed = _of_their_code(error)
            if failed is None:
                raise
            if config.verbose:
                _show_trace()
            raise failed from error


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Imports make a million objects that stay: looking for garbage among them again and again takes a sixth of the
    time of the start."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _require_alone(name: str, config: object) -> None:
    """Refuse several processes where a command has no shares: each would do everything, in one directory."""
    from cgro._check import bad

    size = os.environ.get("WORLD_SIZE", "1")
    if size != "1" and _asks_to_spread(config):
        remedy = "start it without torchrun: its runs are processes or jobs of their own"
        raise bad(
            "--workers, --executor", expected="neither in several processes", got=f"WORLD_SIZE={size}", remedy=remedy
        )
    if size != "1" and name not in TOGETHER:
        remedy = f"start cgro {name} without torchrun, or unset WORLD_SIZE; of torchrun are {', '.join(TOGETHER)}"
        raise bad("processes", expected="one process", got=f"WORLD_SIZE={size}", remedy=remedy)


def _loudness_of(config: "Output") -> "Loudness":
    if config.quiet:
        return "quiet"
    return "verbose" if config.verbose else "normal"


def _say_in_vain(config: object) -> None:
    """Say which options that a file of --config has are without effect; those that were typed are refused."""
    from cgro._progress import is_beside
    from cgro.commands._said import remarks_of
    from cgro.runs import say

    if is_beside() or hasattr(config, "without_effect"):  # a training says it itself, also where a plan calls it
        return
    for remark in remarks_of(config):
        say(f"remark: {remark}")


def _asks_to_spread(config: object) -> bool:
    """Whether options ask for runs to be carried out elsewhere, or several at a time."""
    workers = getattr(config, "workers", None) or 1
    return workers > 1 or getattr(config, "executor", "local") != "local" or bool(getattr(config, "slurm_options", ""))


def _do(name: str, module: ModuleType, config: "Output") -> int:
    """Run a parsed command, print its result, and what may come next."""
    if name in SPREAD and _asks_to_spread(config):
        from cgro.jobs import sweeps

        run = sweeps.run(name, config)  # type: ignore[arg-type]  # of a command in SPREAD
    else:
        run = module.run(config)
    ended = getattr(run, "ended", None)
    if ended is not None:  # a process beside the first one of several, which tells the result
        return ended
    result = run.read()
    if config.json:
        import json

        from cgro.runs import plain_result

        shown = _show(json.dumps(plain_result(result), indent=2))
    else:
        text = module.describe(result)
        if run.path is not None:
            text += f"\n\n{run.path}"
        shown = _show(text)
        if shown == DONE:
            template = getattr(module, "NEXT", "")
            if hasattr(module, "next_of"):
                template = module.next_of(config)
            _say_next(template, config, run.path)
    if shown == DONE and hasattr(module, "check"):  # behind the result: who called also wants to read it
        module.check(config, result)
    return shown


def _say_next(template: str, config: object, run: "Path | None") -> None:
    """The command that mostly follows, on stderr, ready to be pasted.

    Args:
        template: of the command's module, such as `cgro diagnose {run}`; a name in braces is the run or an option.
        config: the options.
        run: directory of the run; None where there is none.
    """
    from cgro.runs import say

    values = {**vars(config), "run": run}
    names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
    if template and all(values[name] is not None for name in names):
        say("next: " + template.format(**{name: shlex.quote(str(values[name])) for name in names}))


def _show_trace() -> None:
    from cgro._check import printable

    with contextlib.suppress(OSError, ValueError):
        print(printable(traceback.format_exc()), file=sys.stderr, flush=True)


def _of_their_code(error: Exception) -> "BadRequest | None":
    """One line for an error inside code of the caller's, which one of the options names; None for any other."""
    from cgro._check import CheckFailed
    from cgro.trust import failure_of

    if isinstance(error, CheckFailed | BrokenPipeError) or _is_lack_of_memory(error):
        return None
    return failure_of(error, expected="code that runs", remedy="-v shows where")


def _of_the_input(error: Exception) -> str:
    """What is wrong with the input, in words; "" for an error of ours."""
    if isinstance(error, UnicodeError):
        return f"text that cannot be read or written: {error}; use UTF-8"
    if isinstance(error, RecursionError):
        return "an input is nested too deeply to be read; simplify it"
    if _is_lack_of_memory(error):
        return "not enough memory; use fewer or smaller examples, batches or networks"
    return ""


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether it is Python's own error, or one of the RuntimeErrors of torch's allocators."""
    if isinstance(error, MemoryError):
        return True
    message = str(error).lower()
    return any(words in message for words in LACK_OF_MEMORY)


def _show(text: str) -> int:
    """Print a result.

    Others may have written texts in it: control characters, and what the terminal's encoding lacks, are escapes.
    """
    from cgro._check import printable

    text = printable(text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        return _drop_output()
    except OSError as error:
        _drop_output()
        return _tell("cgro", f"cannot write to stdout: {error.strerror}; results are in --out", BAD_REQUEST)
    return DONE


def _drop_output() -> int:
    """What is still in the buffer of stdout would fail again when Python ends: to the null device with it."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    return DONE


def _tell(who: str, text: str, code: int) -> int:
    """One line on stderr, if there is anyone to read it, and the exit code."""
    from cgro._check import one_line

    with contextlib.suppress(OSError, ValueError):
        print(one_line(f"{who}: {text}"), file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
