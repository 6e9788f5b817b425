"""Several jobs at once: each is a process of its own, the command line that a person would type.

Networks this small do not fill the cores: two processes of one thread did a sixth more than one of two threads (CIFAR-10,
PreActResNet-18 of width 16, timed once).
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import IO

from cgro._check import BadRequest
from cgro._interrupt import PARENT, acknowledge
from cgro.experiments.jobs import PATIENCE, STOPPED, Home, Job, is_held
from cgro.runs import plain, say

CHECK_FAILED, BAD_REQUEST, INTERRUPTED = 1, 2, 130
"""Exit codes of commands: a result whose check failed is a result all the same."""


@dataclass
class _Worker:
    """A job's process, its standard error, and when it began."""

    job: Job
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    started: float


def make_all(home: Home, jobs: Sequence[Job], n: int) -> None:
    """Make the jobs that are missing, n at a time; what a job needs comes first, and no two read one run at once.

    No worker outlives this process, whatever ends it: they read a pipe that this process alone can write to, and stop
    with everything saved when it is closed.

    Raises:
        BadRequest: a job failed, with its own line. KeyboardInterrupt: all are interrupted, and resume when called again.
    """
    waiting, running = home.missing(jobs), list[_Worker]()
    patient_until = time.monotonic() + PATIENCE
    reading, writing = os.pipe()
    try:
        while waiting or running:
            patient = time.monotonic() < patient_until
            while len(running) < n and (job := next((j for j in waiting if _ready(home, j, running, patient)), None)):
                waiting.remove(job)
                running.append(_start(home, job, reading))
            assert running or patient, f"none of {[j.name for j in waiting]} can start"
            ended = [w for w in running if w.process.poll() is not None]
            for worker in ended:
                running.remove(worker)
                _ended(home, worker)
            if not ended:
                time.sleep(0.1)
    finally:
        acknowledge()  # if this is an interrupt: workers may save for longer
        os.close(writing)
        for worker in running:
            worker.process.wait()
            worker.errors.close()
        os.close(reading)


def _ready(home: Home, job: Job, running: Sequence[_Worker], patient: bool = False) -> bool:
    """Whether it can start. At first also: a worker of an earlier call that was killed is no longer saving there."""
    if home.needed(job) or any(job.reads & w.job.reads for w in running):
        return False
    return not (patient and is_held(home.runs / job.name))


def _start(home: Home, job: Job, pipe: int) -> _Worker:
    out = home.runs / job.name
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    say(f"{job.name} (cgro {job.command})")
    process = subprocess.Popen(
        [*_command(home, job), "--out", str(out)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        start_new_session=True, pass_fds=(pipe,), env={**os.environ, PARENT: str(pipe)},
    )  # fmt: skip
    return _Worker(job, process, errors, time.monotonic())


def _command(home: Home, job: Job) -> list[str]:
    """The command line that a person would type: a file of settings could be left behind. -P: modules of the current
    folder, which `-m` would put first, replace none of ours.
    """
    settings = plain(home.asked(job))
    options: list[str] = []
    positional: list[str] = []
    for f in fields(job.module().Config):
        value = settings.get(f.name)
        if value is None or value is False:
            continue
        flag = "--" + f.name.replace("_", "-")
        if f.metadata.get("positional"):
            positional += value if isinstance(value, list) else [value]
        else:
            options.append(flag if value is True else f"{flag}={value}")
    return [sys.executable, "-P", "-m", "cgro.cli", job.command, *positional, *options]


def _ended(home: Home, worker: _Worker) -> None:
    code, job = worker.process.returncode, worker.job
    worker.errors.seek(0)
    lines = worker.errors.read().decode(errors="replace").strip().splitlines()
    worker.errors.close()
    if code == INTERRUPTED:
        raise KeyboardInterrupt(STOPPED.format(job.name))
    if code == BAD_REQUEST and home.found(job) is not None:
        say(f"  taken: {job.name}, finished by another process")
        return
    if code not in (0, CHECK_FAILED):
        why = lines[-1] if lines and code > 0 else f"its process ended with {code}"
        raise BadRequest(f"{job.name}: {why}")
    seconds = time.monotonic() - worker.started
    home.account(job, seconds)
    home.keep([job])
    say(f"  done: {job.name}; {home.left()}")
