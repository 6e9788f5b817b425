"""Measure clean and robust errors of a run's network, or of a checkpoint of your own.

For a run the results are added to its summary under their own keys, and the verdict is read anew. What happened to
each example is in evaluations/*.npz beside them; an evaluation that was killed, or whose --budget was over, goes on
from there. --per-epoch attacks every checkpoint that training kept (cgro train --keep-every), all with the first
attack, then all with the next, each warmed by what broke its neighbor.

examples:
  cgro evaluate runs/mnist5k --attack pgd50x10
  cgro evaluate runs/mnist5k --attack ensemble --parts test --n 1000 --save-examples
  cgro evaluate runs/mnist5k --attack ensemble --parts test --n 1000 --per-epoch --budget 10m
  cgro evaluate weights.pt --data mnist --model my_package.networks:Net --radius 0.1 --out runs/mine
  cgro evaluate runs/mine --model my_package.networks:Net
  torchrun --nproc-per-node 4 -m -- cgro evaluate runs/mnist5k --attack ensemble

A run is data: what it names is imported, read or fetched only if --model and --data name it too, or with --trust.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from msgspec import UNSET
from msgspec.structs import replace

from cgro._check import bad, one_of
from cgro.commands import _records
from cgro.commands._common import Computing, Output, Trusting, begin, lines_of, option, set_up
from cgro.commands._effect import Effects, Only, of_attack
from cgro.commands._epochs import curve
from cgro.commands._target import (
    CheckpointOptions,
    Target,
    load_target,
    metrics_of,
    prepare,
    rule_for,
    say_checks,
    warned_checks,
)
from cgro.commands._together import Beside, begun_by_first, device_for, in_processes
from cgro.data import Dataset
from cgro.definitions import FOUR, ErrorRate, VerdictRule, cgro_verdict
from cgro.definitions.attacks import attack_choices
from cgro.definitions.rounds import alike
from cgro.diagnosis import BESIDE, Check, left_for_queries, name_of_attack, point_with_lint, too_low
from cgro.models import n_parameters
from cgro.ranks import Ranks
from cgro.report.training import robust_error_by_epoch
from cgro.results import (
    DatasetRecord,
    EpochRecord,
    EvaluateSummary,
    EvaluationRecord,
    Metric,
    ModelRecord,
    OutcomeRecord,
    ThreatRecord,
    TrainSummary,
    VerdictRecord,
)
from cgro.results.keys import ON_VALIDATION
from cgro.runs import Run, Unsaved, say
from cgro.training import shares_on

PARTS = ("train", "validation", "test")

NEXT = "cgro report {run}"
"""Mostly follows; see `cgro.cli`."""


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing, CheckpointOptions):
    """Options of `cgro evaluate`."""

    target: str | None = option(None, "a run of cgro train, or a checkpoint (.safetensors, .pt)", positional=True)
    attack: str = option("pgd20", attack_choices(), names="attack")
    parts: str = option("train,test", "parts to evaluate")
    n: int = option(10000, "examples of each part, at most", low=1)
    save_examples: bool = option(False, "store adversarial examples, and evaluate them again after rounding to 8 bits")
    per_epoch: bool = option(False, "every checkpoint that the run kept: the curve of robust error against the epoch")
    budget: str | None = option(None, "stop after so long, such as 90s, 10m or 2h, with what is proved until then")
    selected: bool = option(False, "the checkpoint selected on validation robust error instead of the last")
    p: str | None = option(None, "norm; default: that of the run, or inf")
    radius: str | None = option(None, "radius; default: that of the run")
    seed: int = option(0, "seed that cut the parts of a bare checkpoint's data", low=0)

    HAS_EFFECT: ClassVar[Effects] = {
        "selected": Only("a run, which has a selected checkpoint", lambda c: _is_run(c.target), "a bare checkpoint"),
        "precision": of_attack(),
    }


def _is_run(target: str | None) -> bool:
    """Whether it is one, or nothing that is there, which is refused later."""
    return target is None or not Path(target).exists() or Run(Path(target)).is_begun()


def run(config: Config) -> Run | Unsaved | Beside:
    """Evaluate a run or a checkpoint, in this process or by the share that it has among several.

    Args:
        config: the options.

    Returns:
        The run of the evaluation; `Unsaved` where the numbers were added to the run that was evaluated; an exit code
        beside the first of several processes.

    Raises:
        BadRequest: options that do not fit, before any work.
    """
    set_up(config)
    return in_processes(config, _evaluated)


@dataclass(frozen=True)
class _Subject:
    """What is evaluated, on what."""

    target: Target
    data: Dataset
    model: torch.nn.Module


def _evaluated(config: Config, ranks: Ranks) -> Run | Unsaved:
    with alike(ranks):
        parts, target = _asked(config)
    if target.run is not None:
        return _evaluate_run(config, target, target.run, parts, ranks)
    with alike(ranks):
        subject = _Subject(target, *target.load())
        target.attack(config.attack, config.precision)
    with begun_by_first(begin("evaluate", config), ranks) as done:
        folder = Path() if done is None else done.path / "evaluations"
        stop = _records.budget(config.budget)
        measured = _measure(config, subject, parts, folder, stop, ranks)
        if measured.unfinished:  # the run stays open, so that it can be gone on with
            again = "" if done is None else f" with --out {shlex.quote(str(done.path))}"
            return Unsaved(_summary(config, subject, measured, again))
        return _finished(_summary(config, subject, measured), done, ranks)


def _finished(result: EvaluateSummary, done: Run | None, ranks: Ranks) -> Run | Unsaved:
    """The run of the first process, finished."""
    with alike(ranks):
        if done is not None:
            done.finish(result)
    return done or Unsaved(result)


def _asked(config: Config) -> tuple[list[str], Target]:
    """Parts and target."""
    _records.budget(config.budget)
    if config.target is None:
        raise bad("TARGET", expected="a run directory or a checkpoint", got="none", remedy="see cgro evaluate --help")
    parts = [one_of(part.strip(), "--parts", PARTS) for part in config.parts.split(",")]
    if config.per_epoch and Path(config.target).is_file():
        raise bad("--per-epoch", expected="a run of cgro train", got=config.target)
    target = load_target(
        config.target, config, p=config.p, radius=config.radius, trust=config.trust, selected=config.selected
    )
    return parts, target.require_own(config, "seed")


def _evaluate_run(config: Config, own: Target, source: Run, parts: list[str], ranks: Ranks) -> Run | Unsaved:
    """The numbers are added to the run's summary, and kept in --out as well where that is given."""
    with alike(ranks):
        target = own.at(config.p, config.radius)
        settings = target.settings
        changed = (settings.p, settings.radius) != (own.settings.p, own.settings.radius)
        subject = _Subject(target, *prepare(settings))
    if config.per_epoch:
        return _per_epoch(config, subject, source, parts, ranks)
    with alike(ranks):
        target.load_weights(subject.model)
    suffix = f"@{config.attack}"
    if changed:
        suffix += f"@{settings.p}:{settings.radius}"
    if config.selected:
        suffix += ON_VALIDATION
    with begun_by_first(source.locked(), ranks):
        folder = source.path / "evaluations" / _file_name(suffix[1:])
        stop = _records.budget(config.budget)
        measured = _measure(config, subject, parts, folder, stop, ranks)
        result = _summary(config, subject, measured)
        with alike(ranks):
            # Read now: another evaluation may have added its numbers while the data were loaded. By all processes
            # before the first one writes.
            before = source.read(TrainSummary)
        own_point = not changed and not config.selected
        merged = _merged(before, result, suffix, own_point=own_point)
        if own_point:
            beside = _beside(config, subject, merged, folder, stop, ranks)
            merged = replace(merged, metrics={**merged.metrics, **beside})
            merged = replace(merged, verdict=_verdict_anew(merged, target.attacked, measured.checks))
            for clause in too_low(merged.metrics):
                say(f"warning: {clause}")
        with alike(ranks):
            if ranks.writes:
                source.write_summary(merged)
    if config.out is None or measured.unfinished:
        return Unsaved(result)
    with begun_by_first(begin("evaluate", config), ranks) as done:
        return _finished(result, done, ranks)


def _beside(
    config: Config,
    subject: _Subject,
    merged: TrainSummary,
    folder: Path,
    stop: Callable[[], bool],
    ranks: Ranks,
) -> dict[str, Metric]:
    """The attack behind the run's own robust errors, on the fewer examples of this one: they are compared there."""
    found: dict[str, Metric] = {}
    for part in ("train", "test"):
        key = f"robust_error/{part}"
        name = name_of_attack(merged.metrics, key)
        own, new = merged.metrics.get(key), merged.metrics.get(f"{key}@{config.attack}")
        if new is None or own is None or name in ("", config.attack):
            continue
        if (new.n or 0) >= (own.n or 0) or (new.typical or 0.0) <= (own.typical or 0.0):
            continue
        attack = subject.target.attack(name, config.precision)
        split = getattr(subject.data, part).to(next(subject.model.parameters()).device).head(new.n)
        path = folder / f"{part}-beside.npz"
        record = _records.recorded(
            subject.model, split, attack, path, subject.target.file, keep_examples=False, stop=stop, ranks=ranks
        )
        if record.complete:
            found[f"{key}@{name}{BESIDE}{config.attack}"] = Metric.of_error(record.so_far, attack)
    return found


def _per_epoch(config: Config, subject: _Subject, source: Run, parts: list[str], ranks: Ranks) -> Unsaved:
    """The curves are added to the run's summary under `curves`, and drawn."""
    with alike(ranks):
        if config.out or config.selected or config.save_examples:
            raise bad(
                "--per-epoch",
                expected="no --out, --selected or --save-examples",
                got="one of them",
                remedy="it adds to the run and keeps its examples",
            )
        device = device_for(config.device, ranks)
        stop = _records.budget(config.budget)
        attack = subject.target.attack(config.attack, config.precision)
    settings = subject.target.settings
    name = f"{config.attack}@{settings.p}:{settings.radius}"
    with begun_by_first(source.locked(), ranks):
        curves: dict[str, list[EpochRecord]] = {}
        for part in parts:
            split = getattr(subject.data, part).to(device).head(config.n)
            folder = source.path / "evaluations" / _file_name(name) / part
            network = subject.model.to(device).eval()
            curves[part] = curve(source, network, split, attack, folder=folder, stop=stop, ranks=ranks)
        with alike(ranks):
            before = source.read(TrainSummary)
        known = dict(before.curves or {})
        known[name] = {**known.get(name, {}), **curves}
        with alike(ranks):
            if ranks.writes:
                source.write_summary(replace(before, curves=known))
                robust_error_by_epoch(source.path)
    return Unsaved(replace(before, metrics={}, verdict=None, curves={name: curves}))


def _file_name(name: str) -> str:
    return name.replace("/", "_").replace(":", "_")


@dataclass(frozen=True)
class _Measured:
    """Errors, the shares of the predictions, per part what broke how many examples, and checks without an attack."""

    errors: dict[str, ErrorRate]
    shares: list[float]
    examples: dict[str, EvaluationRecord]
    checks: list[Check]

    @property
    def unfinished(self) -> list[str]:
        """Parts whose time was over before all examples had been through all attacks."""
        return [part for part, record in self.examples.items() if not record.complete]


def _measure(
    config: Config,
    subject: _Subject,
    parts: list[str],
    folder: Path,
    stop: Callable[[], bool],
    ranks: Ranks,
) -> _Measured:
    with alike(ranks):
        device = device_for(config.device, ranks)
        target, data = subject.target, subject.data
        model = subject.model.to(device).eval()
        attack = target.attack(config.attack, config.precision)
        for part in parts:
            if not len(getattr(data, part)):
                raise bad("--parts", expected="parts with examples", got=part)
    errors: dict[str, ErrorRate] = {}
    examples: dict[str, EvaluationRecord] = {}
    broken_by: Counter[str] = Counter()
    for part in parts:
        split = getattr(data, part).to(device).head(config.n)
        record = _records.recorded(
            model,
            split,
            attack,
            _records.place(folder, part, len(split)),
            target.file,
            keep_examples=config.save_examples,
            stop=stop,
            ranks=ranks,
        )
        errors[f"clean_error/{part}"] = record.clean_so_far
        errors[f"robust_error/{part}"] = record.so_far
        if record.complete and attack.exact:
            errors[f"robust_error/{part}"] = record.error("exact")
        broken_by.update(record.broken_by())
        counts = _records.rounded(model, split, attack, record) if config.save_examples else UNSET
        examples[part] = EvaluationRecord(
            broken_by=record.broken_by(), n=len(split), complete=record.complete, rounded_to_8_bits=counts
        )
    test = data.test.to(device)
    checks = warned_checks(model, test, target.threat) + say_checks(left_for_queries(attack.parts, broken_by))
    return _Measured(errors, shares_on(model, test, config.n), examples, checks)


def _summary(config: Config, subject: _Subject, measured: _Measured, again: str = "") -> EvaluateSummary:
    """The numbers of an evaluation. One that is unfinished has no verdict: examples that were not looked at count as
    right. `again` says what the same command needs to go on with it.
    """
    target, data = subject.target, subject.data
    settings, errors = target.settings, measured.errors
    verdict = None
    outcome = OutcomeRecord(kind="completed", reason=f"{config.attack} on {config.parts}")
    if measured.unfinished:
        unfinished = ", ".join(f"{part} by {config.attack}" for part in measured.unfinished)
        reason = f"unfinished, the time was over: {unfinished}; the same command{again} goes on"
        outcome = OutcomeRecord(kind="interrupted", reason=reason)
    elif set(FOUR) <= set(errors):
        found = cgro_verdict(errors, prediction_share=measured.shares, rule=rule_for(data), attacked=target.attacked)
        verdict = VerdictRecord.of(point_with_lint(found, measured.checks).to_dict())
    return EvaluateSummary(
        command="evaluate",
        seed=settings.seed,
        threat=ThreatRecord.of(target.threat.to_dict()),
        outcome=outcome,
        verdict=verdict,
        metrics=metrics_of(errors, target.attack(config.attack, config.precision), config.attack),
        data=DatasetRecord.of(data.describe()),
        model=ModelRecord(name=settings.model, width=settings.width, n_parameters=n_parameters(subject.model)),
        evaluations={config.attack: measured.examples},
    )


def _merged(before: TrainSummary, result: EvaluateSummary, suffix: str, *, own_point: bool) -> TrainSummary:
    """The run's summary with the new numbers; each key keeps the strongest bound on the most examples.

    An unfinished part replaces no finished one, and not the run's own numbers: it counts what it did not look at as
    right.
    """
    metrics = dict(before.metrics)
    (examples,) = result.evaluations.values()
    known = dict(before.evaluations or {}).get(suffix[1:], {})
    for key, metric in result.metrics.items():
        if "@" in key:
            continue
        part = key.rpartition("/")[2]
        is_complete = examples[part].complete is not False
        was_open = part in known and known[part].complete is False
        if is_complete or was_open or f"{key}{suffix}" not in metrics:
            _keep(metrics, f"{key}{suffix}", metric)
        if own_point and is_complete:
            _keep(metrics, key, metric)
    evaluations = dict(before.evaluations or {})
    parts = dict(evaluations.get(suffix[1:], {}))
    for part, record in examples.items():
        if part not in parts or _replaces(record, parts[part]):
            parts[part] = record
    evaluations[suffix[1:]] = parts
    return replace(before, metrics=metrics, evaluations=evaluations)


def _replaces(new: EvaluationRecord, known: EvaluationRecord) -> bool:
    """Whether a record is of as many examples, and not an unfinished one in place of a finished one."""
    return new.n >= known.n and (new.complete is not False or known.complete is False)


def _keep(metrics: dict[str, Metric], key: str, new: Metric) -> None:
    """Put a number in place of one of fewer examples, or of as many that proves less."""
    if key not in metrics or _strength(new) > _strength(metrics[key]):
        metrics[key] = new


def _strength(metric: Metric) -> tuple[int, float, bool]:
    return metric.n or 0, metric.typical or 0.0, metric.bound == "exact"


def _verdict_anew(result: TrainSummary, attacked: bool | None, checks: Sequence[Check]) -> VerdictRecord | None:
    """The verdict on the numbers as they are now, by the thresholds and shares of the one before."""
    before, metrics = result.verdict, result.metrics
    if before is None or not set(FOUR) <= set(metrics):
        return before
    evidence = before.evidence
    errors = {key: error for key in FOUR if (error := metrics[key].error) is not None}
    if not evidence or not evidence.rule or len(errors) < len(FOUR):
        return before
    rule = VerdictRule(**evidence.rule.values())
    share = evidence.prediction_share or None
    found = cgro_verdict(errors, prediction_share=share, rule=rule, attacked=attacked)
    return VerdictRecord.of(point_with_lint(found, checks).to_dict())


def describe(result: EvaluateSummary | TrainSummary) -> str:
    """The numbers, and what a budget left undone.

    Args:
        result: of one evaluation, or the curves of --per-epoch.

    Returns:
        Text for the terminal.
    """
    if isinstance(result, TrainSummary) and not result.metrics:
        return "\n".join(_curve_lines(result))
    lines = [lines_of(result)]
    if isinstance(result, EvaluateSummary) and result.outcome.kind == "interrupted":
        lines.append(result.outcome.reason)
    return "\n".join(lines)


def _curve_lines(result: TrainSummary) -> list[str]:
    lines = []
    for name, curves in (result.curves or {}).items():
        for part, rows in curves.items():
            lines.append(f"robust error, {part}, {name}, n={rows[0].n} (lower bounds)")
            for row in rows:
                low, high = row.interval
                note = "" if row.complete else "  unfinished"
                lines.append(f"  epoch {row.epoch:4}  {row.value:.4f}  [{low:.4f}, {high:.4f}]{note}")
    return lines
