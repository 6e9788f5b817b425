"""The directory of one reproduction: DIR/runs/JOB, DIR/ARTIFACT, the page; what is finished is here or in the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cgro._check import BadRequest, bad
from cgro.jobs import plan
from cgro.jobs.ledger import Ledger
from cgro.jobs.plan import HERE, Job
from cgro.jobs.store import STORED, Store
from cgro.runs import Run, plain


@dataclass
class Workspace:
    """Looks up the runs of jobs.

    Args:
        path: DIR.
        planned: jobs of the whole call, for the time left, and for what a job needs.
        computing: settings such as the device, given to every command that knows them.
        store: of committed results; None without one.
        below: folder of `path` in which runs are; "" for itself.
    """

    path: Path
    planned: Sequence[Job] = ()
    computing: Mapping[str, object] = field(default_factory=dict)
    store: Store | None = None
    below: str = "runs"
    ledger: Ledger = field(init=False)
    _compared: dict[str, Run] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.path, self.store.root if self.store else None)

    @property
    def runs(self) -> Path:
        """Where jobs are."""
        return self.path / self.below

    def folder(self, job: Job) -> Path:
        """Where a job's run is, or will be.

        Args:
            job: any.

        Returns:
            Its directory.
        """
        return self.runs / job.name

    def options(self, job: Job) -> dict[str, object]:
        """All that a job's command is told: device and threads as well, if it knows them.

        Args:
            job: any.

        Returns:
            Option -> value, without where results go.
        """
        known = plan.known_options(job.module())
        computing = {name: value for name, value in self.computing.items() if name in known}
        return {**computing, **self.settled(job).filled_in(self.runs)}

    def settled(self, job: Job) -> Job:
        """A job with its free settings as they are decided; see `decided`.

        Args:
            job: any.

        Returns:
            The job with those settings; as it is where nothing is decided.

        Raises:
            BadRequest: see `found`.
        """
        decided = self.decided(job)
        if decided is None:
            return job
        settings = dict(job.settings)
        for name in job.free:
            if name in settings and name in decided:
                settings[name] = decided[name]
        return replace(job, settings=settings)

    def decided(self, job: Job) -> Mapping[str, object] | None:
        """Where a job's free settings are decided: in its own run, finished or not, else in that of another seed.

        Seeds of one network are compared, so they must agree: the first that is finished decides for all. A job that is
        `like` another takes what is decided there.

        Args:
            job: any.

        Returns:
            Settings of a run; None where nothing is decided.

        Raises:
            BadRequest: see `found`.
        """
        if not job.free:
            return None
        own = Run(self.folder(job))
        if own.is_run():
            return own.config
        for other in self.planned:
            if other.name == job.like:
                return self.decided(other)
        alike = _without_seed(job)
        for other in (job, *self.planned):
            if other.command == job.command and other.free == job.free and _without_seed(other) == alike:
                found = self.found(other)
                if found is not None:
                    return found.config
        return None

    def here(self, job: Job) -> Run | None:
        """The whole finished run of a job.

        Settings and files are compared once: a finished run does not change, and the one that plans asks often.

        Args:
            job: any.

        Returns:
            The run; None if it is not finished here.

        Raises:
            BadRequest: what is here was made with other settings, or by another version, or was changed since.
        """
        run = Run(self.folder(job))
        if not run.finished:
            return None
        if self._compared.get(job.name) != run:
            try:
                Run.open(run.path)  # files that changed since it was finished are refused
            except BadRequest as error:
                raise BadRequest(f"{error}; or delete {run.path}, and the same command makes it again") from None
            there = run.config
            for name, value in plain(job.filled_in(self.runs)).items():
                if name in job.free:
                    continue
                if there.get(name) != value and not _is_moved(job.settings.get(name), there.get(name)):
                    raise BadRequest(
                        f"{run.path}: expected a run with {name} {value}, got {there.get(name)}; choose another --out"
                    )
            self._compared[job.name] = run
        return run

    def found(self, job: Job) -> Run | None:
        """The finished result of a job, here or in the store.

        Args:
            job: any.

        Returns:
            Its run; None if it is neither here nor there.

        Raises:
            BadRequest: what is here was made with other settings; what is found is of another version.
        """
        run = self.here(job)
        if run is None and self.store is not None:
            return self.store.found(job)
        return run

    def read(self, job: Job) -> Run:
        """The finished result of a job that has been made.

        Args:
            job: any.

        Returns:
            Its run.

        Raises:
            BadRequest: there is none.
        """
        run = self.found(job)
        if run is None:
            raise bad(str(self.folder(job)), expected="a finished run", got="none", remedy="make it first")
        return run

    def read_all(self, jobs: Iterable[Job]) -> list[Run]:
        """The finished results of jobs; see `read`.

        Args:
            jobs: any.

        Returns:
            Their runs.
        """
        return [self.read(job) for job in jobs]

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Which jobs are to be made, with the networks that are needed for them and are not here.

        Args:
            jobs: those whose results are wanted.

        Returns:
            What is to be made, in an order in which it can be made.
        """
        return plan.missing(
            jobs,
            self.planned,
            is_found=lambda job: self.found(job) is not None,
            is_here=lambda job: self.here(job) is not None,
        )

    def keep(self, jobs: Iterable[Job]) -> None:
        """Copy what is finished to the store, if there is one.

        Args:
            jobs: any.
        """
        if self.store is not None:
            for job in jobs:
                self.store.keep(job, self.runs)

    def record(self, job: Job, seconds: float) -> None:
        """Write down a job that has ended, and keep its result.

        Args:
            job: that was made here.
            seconds: that it took.
        """
        self.ledger.record(job, seconds, stored=job.command in STORED)
        self.keep([job])

    def unfinished(self) -> list[Job]:
        """The open jobs of the whole call.

        Returns:
            Those whose results are neither here nor in the store.
        """
        return [job for job in self.planned if self.found(job) is None]


def _without_seed(job: Job) -> dict[str, object]:
    """What seeds of one network have in common."""
    return {name: value for name, value in job.fixed.items() if name != "seed"}


def _is_moved(setting: object, there: object) -> bool:
    """Whether a run names the job that a setting names, below another spelling of this folder, or below an older place.

    What reads a run lies in one folder with it, and the two are moved together.
    """
    if isinstance(setting, list | tuple):
        if not isinstance(there, list) or len(there) != len(setting):
            return False
        return all(_is_moved(one, other) for one, other in zip(setting, there, strict=True))
    tail = str(setting).removeprefix(HERE)
    return tail != str(setting) and f"/{there}".endswith(f"/runs/{tail}")
