"""Named calls of commands, shared between artifacts, each made once below DIR/runs and taken up where it was cut."""

import importlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from cgro._check import BadRequest, CheckFailed
from cgro.commands._common import say
from cgro.runs import Run, dump_json, plain, read_json, write_atomic

Scale = Literal["smoke", "cpu", "gpu", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
HERE = "@/"
"""At the head of a setting: the folder of runs, so that one job can name what another made."""
PASSED_ON = ("device", "threads")


@dataclass(frozen=True)
class Job:
    """One call of a command.

    Args:
        name: its folder below DIR/runs; seeds of one network are NAME/seed-S. command: of `cgro.commands`.
        settings: of its `Config`, without where results go. seconds: on two cores, measured or guessed; only for the
            time left.
    """

    name: str
    command: str
    settings: Mapping[str, Any]
    seconds: float = 10.0

    def module(self) -> Any:
        """The command's module.

        Raises:
            BadRequest: this version has no such command.
        """
        try:
            return importlib.import_module(f"cgro.commands.{self.command.replace('-', '_')}")
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("cgro.commands"):
                raise
            raise BadRequest(f"{self.name}: this cgro has no command {self.command}; update it") from None


@dataclass
class Home:
    """The directory of one reproduction: DIR/runs/JOB, DIR/ARTIFACT, the page.

    Args:
        path: DIR. where: settings such as the device, given to every command that knows them.
        planned: jobs of the whole call, for the time left. after: called when a job has been made.
    """

    path: Path
    where: Mapping[str, Any] = field(default_factory=dict)
    planned: list[Job] = field(default_factory=list)
    after: Callable[[], None] = lambda: None
    _spent: float = 0.0
    _expected: float = 0.0

    @property
    def runs(self) -> Path:
        """Where jobs are."""
        return self.path / "runs"

    def settings_of(self, job: Job) -> dict[str, Any]:
        """A job's settings with the folder of runs filled in."""

        def fill(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return [fill(v) for v in value]
            return str(self.runs / value.removeprefix(HERE)) if str(value).startswith(HERE) else value

        return {k: fill(v) for k, v in job.settings.items()}

    def done(self, job: Job) -> bool:
        """Whether it is finished, with these settings and by this version.

        Raises:
            BadRequest: what is there was made with other settings, or by another version.
        """
        run = Run(self.runs / job.name)
        if not run.finished:
            return False
        run.check_version()
        there = run.config
        for key, value in plain(self.settings_of(job)).items():
            if there.get(key) != value:
                raise BadRequest(
                    f"{run.path}: expected a run with {key} {value}, got {there.get(key)}; choose another --out"
                )
        return True

    def finished(self, jobs: Iterable[Job]) -> dict[str, Run]:
        """Make the jobs that are not there, and return all."""
        return {job.name: self.make(job) for job in jobs}

    def make(self, job: Job) -> Run:
        """Make one job, or take it up where it was cut."""
        run = Run(self.runs / job.name)
        if self.done(job):
            return run
        say(self._line(job))
        module, started = job.module(), time.monotonic()
        known = {f.name for f in fields(module.Config)}
        where = {k: v for k, v in self.where.items() if k in known}
        _clear_if_empty(run.path)
        try:
            module.run(module.Config(**where, **self.settings_of(job), out=str(run.path)))
        except CheckFailed as failed:  # written all the same, and a claim will say so
            say(f"  {failed}")
        self._account(job, time.monotonic() - started)
        self.after()
        return run

    def _account(self, job: Job, seconds: float) -> None:
        self._spent, self._expected = self._spent + seconds, self._expected + job.seconds
        path = self.path / "seconds.json"
        known = read_json(path) if path.exists() else {}
        write_atomic(path, dump_json({**known, job.name: round(seconds, 1)}))

    def _line(self, job: Job) -> str:
        """Which job of how many, and the time left at the pace of this call."""
        open_jobs = [j for j in self.planned if not Run(self.runs / j.name).finished]
        pace = self._spent / self._expected if self._expected > 30 else 1.0
        left = pace * sum(j.seconds for j in open_jobs)
        n = len(self.planned)
        return f"[{n - len(open_jobs) + 1}/{n}] {job.name} (cgro {job.command}); about {duration(left)} left"

    def seconds(self, jobs: Sequence[Job]) -> float:
        """What the finished jobs took, in the calls that finished them."""
        path = self.path / "seconds.json"
        known = read_json(path) if path.exists() else {}
        return sum(known.get(job.name, 0.0) for job in jobs)


def _clear_if_empty(path: Path) -> None:
    """A kill between making a folder and its first file leaves what `Run.start` would take for something else."""
    if path.exists() and not (path / "config.yaml").exists():
        strays = [p for p in path.iterdir() if not p.name.startswith(".") and p.name != "environment.json"]
        if not strays:
            shutil.rmtree(path)


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> [duration(s) for s in (40, 600, 9000, 4e5, 1e8)]
    ['40 s', '10 min', '2.5 h', '4.6 days', '3.2 years']
    """
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (2 * 86400, "h", 3600), (2 * 3.15e7, "days", 86400)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if unit in ("s", "min") else f"{seconds / size:.1f} {unit}"
    return f"{seconds / 3.1536e7:.1f} years"


def unique(jobs: Iterable[Job]) -> list[Job]:
    """Each job once, in order of first mention.

    Raises:
        AssertionError: two different jobs have one name.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        assert found.setdefault(job.name, job) == job, f"two different jobs named {job.name}"
    return list(found.values())
