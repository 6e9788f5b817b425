"""What helps? Remedies side by side on your data and network, at equal compute, each with its effect in words.

PLAN.yaml has `base` (options of cgro train, spelled as in a run's config.yaml), `remedies` (name -> options that
differ, `extension` a list), `seeds` (a number) and, if wanted, `widths` (a list). Epochs are set so that all remedies
make as many gradient passes. Networks are evaluated by a strong attack at the last epoch and at the epoch that
validation selected. In --out, written anew while it works: summary.json, tables/compare.csv, figures/pareto.png,
index.html.

Killed at any moment and called again it goes on where it was; finished runs are not made again. Exit 1 when a job
failed; the others are made all the same. A network whose loss was not finite stays in the table with its reason.

examples:
  cgro compare plan.yaml --out runs/compare
  cgro compare plan.yaml --out runs/compare --budget 2h --workers 2     (again and again, until all is made)
  cgro compare --out runs/compare --add more.yaml                       (a file NAME: {options}; beside the finished)
  cgro compare plan.yaml --strong pgd50x10 --n 200
  cgro compare plan.yaml --model my_package.networks:Net                (the plan names it; so you say it is yours)

A plan is data: code that it names is imported, paths read and data fetched only if you name them too, or with --trust.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from msgspec import UNSET

from cgro._check import BadRequest, CheckFailed, bad, count, seconds_of
from cgro._interrupt import acknowledge, stopping_after
from cgro.commands._common import Computing, Output, Spreading, Trusting, option, set_up
from cgro.commands._effect import Effects
from cgro.comparison.outcomes import Outcomes
from cgro.comparison.plan_file import OPTIONS, Plan, Settings, read_plan, read_remedies
from cgro.comparison.trials import Evaluated, Jobs, Trial, jobs_of, seconds_per_operation, trials_of
from cgro.data.sources import kind_of
from cgro.jobs.execute import Carry, Tolerance, execute, table_of_failures
from cgro.jobs.peaks import Peaks
from cgro.jobs.places import Place
from cgro.jobs.plan import Job, duration
from cgro.jobs.workers import Workers
from cgro.jobs.workspace import Workspace
from cgro.report import compare as report
from cgro.results import CompareSummary, DatasetRecord, ModelRecord, OutcomeRecord, ThreatRecord, TrainSummary
from cgro.runs import Run, say, write_atomic
from cgro.training import make_fabric
from cgro.trust import Received, code_of, runs_in

PLAN = "plan.yaml"
"""In the directory: the plan with all remedies that were added."""
WRITE_EVERY = 60.0
"""Seconds, at least, between two writings of the page while jobs are made."""
YOURS = "says that the {} of this name in the plan is yours; may be repeated"


@dataclass(kw_only=True)
class Config(Trusting, Output, Spreading, Computing):
    """Options of `cgro compare`."""

    plan: str | None = option(None, "PLAN.yaml; not needed where --out holds a comparison", positional=True)
    add: list[str] = option([], "a file NAME: {options} of further remedies; may be repeated")
    budget: str | None = option(None, "stop, resumable, after so long, such as 90s, 10m or 2h")
    strong: str | None = option(
        None, "attack of the evaluation at the end, default ensemble; see cgro evaluate", names="attack"
    )
    n: int | None = option(
        None, "examples of each part that it attacks, at most, and at most final_n; default 500", low=1
    )
    data: list[str] = option([], YOURS.format("data set"), names="data", group="names in the plan")
    model: list[str] = option([], YOURS.format("network"), names="network", group="names in the plan")
    objective: list[str] = option([], YOURS.format("objective"), names="objective", group="names in the plan")
    extension: list[str] = option([], YOURS.format("extension"), names="extension", group="names in the plan")

    HAS_EFFECT: ClassVar[Effects] = {"overwrite": None}


def run(config: Config, executor: Executor | None = None) -> Run:
    """Make what is missing, and write table, figure and page.

    Args:
        config: the options.
        executor: carries jobs out instead of what the options say; see docs/clusters.md.

    Returns:
        The run of the comparison.

    Raises:
        BadRequest: a plan that cannot be carried out, before any work.
        CheckFailed: a job failed, or a run was deleted meanwhile; everything else is made and written.
        KeyboardInterrupt: it was stopped, or its time is over; what is finished is in the table.
    """
    set_up(config)
    stop = 0.0
    if config.budget is not None:
        stop = seconds_of(config.budget, "--budget")
    path = Path(config.out or f"runs/compare-{Path(config.plan or 'plan').stem}")
    taken_up = not config.overwrite and (path / "config.yaml").exists()
    evaluated = _as_before(Run(path), config) if taken_up else _asked(config)
    plan = _plan(config, path / PLAN if taken_up else None)
    place = Place.of(config, config.threads, executor)
    computing = _computing(config, plan, place.threads)
    comparison = Comparison.of(plan, trials_of(plan, config.trust), evaluated, path, computing)
    stored = {"strong": evaluated.attack, "n": evaluated.n}
    begun = Run.start(path, "compare", stored, overwrite=config.overwrite)
    with Run(path).locked() if taken_up else begun as whole:
        comparison.outcomes.require_trainings()
        comparison = comparison.estimated()
        write_atomic(whole.file(PLAN), plan.text())  # not before: a plan that is refused stays out of the directory
        try:
            with stopping_after(stop), place.opened(path) as (found, carry):
                writing = _Writing(comparison, whole)
                comparison.make(found, _watched(carry, path, config, place), at_once=place.at_once, ended=writing)
        finally:  # also when it was stopped: what is finished can be read
            acknowledge()
            _write(comparison, whole)
    if comparison.failed:
        say(table_of_failures(comparison.failed))
        names = ", ".join(comparison.failed)
        raise CheckFailed(f"{len(comparison.failed)} jobs failed: {names}; see {path}/index.html")
    if n_open := comparison.outcomes.open():
        raise CheckFailed(f"{n_open} jobs are not made, as runs in {path} were deleted; the same command goes on")
    return whole


@dataclass(frozen=True)
class Comparison:
    """Remedies, seeds and widths with their jobs, and where their runs are.

    Args:
        plan: as read.
        trials: of the plan.
        evaluated: how networks are evaluated.
        workspace: where runs are looked up and made.
        jobs: name of the trial -> its jobs, one entry per seed.
        failed: job -> why it failed; filled in by `make`.
    """

    plan: Plan
    trials: Sequence[Trial]
    evaluated: Evaluated
    workspace: Workspace
    jobs: Mapping[str, Sequence[Jobs]]
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, plan: Plan, trials: Sequence[Trial], evaluated: Evaluated, path: Path, computing: Mapping[str, object]
    ) -> "Comparison":
        """The comparison of a plan.

        Args:
            plan: as read.
            trials: of the plan; see `cgro.comparison.trials.trials_of`.
            evaluated: how networks are evaluated.
            path: the directory; runs are below it.
            computing: options such as the device, given to every command that knows them.

        Returns:
            It; nothing is made yet.
        """
        return cls._with_times(plan, trials, evaluated, Workspace(path, (), computing), {})

    @classmethod
    def _with_times(
        cls,
        plan: Plan,
        trials: Sequence[Trial],
        evaluated: Evaluated,
        workspace: Workspace,
        seconds: Mapping[int | None, float],
    ) -> "Comparison":
        jobs: dict[str, list[Jobs]] = {}
        planned: list[Job] = []
        for trial in trials:
            first = trial.config.seed
            of_seeds = [
                jobs_of(trial, seed, evaluated, seconds.get(trial.width, 0.0))
                for seed in range(first, first + plan.seeds)
            ]
            jobs[trial.name] = of_seeds
            for one in of_seeds:
                planned += one.all
        own = Workspace(workspace.path, planned, workspace.computing)
        return cls(plan, trials, evaluated, own, jobs)

    @property
    def outcomes(self) -> Outcomes:
        """What has been made so far."""
        return Outcomes(self.workspace, self.jobs, self.failed)

    def estimated(self) -> "Comparison":
        """The comparison with the time of each job, from one measured step of each network; says what is to be made.

        Returns:
            It; the same where nothing is to be made.
        """
        n = self.outcomes.open()
        if not n:
            return self
        known = {name: value for name, value in self.workspace.computing.items() if name in ("device", "threads")}
        timed = self._with_times(
            self.plan, self.trials, self.evaluated, self.workspace, seconds_per_operation(self.trials, **known)
        )
        training = measuring = 0.0
        for job in timed.workspace.unfinished():
            if job.command == "train":
                training += job.seconds
            else:
                measuring += job.seconds
        say(
            f"estimated, from a measured step: {n} jobs; trainings {duration(training)}, evaluations at most "
            f"{duration(measuring)} (an example that is broken is attacked no more)"
        )
        for trial in self.trials:
            say(f"  {trial.name}: {trial.config.epochs} epochs, {trial.total:,} gradient passes")
        return timed

    def make(
        self, executor: Executor, carry: Carry, *, at_once: int = 1, ended: Callable[[], None] | None = None
    ) -> None:
        """Make the jobs that are missing. One that fails does not stop the others.

        Args:
            executor: any; carries calls out.
            carry: what it is given to do; see `cgro.jobs.execute`.
            at_once: calls that are handed to the executor at a time.
            ended: called after each job.

        Raises:
            KeyboardInterrupt: a job was stopped; called again, all are resumed.
        """
        tolerance = Tolerance(self.outcomes.skips, self.failed)
        planned = self.workspace.planned
        execute(planned, self.workspace, executor, carry, at_once=at_once, tolerance=tolerance, ended=ended)

    def summary(self) -> CompareSummary:
        """What there is so far.

        Returns:
            The summary.
        """
        base = self.trials[0].config
        outcomes = self.outcomes
        n_open = outcomes.open()
        records = outcomes.records(self.plan, self.trials)
        helping = [name for name, record in records.items() if record.effect.label == "helps"]
        reason = f"{len(records)} trainings with {self.plan.seeds} seeds"
        if n_open:
            reason += f", {n_open} jobs not made yet"
        reason += f"; shown to lower the robust test error: {', '.join(helping) or 'none'}"
        return CompareSummary(
            command="compare",
            seed=base.seed,
            threat=ThreatRecord.of(base.threat().to_dict()),
            outcome=OutcomeRecord(kind="open" if n_open else "completed", reason=reason),
            verdict=None,
            metrics={},
            data=self._data(),
            model=ModelRecord(name=base.model, width=base.width),
            attack=self.evaluated.attack,
            n=min(self.evaluated.n, base.final_n),
            seeds=self.plan.seeds,
            reference=self.plan.reference,
            remedies=records,
            n_open=n_open,
            failed=dict(self.failed),
            remarks=outcomes.remarks() or UNSET,
        )

    def _data(self) -> DatasetRecord | None:
        for jobs in self.jobs.values():
            for one in jobs:
                run = self.workspace.here(one.training)
                if run is not None:
                    return run.read(TrainSummary).data
        return None


def _write(comparison: Comparison, whole: Run) -> None:
    """Table, figure, page and summary of what there is; a directory that was deleted meanwhile is not made anew.

    Raises:
        BadRequest: it was; else each job would go on in a folder that no later call takes up.
    """
    _require_there(whole)
    result = comparison.summary()
    report.write(whole.path, result)
    whole.write_summary(result)


def _require_there(whole: Run) -> None:
    if not whole.file("config.yaml").exists():
        raise BadRequest(f"{whole.path}: was moved or deleted while a command worked in it")


@dataclass
class _Writing:
    """Called after each job; writes what there is, now and then.

    A long comparison can be looked at meanwhile, and one that is killed leaves its table.
    """

    comparison: Comparison
    whole: Run
    last: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        _require_there(self.whole)
        if time.monotonic() - self.last >= WRITE_EVERY:
            _write(self.comparison, self.whole)
            self.last = time.monotonic()


def _watched(carry: Carry, path: Path, config: Config, place: Place) -> Carry:
    """What carries a call out, with a look at its memory.

    Of worker processes that use a GPU nothing is known, nor of those of other machines and of the caller's executor.
    """
    if place.is_here:
        return Peaks(carry, path)
    if not isinstance(carry, Workers):
        return carry
    on_cpu = make_fabric(config.device).device.type == "cpu"
    return Peaks(carry, path, carry.peaks if on_cpu else {})


def _plan(config: Config, there: Path | None) -> Plan:
    """The plan of this call: what the directory has, the file, and what is added."""
    if config.plan is None and (there is None or not there.exists()):
        raise bad("PLAN", expected="a file PLAN.yaml", got="none", remedy="see cgro compare --help")
    plan = None
    if there is not None and there.exists():
        plan = read_plan(there, config.trust)
    if config.plan is not None:
        asked = read_plan(Path(config.plan), config.trust)
        plan = asked if plan is None else _joined(plan, asked, config)
    assert plan is not None, "a directory that is taken up has a plan"
    for file in config.add:
        plan = plan.with_remedies(read_remedies(Path(file), config.trust), file)
    return plan


def _joined(there: Plan, asked: Plan, config: Config) -> Plan:
    """Only remedies and seeds may be new: a finished run was made with the base and the widths that were there."""
    for key in ("base", "widths"):
        if getattr(there, key) != getattr(asked, key):
            got = f"another than in {config.out}/{PLAN}"
            raise bad(
                f"{config.plan}: {key}", expected=f"the {key} it began with", got=got, remedy="choose another --out"
            )
    if asked.seeds < there.seeds:
        expected = f"at least the {there.seeds} seeds of {config.out}/{PLAN}"
        raise bad(f"{config.plan}: seeds", expected=expected, got=asked.seeds, remedy="choose another --out")
    if asked.seeds > there.seeds:
        say(
            f"{asked.seeds} seeds in place of {there.seeds}; what is finished stays. Seeds that are added because of a "
            "result make its interval too narrow"
        )
    return replace(there, seeds=asked.seeds).with_remedies(asked.remedies, str(config.plan))


def _asked(config: Config) -> Evaluated:
    """How networks are evaluated where nothing is there yet."""
    default = Evaluated()
    n = default.n if config.n is None else count(config.n, "--n")
    return Evaluated(config.strong or default.attack, n)


def _as_before(run: Run, config: Config) -> Evaluated:
    """How the networks that are there were evaluated; another directory, or another evaluation, is refused."""
    run.check_version()
    there = run.config
    if there.get("command") != "compare":
        got = f"{run.path} of cgro {there.get('command')}"
        raise bad("--out", expected="a directory of cgro compare", got=got, remedy="choose another")
    before = Evaluated(str(there.get("strong")), count(there.get("n", 0), f"{run.path}: n"))
    for flag, asked, found in (("--strong", config.strong, before.attack), ("--n", config.n, before.n)):
        if asked not in (None, found):
            raise bad(flag, expected=f"{found}, as {run.path} was begun with", got=asked, remedy="choose another --out")
    Received(str(run.path), config.trust).admit("strong", before.attack, "attack")
    return before


def _computing(config: Config, plan: Plan, threads: int | None) -> dict[str, object]:
    """What every command is told beside its job."""
    found: Settings = {}
    if config.device != "auto":
        found |= {"device": config.device}
    if config.precision != "auto":
        found |= {"precision": config.precision}
    if threads is not None:
        found |= {"threads": threads}
    if any(_needs_trust(options) for options in (plan.base, *plan.remedies.values())):
        # All names of the plan have been admitted, and those of the runs that its remedies read: no job meets others.
        found |= {"trust": True}
    return found


def _needs_trust(options: Mapping[str, object]) -> bool:
    for name, entry in OPTIONS.items():
        if entry.names is None:
            continue
        value = options.get(name)
        for word in value if isinstance(value, list) else [value]:
            if not isinstance(word, str):
                continue
            if code_of(word) is not None or runs_in(word) or (name == "data" and kind_of(word) != "named"):
                return True
    return False


def describe(result: CompareSummary) -> str:
    """The table and what it says.

    Args:
        result: of the comparison.

    Returns:
        Text for the terminal.
    """
    return report.text(result)
