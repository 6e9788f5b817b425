"""What a slice does of an item: which jobs, in how many epochs, going on from which weights; and doing it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from msgspec.structs import replace
from tools.gpu.items import Item, folder_of, items, jobs_of
from tools.gpu.keeper import Keeper
from tools.gpu.pace import LOADING, N_STEPS, SHARED, epochs_that_fit, measured
from tools.gpu.weights import CONTINUED, EXAMPLES, SMALL, epoch_of, mark, note_continuation, restore

from cgro._check import bad
from cgro._interrupt import stopping_after
from cgro.commands.train import Config
from cgro.experiments import cost, networks
from cgro.jobs.execute import Call, Tolerance, execute
from cgro.jobs.plan import Job
from cgro.jobs.store import KEPT, Store
from cgro.jobs.workers import at_once
from cgro.jobs.workspace import Workspace
from cgro.reading import read_bytes, read_json_object
from cgro.runs import Run, write_atomic
from cgro.training.compiling import CAPTURED

ROUNDED = "weights rounded to bfloat16"
"""Mark of what was measured on a network that travelled."""
TINY_STEPS = 3
"""Steps that a dry run measures."""
SHORTEST = 5.0
"""Seconds below which no further job is begun. A choice."""
NO_TIME = "the time was over"


@dataclass
class Plan:
    """What a slice is to do.

    Args:
        item: of the list.
        jobs: that are open, with the epochs that were chosen.
        workspace: where they are made.
        restored: directory of a run whose weights travelled -> the mark of what reads it.
        tolerance: what failed, and what is not begun.
    """

    item: Item
    jobs: list[Job]
    workspace: Workspace
    restored: dict[Path, str]
    tolerance: Tolerance = field(default_factory=lambda: Tolerance(lambda job: False))


def planned(item: Item, store: Store, keeper: Keeper, weights: Path, *, device: str, seconds: float) -> Plan:
    """Put back what travelled, measure the pace where the number of epochs is open, and choose it.

    Args:
        item: of the list.
        store: of committed results.
        keeper: of what is made.
        weights: the carried folder.
        device: to compute on.
        seconds: that are left.

    Returns:
        The plan.

    Raises:
        BadRequest: no time for five epochs; weights are missing or damaged.
    """
    restored = _restored(item, store, keeper, weights)
    committed = Workspace(keeper.work, jobs_of([item, *items(_scale(keeper))]), store=store)
    opened = item.open_jobs(store)
    jobs = [committed.settled(job) for job in opened]
    epochs = None
    for training in item.trainings:
        if training in opened and committed.decided(training) is None:
            if epochs is None:
                epochs = _epochs(item, training, committed, keeper, device=device, seconds=seconds)
            jobs = [networks.compressed(job, epochs) if job.name == training.name else job for job in jobs]
    keeper.trainings = [job.name for job in jobs if job.command == "train"]
    workspace = Workspace(keeper.work, jobs, {"device": device}, keeper.store)
    return Plan(item, jobs, workspace, restored)


def _scale(keeper: Keeper) -> networks.Scale:
    return keeper.record.scale


def _epochs(item: Item, training: Job, committed: Workspace, keeper: Keeper, *, device: str, seconds: float) -> int:
    """As many as fit, and no more than Figure 1's network had, beside which the others are shown."""
    config: Config = training.config(device=device)
    started = time.monotonic()
    n_steps = TINY_STEPS if keeper.record.scale == "smoke" else N_STEPS
    pace = measured(config, n_steps)
    keeper.record = replace(keeper.record, pace=pace)
    shared = SHARED if item.at_once > 1 else 1.0
    most = config.epochs
    figure1 = committed.decided(networks.widest(keeper.record.scale)[0])
    if figure1 is not None and config.data == "cifar10" and isinstance(figure1.get("epochs"), int):
        most = min(most, int(str(figure1.get("epochs"))))
    for_training = seconds - (time.monotonic() - started) - LOADING - item.reserve
    if keeper.record.scale == "smoke":
        for_training = seconds  # a dry run is about the machinery, and its few epochs are all that its plan has
    epochs = epochs_that_fit(pace, for_training, most=most, every=config.eval_every, shared=shared)
    keeper.record = replace(keeper.record, epochs=epochs)
    print(
        f"{1000 * pace.step_seconds:.3g} ms a step, {pace.epoch_seconds:.3g} s an epoch, evaluation "
        f"{pace.evaluation_seconds:.3g} s, start {pace.start_seconds:.3g} s: {epochs} epochs of at most {most}"
    )
    return epochs


def _restored(item: Item, store: Store, keeper: Keeper, weights: Path) -> dict[Path, str]:
    """Put trainings back whose weights are here: finished ones for their readers, cut off ones to go on."""
    restored: dict[Path, str] = {}
    own = [job.name for job in item.jobs if job.command == "train"]
    for name in dict.fromkeys([*item.needs, *own]):
        folder = folder_of(weights, name)
        if not folder.is_dir():
            continue
        run = Run(keeper.runs / name)
        stored = store.root / "runs" / name
        finished = (stored / "summary.json").exists()
        source = stored if finished else folder
        _copy(source, run.path, KEPT if finished else SMALL)
        _copy(folder, run.path, [EXAMPLES])
        if not run.is_run():
            raise bad(str(source), expected=f"the run of {name}", got="none, or a damaged one")
        restore(folder, name, run.path)
        if finished:
            run.write_summary({**run.summary, "provenance": ROUNDED})
            restored[run.path] = ROUNDED
            keeper.remark(f"{name}: its network is measured with {ROUNDED}")
        else:
            note_continuation(run.path)
            keeper.remark(f"{name}: goes on from bfloat16 weights after epoch {epoch_of(run.path)}")
    return restored


def _copy(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        if (source / name).exists():
            write_atomic(target / name, read_bytes(source / name, follow=False))


def carried_out(plan: Plan, keeper: Keeper, left: Callable[[], float]) -> None:
    """Do the jobs of a plan until the time is over.

    Args:
        plan: of the slice.
        keeper: of what is made.
        left: seconds until everything must be written.

    Raises:
        KeyboardInterrupt: the time was over, or it was stopped, in the middle of a job; what it saved is kept.
    """
    plan.tolerance.skips = lambda job: why_not(plan, job, left()) is not None
    n = plan.item.at_once
    # One at a time runs in this process, which has torch and the device ready: a new one takes ten seconds to begin.
    with at_once(n) as (executor, carry_out), stopping_after(max(1.0, left())):

        def carry(call: Call) -> float:
            seconds = carry_out(call)
            mark(Run(call.folder), plan.restored)
            keeper.took(call.name, seconds)
            return seconds

        execute(plan.jobs, plan.workspace, executor, carry, at_once=n, tolerance=plan.tolerance)


def why_not(plan: Plan, job: Job, left: float) -> str | None:
    """Why a job is not begun.

    Args:
        plan: of the slice.
        job: one of it.
        left: seconds until everything must be written.

    Returns:
        The reason; None where it can be begun.
    """
    if left < SHORTEST:
        return NO_TIME
    for name in sorted(job.reads):
        run = Run(plan.workspace.runs / name)
        if not run.finished:
            return f"{name} is not finished"
        if job.settings.get("per_epoch") and _is_continued(run, plan):
            return f"{name} has not all of its kept checkpoints any more"
    return None


def _is_continued(run: Run, plan: Plan) -> bool:
    if run.path in plan.restored:
        return True
    return CONTINUED in read_json_object(run.path / "environment.json", follow=False)


def closed(plan: Plan, keeper: Keeper, end: str) -> None:
    """Say what is done and what is open.

    Args:
        plan: of the slice.
        keeper: of what was made.
        end: why it ended.
    """
    done: list[str] = []
    still_open: dict[str, str] = {}
    for job in plan.jobs:
        if keeper.store.found(job) is not None:
            done.append(job.name)
        elif job.name in plan.tolerance.failed:
            still_open[job.name] = plan.tolerance.failed[job.name]
        else:
            still_open[job.name] = why_not(plan, job, float("inf")) or NO_TIME
    if end == FINISHED and still_open:
        end = f"{len(done)} of {len(plan.jobs)} jobs are finished"
    keeper.record = replace(keeper.record, done=done, open=still_open, end=end)


FINISHED = "all jobs are finished"


def speed(config: Config, run: Run) -> tuple[float, float, float] | None:
    """How fast a training went, from its own epochs after the first.

    Args:
        config: of the training.
        run: its run.

    Returns:
        Median seconds of an epoch, operations a second by the count of `cgro.experiments.cost`, and the share of the
        captured step's on an H100; None for fewer than two epochs.
    """
    seconds: Sequence[float] = [float(row["seconds"]) for row in run.rows()[1:]]
    if not seconds:
        return None
    one = median(seconds)
    n_epochs = max(1, config.epochs)
    rate = cost.operations(config) / n_epochs / one
    return one, rate, rate / CAPTURED
