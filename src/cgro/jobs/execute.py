"""Carries out what is missing, on any `concurrent.futures.Executor`: in this process, in worker processes, elsewhere.

The plan says what comes first; an executor says where it runs. Each job is one call of a command with a directory of
its own, so what a kill cuts off is taken up by the next call.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from cgro._check import BadRequest, CheckFailed, one_line
from cgro._interrupt import GRACE, is_requested
from cgro.folder import LOCK
from cgro.jobs.plan import Job, Order, module_of
from cgro.jobs.workspace import Workspace
from cgro.runs import say

PATIENCE = GRACE + 10.0
"""Seconds to wait for a worker whose parent is gone: it ends within `GRACE`."""
STOPPED = "{} was stopped; the same command with the same --out resumes it"


@dataclass(frozen=True)
class Call:
    """A job as any process can carry it out: plain values, all paths written out.

    Args:
        name: of the job.
        command: of `cgro.commands`.
        options: all that it is told but where results go.
        folder: where results go.
    """

    name: str
    command: str
    options: dict[str, object]
    folder: Path


Carry = Callable[[Call], float]
"""Carries out a call and returns the seconds it took. A check that failed is a result all the same. Raises BadRequest
where the command refused or died, KeyboardInterrupt where it was stopped and can be resumed."""


@dataclass
class Tolerance:
    """What becomes of the others where one job fails: all of them go on but those that `skips` names.

    Args:
        skips: asked before a job is begun, when those that it reads have ended.
        failed: name of a job -> why it failed; filled in here.
    """

    skips: Callable[[Job], bool]
    failed: dict[str, str] = field(default_factory=dict)


def execute(
    jobs: Iterable[Job],
    workspace: Workspace,
    executor: Executor,
    carry: Carry,
    *,
    at_once: int = 1,
    tolerance: Tolerance | None = None,
    ended: Callable[[], None] | None = None,
) -> None:
    """Make the jobs that are missing; what a job needs comes first, and no two that read one run run at once.

    Args:
        jobs: whose results are wanted.
        workspace: where they are looked up and made.
        executor: carries calls out.
        carry: what it is given to do; with processes elsewhere it must be importable there.
        at_once: calls that are handed to the executor at a time.
        tolerance: None: the first failure ends all.
        ended: called after each job, here.

    Raises:
        BadRequest: a job failed, with its own line, and there is no tolerance.
        KeyboardInterrupt: a job was stopped; called again, all of them are resumed.
    """
    order = Order(workspace.missing(jobs))
    running: dict[Future[float], Job] = {}
    while order.is_active:
        for job in order.ready():
            if tolerance is not None and tolerance.skips(job):
                order.take(job)
                order.done(job)
            elif len(running) < at_once and not _is_read_by(running.values(), job):
                order.take(job)
                say(_first_line(job, workspace, at_once))
                running[executor.submit(carry, _call(job, workspace))] = job
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            job = running.pop(future)
            try:
                _end(job, future, workspace, at_once)
            except Exception as error:
                if tolerance is None or is_requested():  # C code may make another error of an interrupt
                    raise
                tolerance.failed[job.name] = _reason(error)
                say(f"  failed: {job.name}: {tolerance.failed[job.name]}")
            order.done(job)
            if ended is not None:
                ended()


def _is_read_by(running: Iterable[Job], job: Job) -> bool:
    """Whether a running job reads a run that this one reads: both would lock it, and one of them be refused."""
    return any(job.reads & other.reads for other in running)


def _call(job: Job, workspace: Workspace) -> Call:
    options = workspace.options(job)
    if job.command == "train":
        # What was published was trained in float32, and a default that looks at the processor is for users' own runs.
        options = {"train_precision": "float32", **options}
    return Call(job.name, job.command, options, workspace.folder(job))


def _end(job: Job, future: Future[float], workspace: Workspace, at_once: int) -> None:
    try:
        seconds = future.result()
    except BadRequest:
        if workspace.found(job) is None:
            raise
        say(f"  taken: {job.name}, finished by another process")
        return
    workspace.record(job, seconds)
    if at_once > 1:
        say(f"  done: {job.name}; {_left(workspace)}")


def _reason(error: Exception) -> str:
    """Why a job failed, in one line; of an error that no command foresaw its kind as well."""
    text = one_line(str(error))
    if isinstance(error, BadRequest):
        return text
    return f"{type(error).__name__}: {text}"


def table_of_failures(failed: Mapping[str, str]) -> str:
    """Which jobs failed, and why.

    Args:
        failed: name -> reason.

    Returns:
        A line per job.

    Example:
        >>> print(table_of_failures({"seed-0": "lr: expected a number", "seed-12": "not enough memory"}))
          failed   because
          seed-0   lr: expected a number
          seed-12  not enough memory
    """
    rows = {"failed": "because", **failed}
    width = max(map(len, rows))
    return "\n".join(f"  {name:{width}}  {reason}" for name, reason in rows.items())


def _first_line(job: Job, workspace: Workspace, at_once: int) -> str:
    """Which job of how many and the time left; where several run at once, the time is told when one ends."""
    line = f"{job.name} (cgro {job.command})"
    if at_once > 1:
        return line
    n = len(workspace.planned)
    n_done = n - len(workspace.unfinished())
    return f"[{n_done + 1}/{n}] {line}; {_left(workspace)}"


def _left(workspace: Workspace) -> str:
    return workspace.ledger.left(workspace.unfinished())


def last_line(said: str) -> str:
    """The last line of what a program said.

    Args:
        said: its whole text.

    Returns:
        The line; "" where it said nothing.

    Example:
        >>> last_line("first\\nlast\\n")
        'last'
    """
    lines = said.strip().splitlines()
    return lines[-1] if lines else ""


class ThisProcess(Executor):
    """Carries every call out at once, in the thread that submits it.

    Commands that are imported once save the seconds that a process of its own takes to begin, and an interrupt from the
    keyboard reaches the command itself.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function.

        Args:
            fn: called now.
            args: passed on.
            kwargs: passed on.

        Returns:
            Its result or its error; an interrupt goes on to the caller.
        """
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def carry_out_here(call: Call) -> float:
    """Carry a call out in this process.

    Args:
        call: a job.

    Returns:
        Seconds.

    Raises:
        BadRequest: the command refused.
        KeyboardInterrupt: it was stopped, and resumes when called again.
    """
    command = module_of(call.command, call.name)
    await_release(call.folder)
    started = time.monotonic()
    try:
        command.run(command.Config(**call.options, out=str(call.folder)))
    except BadRequest as error:  # of its plain kind, which another process can send
        raise BadRequest(str(error)) from error
    except CheckFailed as failed:  # written all the same, and a claim will say so
        say(f"  {failed}")
    except KeyboardInterrupt:  # the command's own advice is about itself
        raise KeyboardInterrupt(STOPPED.format(call.name)) from None
    return time.monotonic() - started


def is_held(path: Path) -> bool:
    """Whether a process works in a run directory.

    Args:
        path: the directory; it need not exist.

    Returns:
        Whether its lock is held.
    """
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def await_release(path: Path, *, stopping: Event | None = None, patience: float = PATIENCE) -> None:
    """Wait, within bounds, for a worker of an earlier call that was killed: it is saving what it has reached.

    Args:
        path: a run directory.
        stopping: set by another thread to end the wait.
        patience: longest wait, in seconds.
    """
    stop = stopping or Event()
    until = time.monotonic() + patience
    while is_held(path) and time.monotonic() < until:
        if stop.wait(0.1):
            return
