"""How long jobs took, and how long the open ones will take. Written beside the runs and beside the store."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cgro.jobs.folders import held
from cgro.jobs.plan import Job, duration
from cgro.reading import attempt, read_json
from cgro.results import read_value
from cgro.runs import dump_json, write_atomic

FILE = "seconds.json"
ENOUGH = 30.0
"""Expected seconds of finished jobs from which their pace is believed. A choice."""


@dataclass
class Ledger:
    """Seconds by job.

    Args:
        folder: of the reproduction.
        store: folder of committed results, which has a ledger of its own; None without one.
    """

    folder: Path
    store: Path | None = None
    _spent: float = field(default=0.0, init=False)
    _expected: float = field(default=0.0, init=False)

    def record(self, job: Job, seconds: float, *, stored: bool) -> None:
        """Write down how long a job took.

        Args:
            job: that has ended.
            seconds: in the call that finished it.
            stored: whether its result is kept in the store.
        """
        self._spent += seconds
        self._expected += job.seconds
        took = {job.name: round(seconds, 1)}
        write_atomic(self.folder / FILE, dump_json({**_read(self.folder), **took}))
        if stored and self.store is not None:
            with held(self.store):
                write_atomic(self.store / FILE, dump_json({**_read(self.store), **took}))

    @property
    def spent(self) -> float:
        """Seconds of the jobs that this call has made."""
        return self._spent

    def left(self, unfinished: Iterable[Job]) -> str:
        """Time that jobs will take at the pace of this call, one after the other.

        Args:
            unfinished: the open jobs.

        Returns:
            A few words for the terminal.
        """
        pace = self._spent / self._expected if self._expected > ENOUGH else 1.0
        return f"about {duration(pace * sum(job.seconds for job in unfinished))} of work left"

    def total(self, jobs: Iterable[Job]) -> float:
        """What finished jobs took, in the calls that finished them.

        Args:
            jobs: any; one that is not known counts nothing.

        Returns:
            Seconds.
        """
        known = _read(self.folder)
        if self.store is not None:
            known = {**_read(self.store), **known}
        return sum(known.get(job.name, 0.0) for job in jobs)


def _read(folder: Path) -> dict[str, float]:
    """What was written down; nothing where there is no file or a damaged one, for which no job fails."""
    path = folder / FILE
    return attempt(lambda: read_value(read_json(path, follow=False), str(path), dict[str, float])) or {}
