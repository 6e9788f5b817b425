"""Commands that make many runs of their own kind, carried out elsewhere: seeds of a training, cells of a phase diagram.

Each run is a call of the same command with a directory of its own. When all are finished the command itself is called,
finds them, and writes what it always writes: the result does not depend on where its runs were carried out.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from cgro._check import CheckFailed, bad
from cgro._interrupt import stopping_after
from cgro.commands import dynamics, train
from cgro.commands._common import begin, set_up, stored
from cgro.jobs.execute import Tolerance, execute, table_of_failures
from cgro.jobs.places import Place
from cgro.jobs.plan import Job, module_of
from cgro.jobs.workspace import Workspace
from cgro.runs import Run, plain, say

COMPUTING = ("device", "threads", "train_precision", "stream")
"""Options that a run may keep otherwise than they were given: its share of the threads, and what `auto` stands for."""

Swept = train.Config | dynamics.Config
ONE = "a single run needs neither: see docs/clusters.md"


@dataclass(frozen=True)
class Parts:
    """The runs that a command is made of.

    Args:
        jobs: one per run.
        below: folder of the command's directory in which they are.
        gather: puts what they made where the command finds it; called with its run and theirs.
    """

    jobs: list[Job]
    below: str
    gather: Callable[[Run, Workspace], None]


def run(command: str, config: Swept, executor: Executor | None = None) -> Run:
    """Carry a command's runs out where its options say, then the command itself.

    Runs that are finished are not made again, those that were cut go on. One that fails stops no other.

    Args:
        command: train, with several seeds, or dynamics, with a sweep.
        config: its options.
        executor: carries runs out instead of what the options say; see docs/clusters.md.

    Returns:
        The finished run.

    Raises:
        BadRequest: there is only one run; options that do not fit, before any work.
        CheckFailed: a run failed; the others are finished.
        KeyboardInterrupt: it was stopped; called again, it goes on.
    """
    place = Place.of(config, config.threads, executor)
    if isinstance(config, train.Config):
        set_up(config)  # before its environment is written
    with stopping_after(getattr(config, "max_seconds", 0.0)):
        with begin(command, config) as whole:
            parts = _seeds(config) if isinstance(config, train.Config) else _cells(config, whole)
            workspace = Workspace(whole.path, parts.jobs, _computing(config, place), below=parts.below)
            _make(parts.jobs, workspace, place)
            parts.gather(whole, workspace)
        there = {"out": str(whole.path), "overwrite": False, "executor": "local", "workers": None, "slurm_options": ""}
        return module_of(command, command).run(replace(config, **there))


def _computing(config: Swept, place: Place) -> dict[str, object]:
    """What every run is told beside its settings."""
    found: dict[str, object] = {}
    for name in COMPUTING:
        value = getattr(config, name, None)
        if value is not None:
            found[name] = value
    if place.threads is not None:
        found |= {"threads": place.threads}
    trust = getattr(config, "trust", False)
    if trust is True or getattr(trust, "everything", False):
        found |= {"trust": True}
    return found


def _make(jobs: list[Job], workspace: Workspace, place: Place) -> None:
    tolerance = Tolerance(lambda job: False)
    with place.opened(workspace.path) as (executor, carry):
        execute(jobs, workspace, executor, carry, at_once=place.at_once, tolerance=tolerance)
    failed = {job.name: tolerance.failed[job.name] for job in jobs if job.name in tolerance.failed}
    if failed:
        say(table_of_failures(failed))
        raise CheckFailed(
            f"{len(failed)} of {len(jobs)} runs failed: {', '.join(failed)}; the others are finished, and the same "
            "command with the same --out tries these again"
        )


def _seeds(config: train.Config) -> Parts:
    """One training per seed, where `cgro.commands._common.for_seeds` looks for it."""
    if config.resume is not None:
        raise bad(
            "--resume",
            expected="none beside --executor and --workers",
            got=config.resume,
            remedy="call the command that it began with again; finished seeds are kept",
        )
    if config.seeds == 1:
        raise bad("--executor, --workers", expected="several --seeds", got="1", remedy=ONE)
    config.recipe()  # refused here rather than in every job
    config.threat()
    jobs = []
    for seed in range(config.seed, config.seed + config.seeds):
        jobs.append(Job(f"seed-{seed}", "train", _settings(config, seed=seed, seeds=1)))
    return Parts(jobs, "", lambda whole, workspace: None)


def _cells(config: dynamics.Config, whole: Run) -> Parts:
    """One run per value of the first parameter of a sweep: its cells, which are rows of the whole in their order."""
    if not config.sweep or config.cells:
        raise bad("--executor, --workers", expected="a whole --sweep", got="none", remedy=ONE)
    n_cells = len(dynamics.cells_of(config))
    size = n_cells // dynamics.first_axis(config)
    n_there = len(whole.rows())
    jobs: list[Job] = []
    starts: dict[str, int] = {}
    for first in range(0, n_cells, size):
        if first + size > n_there:
            job = Job(f"cells-{first}", "dynamics", _settings(config, cells=f"{first}:{first + size}"))
            starts[job.name] = first
            jobs.append(job)

    def gather(whole: Run, workspace: Workspace) -> None:
        rows = whole.rows()
        for job in jobs:
            rows = [*rows[: starts[job.name]], *workspace.read(job).rows()]
        whole.write_rows(rows)

    return Parts(jobs, "runs", gather)


def _settings(config: Swept, **own: object) -> dict[str, object]:
    """The settings of a run: those of the command but where it computes, and its own."""
    settings: Mapping[str, object] = plain(stored(config))
    return {**{name: value for name, value in settings.items() if name not in COMPUTING}, **own}
