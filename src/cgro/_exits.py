"""Exit codes of commands: what a shell, a worker and a job of Slurm know of how one ended."""

DONE = 0
CHECK_FAILED = 1
"""A check that was asked for failed; the result is one all the same."""
BAD_REQUEST = 2
"""One line said what was expected."""
INTERRUPTED = 130
"""By Ctrl-C, SIGTERM, SIGHUP or SIGUSR1, which all mean the same: the run can be resumed."""
