"""Several jobs at once: each is a process of its own, the command line that a person would type.

Networks this small do not fill the cores: two processes of one thread did a sixth more than one of two threads
(CIFAR-10, PreActResNet-18 of width 16, timed once).
"""

import contextlib
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import TypeAlias

from cgro._check import BadRequest
from cgro._exits import CHECK_FAILED, DONE, INTERRUPTED
from cgro._interrupt import PARENT, acknowledge
from cgro.commands._options import options_of
from cgro.jobs.execute import (
    PATIENCE,
    STOPPED,
    Call,
    Carry,
    ThisProcess,
    await_release,
    carry_out_here,
    last_line,
)
from cgro.jobs.fork_server import Forked, ForkServer, can_fork
from cgro.jobs.peaks import peak_of
from cgro.jobs.plan import module_of
from cgro.runs import plain, say

# -P: modules of the current folder, which `-m` would put first, replace none of ours.
PREFIX = (sys.executable, "-P", "-m", "cgro.cli")
"""The program that takes a command of `cgro` with its options."""
RESTARTS = 3
"""Times that a call is begun again in which a process was stopped or killed from outside: it goes on where it was. What
kills every time, such as the system when memory is short, ends it. A choice."""
LOOK_EVERY = 0.25
"""Seconds between two looks at the memory of a worker. A choice."""


@contextlib.contextmanager
def at_once(n: int) -> Iterator[tuple[Executor, Carry]]:
    """What carries out n jobs at a time: this process for one, worker processes for more.

    Args:
        n: jobs at a time.

    Yields:
        An executor, and what it is given to do; see `cgro.jobs.execute`.
    """
    if n == 1:
        yield ThisProcess(), carry_out_here
        return
    with worker_processes(n) as (executor, workers):
        yield executor, workers


@contextlib.contextmanager
def worker_processes(n: int) -> Iterator[tuple[Executor, "Workers"]]:
    """Worker processes, each watched by a thread; none outlives this process, whatever ends it.

    They read a pipe that this process alone can write to, and stop with everything saved when it is closed.

    Args:
        n: at a time.

    Yields:
        The executor of the threads, and what starts and awaits a process.
    """
    reading, writing = os.pipe()
    server = ForkServer() if can_fork() else None
    workers = Workers(reading, begin_anew if server is None else server.begin)
    executor = ThreadPoolExecutor(n)
    try:
        yield executor, workers
    finally:
        acknowledge()  # if this is an interrupt: workers may save for longer
        workers.stopping.set()
        os.close(writing)
        executor.shutdown(wait=True, cancel_futures=True)
        os.close(reading)
        if server is not None:
            server.close()


Process: TypeAlias = "subprocess.Popen[bytes] | Forked"
Begin = Callable[[list[str], int, int], Process]
"""Begins a process, given the words of the command line without `cgro`, the pipe that it follows and the file
descriptor to which it writes its errors."""


def begin_anew(
    words: list[str], pipe: int, errors: int, *, prefix: tuple[str, ...] = PREFIX
) -> "subprocess.Popen[bytes]":
    """Begin a process with imports of its own; see `cgro.jobs.fork_server` for the faster way.

    Args:
        words: of the command line.
        pipe: file descriptor that it follows.
        errors: file descriptor to which it writes its errors.
        prefix: of the command line; the program that takes a command of `cgro` with its options.

    Returns:
        The process.
    """
    return subprocess.Popen(
        [*prefix, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
        pass_fds=(pipe,),
        env={**os.environ, PARENT: str(pipe)},
    )


@dataclass(frozen=True)
class Workers:
    """Starts a process for a call and waits for its end. Called in threads.

    Args:
        pipe: file descriptor that reads end of file when this process is gone.
        begin: begins a process; see `Begin`.
        stopping: set when no further process is to be started.
        peaks: job -> bytes of memory that its process held at most, as far as it was looked at.
        patience: seconds that a process has for its end once `stopping` is set; then it is killed.
    """

    pipe: int
    begin: Begin = begin_anew
    stopping: Event = field(default_factory=Event)
    peaks: dict[str, int] = field(default_factory=dict)
    patience: float = PATIENCE

    def __call__(self, call: Call) -> float:
        """Carry a call out. A process that was stopped or killed from outside is started again and resumes.

        Args:
            call: a job.

        Returns:
            Seconds.

        Raises:
            BadRequest: the process failed, with the last line that it said.
            KeyboardInterrupt: it was stopped, and resumes when called again.
        """
        started = time.monotonic()
        code, said = self._process(call)
        for _ in range(RESTARTS):
            if self.stopping.is_set() or not (code < 0 or code == INTERRUPTED):
                break
            say(f"  cut off: {call.name} ({_why(code, said)}); it goes on")
            code, said = self._process(call)
        if code == INTERRUPTED:
            raise KeyboardInterrupt(STOPPED.format(call.name))
        if code not in (DONE, CHECK_FAILED):
            raise BadRequest(f"{call.name}: {_why(code, said)}")
        return time.monotonic() - started

    def _process(self, call: Call) -> tuple[int, str]:
        """The exit code of a process that carries a call out, and what it said."""
        await_release(call.folder, stopping=self.stopping)
        if self.stopping.is_set():
            raise KeyboardInterrupt(STOPPED.format(call.name))
        # A file, no pipe of ours: a worker that outlives this process for its last checkpoint can go on writing.
        with tempfile.TemporaryFile() as errors:
            process = self.begin([*words(call), "--out", str(call.folder)], self.pipe, errors.fileno())
            code = self._ended(process, call)
            errors.seek(0)
            return code, errors.read().decode(errors="replace")

    def _ended(self, process: Process, call: Call) -> int:
        """Wait for the end of a process, looking at its memory: its exit code.

        `getrusage` would tell the peak with the end, but of a process that began as a copy of this one and its memory.
        """
        until = math.inf
        while True:
            seen = peak_of(process.pid)
            if seen is not None:
                self.peaks[call.name] = seen
            if self.stopping.is_set() and until == math.inf:
                until = time.monotonic() + self.patience
            if time.monotonic() > until:  # it hangs, or was suspended: it would hold us for ever
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK_EVERY)


def _why(code: int, said: str) -> str:
    if code > 0 and last_line(said):
        return last_line(said)
    return f"its process ended with {code}"


def words(call: Call) -> list[str]:
    """The words of the command line that a person would type: a file of settings could be left behind.

    Args:
        call: a job.

    Returns:
        The command, its positional arguments and its options, without where results go.
    """
    values: Mapping[str, object] = plain(call.options)
    options: list[str] = []
    positional: list[str] = []
    for option in options_of(module_of(call.command, call.name).Config).values():
        value = values.get(option.name)
        if value is None or value is False:
            continue
        several = value if isinstance(value, list) else [value]
        if option.positional:
            positional += map(str, several)
        elif value is True:
            options.append(option.flag)
        else:
            options += [f"{option.flag}={one}" for one in several]
    return [call.command, *positional, *options]
