"""Runs as jobs of Slurm, by its own commands: one job is one command line with a directory of its own.

A job's name is a digest of its command line and directory. So whoever calls again finds in the queue what an earlier
call left there, and no moment between a submission and a note of it exists at which a kill would submit twice. How a
job ended is written by its script beside its log: accounting (sacct), which many small clusters lack, is not asked.

submitit would be the usual way. It hands a job over as a pickled function and takes its result back as another pickle,
both from a shared folder, which whoever may write there can replace; it reads states by sacct alone; and it finds a job
again only by a number that has to be kept.
"""

import contextlib
import hashlib
import json
import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from cgro._check import BadRequest, bad, count, number
from cgro._exits import CHECK_FAILED, DONE, INTERRUPTED
from cgro._interrupt import acknowledge
from cgro.jobs.execute import STOPPED, Call, await_release, last_line
from cgro.jobs.slurm_queue import FASTEST, Queue, answer, check_programs
from cgro.jobs.workers import PREFIX, RESTARTS, words
from cgro.runs import Run, say

OPTIONS = (
    "account",
    "constraint",
    "cpus-per-task",
    "exclude",
    "gpus",
    "gres",
    "licenses",
    "mem",
    "mem-per-cpu",
    "nice",
    "nodelist",
    "partition",
    "qos",
    "reservation",
    "time",
)
"""Options of sbatch that a user may set. The others belong to us, such as the signal, or would make several tasks."""
WARNING = 60
"""Seconds before its time limit in which a job saves; `warning` among the options sets another. A choice."""
IN_QUEUE = 100
"""Jobs in the queue at a time, where nothing is said. A choice; see MaxSubmitJobs of the cluster."""
REQUEUES = 100
"""Times that a job puts itself back into the queue: one that never gets further must end some day. A choice."""
TRIES = 5
"""Times that a submission is tried: controllers are restarted, and limits of a user are met for a while."""
SETTLE = 3
"""Looks after which a file that is not there will not come: shared file systems are late."""
FINAL = {
    "CANCELLED": "was canceled there; called again it goes on",
    "OUT_OF_MEMORY": "needed more memory; ask for more by mem=... in --slurm-options",
    "DEADLINE": "missed its deadline",
}
"""Ends after which a job is not submitted anew in the same call, and what is said of them."""
SCRIPT = """#!/bin/sh
begun=$(date +%s)
rm -f {end}
echo "Slurm job $SLURM_JOB_ID on $(hostname), start ${{SLURM_RESTART_COUNT:-0}}"
{command} &
child=$!
warned=
trap 'warned=1; kill -USR1 $child' USR1
trap 'kill -TERM $child' TERM
wait $child
code=$?
# A trap ends the wait early; then the child is still there.
while [ $code -gt 128 ] && kill -0 $child 2>/dev/null; do
    wait $child
    code=$?
done
if [ -n "$warned" ] && [ $code -eq {interrupted} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeues} ]; then
    scontrol requeue $SLURM_JOB_ID && exit $code
fi
echo "$code $(($(date +%s) - begun))" > {end}.part && mv {end}.part {end}
exit $code
"""
"""Puts itself back into the queue after the warning ahead of its time limit, and not after a cancellation."""


def parse_options(text: str) -> dict[str, str]:
    """Read options of sbatch.

    Args:
        text: NAME=VALUE, several separated by spaces.

    Returns:
        Name -> value.

    Raises:
        BadRequest: another form, or an option that is not the user's.

    Example:
        >>> parse_options("partition=gpu time=4:00:00 gres=gpu:1")
        {'partition': 'gpu', 'time': '4:00:00', 'gres': 'gpu:1'}
    """
    found: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals or not value:
            raise bad("--slurm-options", expected='NAME=VALUE, such as "partition=gpu time=4:00:00"', got=repr(word))
        if name not in (*OPTIONS, "warning"):
            raise bad("--slurm-options", expected=f"one of {', '.join(OPTIONS)}, warning", got=repr(name))
        found[name] = value
    for name in ("warning", "cpus-per-task"):
        if name in found:
            what = f"--slurm-options: {name}"
            found[name] = str(count(number(found[name], what), what))
    return found


@dataclass(frozen=True)
class SlurmJobs:
    """Submits a call as a job and waits for its end; one that is in the queue already is taken over. For threads.

    Args:
        folder: of logs and of how jobs ended.
        options: of sbatch, and `warning`; see `parse_options`.
        prefix: of the command line; the program that takes a command of `cgro` with its options.
        queue: shows the jobs.
        stopping: set when nobody waits any more. The jobs go on.
        open: job -> its number, of those that are waited for.
    """

    folder: Path
    options: Mapping[str, str]
    prefix: tuple[str, ...] = PREFIX
    queue: Queue = field(default_factory=Queue)
    stopping: Event = field(default_factory=Event)
    open: dict[str, int] = field(default_factory=dict)

    def __call__(self, call: Call) -> float:
        """Carry a call out.

        Args:
            call: a job.

        Returns:
            Seconds that it ran, in the job that finished it.

        Raises:
            BadRequest: it failed, with the last line of its log; it was canceled; it was cut off too often.
            KeyboardInterrupt: nobody waits any more; called again, the job is taken over.
        """
        job = _Job.of(call, self.folder, self.prefix)
        end = End(None, "")
        for _ in range(1 + RESTARTS):
            number, submitted = self._in_queue(job)
            self.open[call.name] = number
            end = self._await(job, submitted)
            del self.open[call.name]
            if end.is_result:
                return end.seconds
            if end.code is not None and not end.is_cut:
                raise BadRequest(f"{call.name}: {last_line(job.said()) or f'its job ended with {end.code}'}")
            if end.code is None and end.state in FINAL:
                raise BadRequest(f"{call.name}: Slurm job {number} {FINAL[end.state]}")
            say(f"  cut off: {call.name} ({end.state.lower() or f'its job ended with {end.code}'}); it goes on")
        raise BadRequest(f"{call.name}: was cut off {1 + RESTARTS} times, last {end.state or end.code}; see {job.log}")

    def _in_queue(self, job: "_Job") -> tuple[int, float]:
        """The number of its job in the queue, and when it was put there as far as it was now."""
        seen = self.queue.find(job.name)
        if seen is not None and seen.is_active:
            say(f"  taken over: {job.call.name}, Slurm job {seen.number}")
            return seen.number, -math.inf
        await_release(job.call.folder, stopping=self.stopping)
        self._stop_if_asked(job)
        number = self._submit(job, 0 if seen is None else seen.number)
        say(f"  submitted: {job.call.name}, Slurm job {number}")
        return number, time.monotonic()

    def _submit(self, job: "_Job", last: int) -> int:
        """The number of a new job. An sbatch that failed may have submitted it all the same: the queue is asked first.

        Args:
            job: that has no active job in the queue.
            last: number of its latest one there; 0 for none.
        """
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.end.unlink(missing_ok=True)
        options = dict(self.options)
        warning = options.pop("warning", WARNING)
        command = [
            "sbatch",
            "--parsable",
            "--requeue",
            "--open-mode=append",
            f"--job-name={job.name}",
            f"--output={str(job.log).replace('%', '%%')}",
            f"--signal=B:USR1@{warning}",
            *[f"--{name}={value}" for name, value in options.items()],
        ]
        refusal: BadRequest | None = None
        failed = -math.inf
        for k in range(TRIES):
            if self.queue.answered >= failed:  # where the queue is silent too, a second one could be beside the first
                try:
                    return int(answer(command, job.script()).strip().partition(";")[0])
                except BadRequest as error:
                    refusal = error
                    failed = time.monotonic()
            self.stopping.wait(FASTEST * 4**k)
            self._stop_if_asked(job)
            seen = self.queue.find(job.name, since=failed)
            if seen is not None and seen.number > last:
                return seen.number
        assert refusal is not None, "it was tried"
        raise refusal

    def _await(self, job: "_Job", submitted: float) -> "End":
        """How the job ended."""
        n_looks = 0
        while True:
            seen = self.queue.find(job.name, since=submitted)
            if self.queue.answered > submitted and (seen is None or not seen.is_active):
                end = job.ended("" if seen is None else seen.state)
                n_looks += 1
                if end.code is not None or n_looks > SETTLE:
                    return end
            self.stopping.wait(max(self.queue.period, self.queue.fastest))
            self._stop_if_asked(job)

    def _stop_if_asked(self, job: "_Job") -> None:
        if self.stopping.is_set():
            raise KeyboardInterrupt(STOPPED.format(job.call.name))


@dataclass(frozen=True)
class End:
    """How a job ended.

    Attributes:
        code: exit code of the command; None where its script could not write it.
        state: of the job, as the queue showed it.
        seconds: that it ran.
    """

    code: int | None
    state: str
    seconds: float = 0.0

    @property
    def is_result(self) -> bool:
        """Whether there is a result; a check that failed is one."""
        return self.code in (DONE, CHECK_FAILED)

    @property
    def is_cut(self) -> bool:
        """Whether the command was stopped or killed, and resumes when it is called again."""
        return self.code is not None and self.code >= INTERRUPTED


@dataclass(frozen=True)
class _Job:
    """A call with its command line, its name in the queue and its files."""

    call: Call
    command: tuple[str, ...]
    folder: Path

    @classmethod
    def of(cls, call: Call, folder: Path, prefix: Sequence[str]) -> "_Job":
        """The job of a call; with absolute folders, for nodes are told no other."""
        command = (*prefix, *words(call), "--out", str(call.folder.resolve()))
        return cls(call, command, folder.resolve())

    @property
    def name(self) -> str:
        """In the queue: the digest of what it does and where. The program may be another installation of this one."""
        told = json.dumps([*words(self.call), str(self.call.folder.resolve())])
        return "cgro-" + hashlib.sha256(told.encode()).hexdigest()[:20]

    @property
    def log(self) -> Path:
        """What it said, in all its starts."""
        return self.folder / f"{self.call.name.replace('/', '.')}.log"

    @property
    def end(self) -> Path:
        """Its exit code and its seconds, once it has ended."""
        return self.log.with_suffix(self.log.suffix + ".end")

    def script(self) -> str:
        return SCRIPT.format(
            command=shlex.join(self.command), end=shlex.quote(str(self.end)), interrupted=INTERRUPTED, requeues=REQUEUES
        )

    def said(self) -> str:
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def ended(self, state: str) -> End:
        """How it ended: as its script wrote, else by whether its run is finished."""
        try:
            code, seconds = self.end.read_text().split()
            return End(int(code), state, float(seconds))
        except (OSError, ValueError):
            if Run(self.call.folder).finished:
                return End(0, state)
            return End(None, state)


@contextlib.contextmanager
def slurm_jobs(n: int, folder: Path, options: Mapping[str, str]) -> Iterator[tuple[Executor, SlurmJobs]]:
    """Jobs of Slurm, each awaited by a thread. They outlive this process, and the next call takes them over.

    Args:
        n: in the queue at a time.
        folder: of logs.
        options: of sbatch; see `parse_options`.

    Yields:
        The executor of the threads, and what submits and awaits a job.

    Raises:
        BadRequest: Slurm's commands are missing or do not answer.
    """
    check_programs()
    jobs = SlurmJobs(folder, options)
    jobs.queue.look()
    executor = ThreadPoolExecutor(n)
    try:
        yield executor, jobs
    finally:
        acknowledge()  # if this is an interrupt: a submission may take longer
        jobs.stopping.set()
        executor.shutdown(wait=True, cancel_futures=True)
        if jobs.open:
            say(told_of(jobs.open))


def told_of(jobs: Mapping[str, int]) -> str:
    """What becomes of jobs that nobody waits for any more.

    Args:
        jobs: name -> number.

    Returns:
        A line for the terminal.

    Example:
        >>> told_of({"seed-0": 12, "seed-1": 13})
        'still in Slurm: 12 13; the same command with the same --out takes over, scancel 12 13 ends them'
    """
    numbers = " ".join(map(str, jobs.values()))
    return f"still in Slurm: {numbers}; the same command with the same --out takes over, scancel {numbers} ends them"
