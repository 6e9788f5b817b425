"""Tables and figures of the paper, each with a verdict per claim.

reproduced, partly, not reproduced; derived where our own derivation is evaluated; cannot be told where the interval
contains the limit; cannot be tested at this scale. Killed at any moment and called again it goes on where it was and
ends in the same page, DIR/index.html. Exit 1 when a claim is not reproduced, and for no other verdict.

examples:
  cgro reproduce all --scale smoke
  cgro reproduce table2,figure2c --scale cpu --out runs/theory
  cgro reproduce all --scale cpu --store results --workers 2   (what is committed there is not made again)
  cgro reproduce figure1 --scale gpu --minutes 9              (again and again: slices of at most ten minutes)
  cgro reproduce figure1 --scale gpu --store results --seeds 1   (what a first slice of a GPU left)
  cgro reproduce table1 --scale paper                         (says what it costs before it starts)

artifacts: {artifacts}.
groups: all, theory (no training of images), trained, figure2.
scales: smoke (ten minutes, tests the machinery), cpu (about ten hours on two cores with bfloat16), gpu, paper.
"""

import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cgro._check import BadRequest, CheckFailed, bad, count, number, one_of
from cgro._interrupt import stopping_after
from cgro.commands._common import Computing, Output, Spreading, option, set_up
from cgro.commands._effect import Effects, Only, beside
from cgro.experiments import networks, registry
from cgro.experiments.artifact import produce
from cgro.experiments.claims import NOT_REPRODUCED
from cgro.experiments.cost import check_commands, check_data, check_machine
from cgro.experiments.registry import chosen
from cgro.jobs.execute import Tolerance, execute, table_of_failures
from cgro.jobs.places import Place
from cgro.jobs.plan import SCALES, Job, Scale, duration, unique
from cgro.jobs.store import Store
from cgro.jobs.workspace import Workspace
from cgro.report import reproduction
from cgro.report.artifacts import Result
from cgro.results import ClaimRecord, OutcomeRecord, ReproduceSummary, VerdictRecord
from cgro.runs import Run, say

WIDTH = 100
"""Characters of a line of --help. A choice."""
__doc__ = (__doc__ or "").replace(
    "artifacts: {artifacts}.",
    textwrap.fill("artifacts: " + ", ".join(registry.names()) + ".", WIDTH, subsequent_indent="  "),
)


@dataclass(kw_only=True)
class Config(Output, Spreading, Computing):
    """Options of `cgro reproduce`."""

    names: str = option("all", "an artifact, several joined by commas, or a group", positional=True)
    scale: str = option("smoke", "smoke, cpu, gpu or paper")
    seeds: int = option(3, "of each trained network, the first so many; most claims are judged by three", low=1)
    minutes: float = option(0.0, "stop, resumable, after so long; 0 for never")
    max_hours: float = option(168.0, "refuse gpu and paper when their estimate is above")
    store: str | None = option(
        None, "keep results in STORE/SCALE, small files to commit, and take finished ones from there"
    )

    HAS_EFFECT: ClassVar[Effects] = {
        "max_hours": beside("--scale gpu or paper", lambda c: c.scale not in ("smoke", "cpu")),
        "precision": Only("auto, as the stored results were made", lambda c: False),
        "overwrite": None,
    }


def run(config: Config, executor: Executor | None = None) -> Run:
    """Make what is missing, judge, draw, and write the page after every artifact.

    Args:
        config: the options.
        executor: carries jobs out instead of what the options say; see docs/clusters.md.

    Returns:
        The run of the whole reproduction.

    Raises:
        BadRequest: what is asked for cannot be done, or a job failed.
        CheckFailed: a claim is not reproduced; everything is written.
    """
    with networks.first_seeds(count(config.seeds, "--seeds")):
        return _reproduce(config, executor)


def _reproduce(config: Config, executor: Executor | None) -> Run:
    asked = chosen(config.names)
    scale = one_of(config.scale, "--scale", SCALES)
    number(config.minutes, "--minutes", low=0.0)
    place = Place.of(config, config.threads, executor)
    set_up(config)
    workspace = _workspace(config, scale, place.threads)
    taken_up = _is_there(workspace.path, scale) and not config.overwrite
    _prepare(config, scale, workspace)
    parts = tuple(registry.names())
    begun = Run.start(workspace.path, "reproduce", {"scale": scale}, overwrite=config.overwrite, parts=parts)
    held = Run(workspace.path).locked() if taken_up else begun
    tolerance = Tolerance(lambda job: _lacks(job, workspace, tolerance.failed))
    with held as whole, stopping_after(60 * config.minutes), place.opened(workspace.path) as (found, carry):
        # Elsewhere there is room for all jobs at once; here an artifact is shown as soon as its own are finished.
        if place.is_elsewhere:
            execute(workspace.planned, workspace, found, carry, at_once=place.at_once, tolerance=tolerance)
        for artifact in asked:
            jobs = artifact.jobs(scale)
            execute(jobs, workspace, found, carry, at_once=place.at_once, tolerance=tolerance)
            n_open = len([job for job in jobs if workspace.found(job) is None])
            if n_open:
                say(f"{artifact.NAME}: not made, {n_open} of its jobs failed, or read one that did")
                continue
            verdict = produce(artifact, scale, workspace).verdict
            assert verdict is not None, "artifacts are judged"
            say(f"{artifact.NAME}: {verdict.label} ({verdict.reason})")
            _publish(config, whole, workspace)
    if tolerance.failed:
        _raise_for(tolerance.failed)
    _raise_if_failed(whole, registry.names(asked))
    return whole


def _lacks(job: Job, workspace: Workspace, failed: Mapping[str, str]) -> bool:
    """Whether a job failed in this call, or reads one that is not there: it is not begun."""
    needed = [other for other in workspace.planned if other.name in job.reads]
    return job.name in failed or any(workspace.here(other) is None for other in needed)


def _raise_for(failed: Mapping[str, str]) -> None:
    """The end of a call in which jobs failed: all that did not need them is made."""
    name, reason = next(iter(failed.items()))
    if not reason.startswith(name):
        reason = f"{name}: {reason}"
    if len(failed) > 1:
        say(table_of_failures(failed))
        reason = f"{len(failed)} jobs failed; the first is {reason}"
    raise BadRequest(reason)


def _workspace(config: Config, scale: Scale, threads: int | None) -> Workspace:
    """The reproduction's directory, with all jobs of this call planned."""
    jobs = []
    for artifact in chosen(config.names):
        jobs += artifact.jobs(scale)
    computing: dict[str, object] = {}
    if config.device != "auto":
        computing["device"] = config.device
    if threads is not None:
        computing["threads"] = threads
    store = None
    if config.store and scale != "smoke":
        store = Store(Path(config.store) / scale)
    path = Path(config.out or f"runs/reproduce-{scale}")
    return Workspace(path, unique(jobs), computing, store)


def _prepare(config: Config, scale: Scale, workspace: Workspace) -> None:
    """Refuse before any work what cannot be done, and say what the rest costs."""
    missing = list(workspace.planned)
    if not config.overwrite:
        workspace.keep(workspace.planned)
        missing = workspace.missing(workspace.planned)
    if missing:
        check_commands(missing)
        check_data(missing)
        check_machine(scale, missing, config.device, config.max_hours)


def _is_there(path: Path, scale: Scale) -> bool:
    """Whether a reproduction of this scale is already there; a finished one may be called again.

    Raises:
        BadRequest: something else is, or one of another version.
    """
    run = Run(path)
    if not (path / "config.yaml").exists():
        return False
    run.check_version()
    command = run.config.get("command")
    its_scale = run.config.get("scale", "")
    if (command, its_scale) != ("reproduce", scale):
        raise bad(
            "--out",
            expected=f"a directory of cgro reproduce --scale {scale}",
            got=f"{path} of cgro {command} {its_scale}".strip(),
            remedy="choose another",
        )
    return True


def _publish(config: Config, whole: Run, workspace: Workspace) -> None:
    """The page and the summary of what there is so far; copies to the store."""
    order = registry.names()
    results = reproduction.results_of(whole.path, order)
    reproduction.write(whole.path, results, order, f"The paper, reproduced at scale {config.scale}")
    claims = _claims(results)
    summary = ReproduceSummary(
        command="reproduce",
        seed=0,
        threat=None,
        outcome=OutcomeRecord(kind="completed", reason=f"{len(results)} artifacts"),
        verdict=VerdictRecord(label=_label(results), reason=_counted(claims)),
        metrics={},
        scale=config.scale,
        claims={claim.name: claim.verdict for claim in claims},
        seconds=workspace.ledger.total(workspace.planned),
    )
    whole.write_summary(summary)
    if config.store:
        store = Store(Path(config.store) / config.scale)
        for result in results:
            store.keep_artifact(result.path, workspace.runs)


def _claims(results: Sequence[Result]) -> list[ClaimRecord]:
    claims = []
    for result in results:
        claims += result.summary.claims
    return claims


def _label(results: Sequence[Result]) -> str:
    """The label of the only artifact; of several there is none."""
    if len(results) == 1 and results[0].summary.verdict is not None:
        return results[0].summary.verdict.label
    return "see claims"


def _counted(claims: Sequence[ClaimRecord]) -> str:
    """How many claims have each verdict, in words."""
    verdicts = [claim.verdict for claim in claims]
    counts = []
    for verdict in reproduction.VERDICTS:
        if verdict in verdicts:
            counts.append(f"{verdicts.count(verdict)} {verdict}")
    return ", ".join(counts)


def _raise_if_failed(whole: Run, asked: Sequence[str]) -> None:
    """The exit code: 1 when a claim of the artifacts that were asked for is not reproduced."""
    failed = []
    for result in reproduction.results_of(whole.path, registry.names()):
        if result.summary.artifact in asked:
            failed += [claim.name for claim in result.summary.claims if claim.verdict == NOT_REPRODUCED]
    if failed:
        raise CheckFailed(f"{len(failed)} claims not reproduced: {', '.join(failed)}; see {whole.path}/index.html")


def describe(result: ReproduceSummary) -> str:
    """Verdict of every claim, and the time it took.

    Args:
        result: of the whole reproduction.

    Returns:
        Text for the terminal.
    """
    lines = [f"  {name:36} {verdict}" for name, verdict in result.claims.items()]
    reason = "" if result.verdict is None else result.verdict.reason
    return "\n".join([*lines, "", f"{reason}; runs took {duration(result.seconds or 0.0)}; open index.html"])
