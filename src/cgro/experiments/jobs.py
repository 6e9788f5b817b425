"""Named calls of commands, shared between artifacts, each made once below DIR/runs and taken up where it was cut.

What a store holds counts as made: results on trained networks are committed as small files, so that another machine, or
another day, goes on where this one stopped. Networks themselves are not stored; one that is needed again is trained again.
"""

import fcntl
import importlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from cgro._check import BadRequest, CheckFailed
from cgro._interrupt import GRACE
from cgro.experiments.store import held, replace
from cgro.folder import LOCK
from cgro.runs import Run, dump_json, plain, read_json, say, write_atomic
from cgro.seal import resealed

Scale = Literal["smoke", "cpu", "gpu", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
HERE = "@/"
"""At the head of a setting: the folder of runs, so that one job can name what another made."""
PASSED_ON = ("device", "threads")
STORED = ("train", "evaluate", "flatness", "memory")
"""Commands whose results are kept in the store: dear, and all that artifacts read of them are these files."""
SECONDS = "seconds.json"
PATIENCE = GRACE + 10.0
"""Seconds to wait for a worker whose parent is gone: it ends within `GRACE`."""
STOPPED = "{} was stopped; the same command with the same --out resumes it"
KEPT = ("config.yaml", "environment.json", "metrics.jsonl", "summary.json")


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

    @property
    def reads(self) -> set[str]:
        """Names of the jobs whose runs its settings name.

        >>> Job("a", "evaluate", {"target": "@/net/seed-0/checkpoints/last.safetensors"}).reads
        {'net/seed-0'}
        """
        words = [w for v in self.settings.values() for w in (v if isinstance(v, list | tuple) else [v])]
        named = (str(w).removeprefix(HERE) for w in words if str(w).startswith(HERE))
        return {name.partition("/checkpoints/")[0] for name in named}

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
        planned: jobs of the whole call, for the time left, and for what a job needs. store: folder of committed results.
    """

    path: Path
    where: Mapping[str, Any] = field(default_factory=dict)
    planned: list[Job] = field(default_factory=list)
    store: Path | None = None
    _finished: dict[str, Run] = field(default_factory=dict)
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

    def asked(self, job: Job) -> dict[str, Any]:
        """All that its command is told but where results go: device and threads as well, if it knows them."""
        known = {f.name for f in fields(job.module().Config)}
        return {**{k: v for k, v in self.where.items() if k in known}, **self.settings_of(job)}

    def found(self, job: Job) -> Run | None:
        """Its finished run with these settings, here or in the store.

        Raises:
            BadRequest: what is here was made with other settings, or by another version.
        """
        return self._here(job) or self._stored(job)

    def _here(self, job: Job) -> Run | None:
        """Settings are compared once: a finished run does not change, and a scheduler asks of hundreds ten times a second."""
        run = Run(self.runs / job.name)
        if not run.finished:
            return None
        if self._finished.get(job.name) == run:
            return run
        run.check_version()
        there = run.config
        for key, value in plain(self.settings_of(job)).items():
            if there.get(key) != value:
                raise BadRequest(
                    f"{run.path}: expected a run with {key} {value}, got {there.get(key)}; choose another --out"
                )
        self._finished[job.name] = run
        return run

    def _stored(self, job: Job) -> Run | None:
        """Paths stand there as they stand in jobs; one with other settings is as if it were not there."""
        if self.store is None or job.command not in STORED:
            return None
        run = Run(self.store / "runs" / job.name)
        if not run.finished or self._finished.get(job.name) == run:
            return run if run.finished else None
        run.check_version()
        there = run.config
        if any(there.get(k) != v for k, v in plain(dict(job.settings)).items()):
            return None
        self._finished[job.name] = run
        return run

    def missing(self, jobs: Sequence[Job]) -> list[Job]:
        """Which of the jobs are to be made, with the networks that are needed for them and are not here."""
        own = [job for job in jobs if self.found(job) is None]
        return unique(j for job in own for j in (*self.needed(job), job))

    def needed(self, job: Job) -> list[Job]:
        """What it names and is not here: a stored result has no network."""
        return [j for j in self.planned if j.name in job.reads and self._here(j) is None]

    def finished(self, jobs: Iterable[Job]) -> dict[str, Run]:
        """Make the jobs that are not there, and return all."""
        return {job.name: self.make(job) for job in jobs}

    def make(self, job: Job) -> Run:
        """Make one job, or take it up where it was cut."""
        if (run := self.found(job)) is not None:
            return run
        for needed in self.needed(job):
            self._make_here(needed)
        return self._make_here(job)

    def _make_here(self, job: Job) -> Run:
        run = Run(self.runs / job.name)
        say(self._line(job))
        module, started = job.module(), time.monotonic()
        await_release(run.path)
        try:
            module.run(module.Config(**self.asked(job), out=str(run.path)))
        except CheckFailed as failed:  # written all the same, and a claim will say so
            say(f"  {failed}")
        except KeyboardInterrupt:  # the command's own advice is about itself
            raise KeyboardInterrupt(STOPPED.format(job.name)) from None
        except BadRequest:
            if self._here(job) is None:
                raise
            return run  # another process has finished it meanwhile
        self.account(job, time.monotonic() - started)
        self.keep([job])
        return run

    def keep(self, jobs: Iterable[Job]) -> None:
        """Copy the finished ones among them to the store."""
        for job in jobs:
            if self.store is not None and job.command in STORED and Run(self.runs / job.name).finished:
                with held(self.store):
                    self._keep(job, self.store)

    def _keep(self, job: Job, store: Path) -> None:
        sources = [self.runs / job.name / name for name in KEPT]
        copies = resealed({p.name: self.copied(p) for p in sources if p.exists()})
        target = store / "runs" / job.name
        if copies == {p.name: p.read_bytes() for p in (target / name for name in KEPT) if p.exists()}:
            return

        def fill(folder: Path) -> None:
            for name, data in copies.items():
                write_atomic(folder / name, data)

        replace(store, target, fill, outdated=self._outdated(job, store / "runs"))

    def _outdated(self, job: Job, stored: Path) -> list[Path]:
        """Trained again on another machine a network is another one; what was measured of the stored one goes with it."""
        kept = Run(stored / job.name)
        if not kept.finished or kept.summary["metrics"] == Run(self.runs / job.name).summary["metrics"]:
            return []
        configs = sorted(stored.rglob("config.yaml"))
        return [c.parent for c in configs if job.name in Job("", "", yaml.safe_load(c.read_text())).reads]

    def copied(self, source: Path) -> bytes:
        """What the store gets of a small file: our folder is written as @, as in the settings of a job."""
        data = source.read_bytes()
        if source.suffix == ".yaml":  # a word that begins with @ needs quotes there
            data = yaml.safe_dump(
                json.loads(self._named(json.dumps(yaml.safe_load(data)).encode())), sort_keys=False
            ).encode()
        return self._named(data)

    def _named(self, data: bytes) -> bytes:
        return data.replace(str(self.runs).encode() + b"/", HERE.encode())

    def account(self, job: Job, seconds: float) -> None:
        """Write down how long a job took."""
        self._spent, self._expected = self._spent + seconds, self._expected + job.seconds
        took = {job.name: round(seconds, 1)}
        write_atomic(self.path / SECONDS, dump_json({**_known(self.path), **took}))
        if self.store and job.command in STORED:
            with held(self.store):
                write_atomic(self.store / SECONDS, dump_json({**_known(self.store), **took}))

    def _line(self, job: Job) -> str:
        """Which job of how many, and the time left at the pace of this call."""
        n_open = sum(self.found(j) is None for j in self.planned)
        n = len(self.planned)
        return f"[{n - n_open + 1}/{n}] {job.name} (cgro {job.command}); {self.left()}"

    def left(self) -> str:
        """Time that the open jobs take at the pace of this call, one after the other."""
        pace = self._spent / self._expected if self._expected > 30 else 1.0
        return f"about {duration(pace * sum(j.seconds for j in self.planned if self.found(j) is None))} of work left"

    def seconds(self, jobs: Sequence[Job]) -> float:
        """What the finished jobs took, in the calls that finished them."""
        known = {**(_known(self.store) if self.store else {}), **_known(self.path)}
        return sum(known.get(job.name, 0.0) for job in jobs)


def _known(folder: Path) -> dict[str, float]:
    return read_json(folder / SECONDS) if (folder / SECONDS).exists() else {}


def is_held(path: Path) -> bool:
    """Whether a process works in this run directory."""
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


def await_release(path: Path) -> None:
    """Wait, within bounds, for a worker of an earlier call that was killed: it is saving what it has reached."""
    until = time.monotonic() + PATIENCE
    while is_held(path) and time.monotonic() < until:
        time.sleep(0.1)


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
