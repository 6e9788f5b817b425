"""Where `cgro` and `python -m cgro` begin and end: Ctrl-C is met from before the first import to the end of Python.

`cgro.cli` takes all requests to stop over as long as a command runs. Its imports come before, and Python's own end
after that: there an interrupt would be a traceback, or turn the exit code of a finished command into that of a signal.
"""

import os
import signal
import sys

_TOO_EARLY = b"cgro: interrupted; nothing was begun\n"
_INTERRUPTED = 130  # as in cgro._exits, which is not imported yet


def run() -> int:
    """Run the command line of this process.

    Returns:
        The exit code; see `cgro.cli`. From here on Ctrl-C is ignored, for the result stands; SIGTERM still ends it.
    """
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # of a shell's background job it is ignored
    if ours:
        signal.signal(signal.SIGINT, _stop)
    from cgro.cli import main

    try:
        return main()
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stop(_number: int, _frame: object) -> None:
    """Nothing was opened or written yet, and modules may be half imported: no clean-up, and none is needed."""
    os.write(2, _TOO_EARLY)
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(run())
