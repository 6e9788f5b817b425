"""Several jobs at once: each is a process of its own, the command line that a person would type.

Networks this small do not fill the cores: two processes of one thread did a sixth more than one of two threads (CIFAR-10,
PreActResNet-18 of width 16, timed once).
"""

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import yaml

from cgro._check import BadRequest
from cgro.experiments.jobs import Home, Job, clear_if_empty
from cgro.runs import plain, say

CHECK_FAILED, INTERRUPTED = 1, 130
"""Exit codes of commands: a result whose check failed is a result all the same."""


@dataclass
class _Worker:
    """A job's process, the file of its settings, its standard error, and when it began."""

    job: Job
    process: subprocess.Popen[bytes]
    settings: Path
    errors: IO[bytes]
    started: float


def make_all(home: Home, jobs: Sequence[Job], n: int) -> None:
    """Make the jobs that are missing, n at a time; what a job needs comes first, and no two read one run at once.

    Raises:
        BadRequest: a job failed, with its own line. KeyboardInterrupt: all are interrupted, and resume when called again.
    """
    waiting, running = home.missing(jobs), list[_Worker]()
    try:
        while waiting or running:
            while len(running) < n and (job := next((j for j in waiting if _ready(home, j, running)), None)):
                waiting.remove(job)
                running.append(_start(home, job))
            assert running, f"none of {[j.name for j in waiting]} can start"
            while not (ended := [w for w in running if w.process.poll() is not None]):
                time.sleep(0.1)
            for worker in ended:
                running.remove(worker)
                _ended(home, worker)
    finally:
        for worker in running:
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGINT)
        for worker in running:
            worker.process.wait()
            worker.errors.close()
            worker.settings.unlink()


def _ready(home: Home, job: Job, running: Sequence[_Worker]) -> bool:
    return not home.needed(job) and not any(job.reads & w.job.reads for w in running)


def _start(home: Home, job: Job) -> _Worker:
    out = home.runs / job.name
    clear_if_empty(out)
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        yaml.safe_dump(plain(home.asked(job)), file)
    command = [sys.executable, "-m", "cgro.cli", job.command, "--config", file.name, "--out", str(out)]
    say(f"{job.name} (cgro {job.command})")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
    return _Worker(job, process, Path(file.name), errors, time.monotonic())


def _ended(home: Home, worker: _Worker) -> None:
    code, job = worker.process.returncode, worker.job
    worker.errors.seek(0)
    lines = worker.errors.read().decode(errors="replace").strip().splitlines()
    worker.errors.close()
    worker.settings.unlink()
    if code == INTERRUPTED:
        raise KeyboardInterrupt(f"{job.name} was stopped; the same command with the same --out resumes it")
    if code not in (0, CHECK_FAILED):
        why = lines[-1] if lines and code > 0 else f"its process ended with {code}"
        raise BadRequest(f"{job.name}: {why}")
    seconds = time.monotonic() - worker.started
    home.account(job, seconds)
    home.keep([job])
    say(f"  done: {job.name}; {home.left()}")
