"""The programs of Slurm: what they answer, and the caller's jobs in its queue, from one look for all who ask."""

import math
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cgro._check import BadRequest, bad
from cgro.jobs.execute import last_line
from cgro.runs import say

PROGRAMS = ("sbatch", "squeue", "scontrol")
ANSWER = 60.0
"""Seconds for an answer of Slurm."""
FASTEST, SLOWEST, SLOWER = 0.5, 15.0, 1.3
"""Seconds between two looks at the queue, at first and at last, and the factor between them. A choice: one look for all
jobs, and short jobs are not made long by it."""
ACTIVE = (
    "PENDING",
    "RUNNING",
    "COMPLETING",
    "CONFIGURING",
    "SUSPENDED",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "SPECIAL_EXIT",
    "STAGE_OUT",
    "SIGNALING",
    "STOPPED",
    "RESIZING",
    "RESV_DEL_HOLD",
)
"""States of a job that has not ended; see squeue(1)."""


@dataclass(frozen=True)
class Seen:
    """A job as the queue shows it.

    Attributes:
        number: its id.
        state: see squeue(1).
    """

    number: int
    state: str

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ACTIVE


@dataclass
class Queue:
    """The caller's jobs by name, from one look for all who ask.

    Attributes:
        jobs: name -> the latest job of that name, as last seen.
        answered: when Slurm last told, as `time.monotonic` counts.
        fastest: seconds between two looks while something changes.
        period: seconds until another look is worth it.
    """

    jobs: dict[str, Seen] = field(default_factory=dict)
    answered: float = -math.inf
    fastest: float = FASTEST
    period: float = 0.0
    _looked: float = -math.inf
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, name: str, *, since: float = -math.inf) -> Seen | None:
        """A job of this name. Where Slurm does not answer, as it was seen last: the jobs of a cluster go on.

        Args:
            name: of the job.
            since: a look before this time is too old.

        Returns:
            The latest one; None where the queue has none, not even one that has just ended.
        """
        with self._lock:
            if self._looked <= max(since, time.monotonic() - self.period):
                is_silent = self._looked > self.answered
                try:
                    self.look()
                except BadRequest as error:
                    if not is_silent:
                        say(f"  waiting for Slurm: {error}")
                    self._looked = time.monotonic()
            return self.jobs.get(name)

    def look(self) -> None:
        """Ask for all jobs.

        Raises:
            BadRequest: there is no answer.
        """
        text = answer(["squeue", "--me", "--noheader", "--states=all", "--format=%i|%T|%j"])
        found: dict[str, Seen] = {}
        for line in text.splitlines():
            identity, _, rest = line.strip().partition("|")
            state, _, name = rest.partition("|")
            if identity.isdigit() and (name not in found or found[name].number < int(identity)):
                found[name] = Seen(int(identity), state)
        self.period = self.fastest if found != self.jobs else min(SLOWEST, SLOWER * max(self.period, self.fastest))
        self.jobs = found
        self._looked = self.answered = time.monotonic()


def answer(command: Sequence[str], text: str = "") -> str:
    """What a program of Slurm says.

    Args:
        command: its words.
        text: for its input.

    Returns:
        Its output.

    Raises:
        BadRequest: it is missing, failed or did not answer; with its last line.
    """
    try:
        # In a session of its own: Ctrl-C is for us, and a submission is not cut in two.
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=ANSWER, check=False, start_new_session=True
        )
    except FileNotFoundError:
        raise bad("--executor slurm", expected=f"{command[0]} on the PATH", got="none") from None
    except subprocess.TimeoutExpired:
        raise BadRequest(f"{command[0]} did not answer within {ANSWER:.0f} s") from None
    if done.returncode:
        raise BadRequest(f"{command[0]}: {last_line(done.stderr) or f'ended with {done.returncode}'}")
    return done.stdout


def check_programs() -> None:
    """Refuse where Slurm's commands are missing.

    Raises:
        BadRequest: names them.
    """
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise bad(
            "--executor slurm",
            expected=f"{', '.join(PROGRAMS)} on the PATH",
            got=f"no {', no '.join(missing)}",
            remedy="call it where jobs are submitted, or use --executor local",
        )
