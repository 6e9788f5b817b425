"""What commands share: the run that a command begins, seeds, and a result on the terminal."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from msgspec import UNSET

from cgro._check import count
from cgro.commands._admission import admit
from cgro.commands._options import NOT_STORED, Computing, Output, Seeded, Spreading, Telling, Trusting, option
from cgro.commands._parser import parse
from cgro.results import Metric, OutcomeRecord, SeedsSummary, Summary, VerdictRecord, commonest
from cgro.runs import Run, plain, say
from cgro.trajectory import OutcomeKind

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from cgro.data import Dataset

__all__ = [
    "Command",
    "Computing",
    "Output",
    "Seeded",
    "Spreading",
    "Telling",
    "Trusting",
    "admit",
    "begin",
    "for_seeds",
    "lines_of",
    "option",
    "parse",
    "say_remarks",
    "set_up",
    "stored",
]

MOST_THREADS = 64
"""Threads that may be asked for on a smaller machine, to compute as a larger one did. A choice: of tens of thousands
torch crashes."""
WORST_FIRST: tuple[OutcomeKind, ...] = ("non_finite", "diverged", "collapsed", "interrupted", "stopped", "completed")
"""Which outcome several seeds have together: the first of these that one of them had."""


class Command(Protocol):
    """A module of this folder. Its docstring is the help; named settings, if any, stand in `RECIPES`."""

    __doc__: str | None
    Config: "type[DataclassInstance]"
    """Options: fields made by `option`."""

    def run(self, config: Any) -> Run:
        """Do it.

        Returns:
            The finished run, or `Unsaved`.
        """
        ...

    def describe(self, result: Any) -> str:
        """The summary as text for the terminal.

        Args:
            result: of `run`.

        Returns:
            Lines of text.
        """
        ...


class Kept(Protocol):
    """Options of a command that keeps a run."""

    out: str | None
    overwrite: bool


class OverSeeds(Kept, Protocol):
    """Options of a command that can run several seeds."""

    seed: int
    seeds: int


C = TypeVar("C", bound=OverSeeds)


def stored(config: Any) -> dict[str, Any]:
    """The settings that make the result, without those that say where it goes and what was trusted.

    Args:
        config: options of a command, a dataclass.

    Returns:
        Option -> value, as `config.yaml` holds them.
    """
    return {name: value for name, value in asdict(config).items() if name not in NOT_STORED}


def begin(command: str, config: Kept, path: str | Path | None = None) -> AbstractContextManager[Run]:
    """The run of a command, begun or taken up; held until the block ends.

    Args:
        command: its name.
        config: its options, `Output` among them.
        path: the directory; None means --out.

    Returns:
        A context manager that gives the run.

    Raises:
        BadRequest: see `Run.start`.
    """
    defaults = stored(type(config)())
    folder = config.out if path is None else path
    return Run.start(folder, command, stored(config), overwrite=config.overwrite, defaults=defaults)


def for_seeds(
    command: str,
    config: C,
    one: Callable[[C, Path | str | None], Run],
    draw: Callable[[Path], object] | None = None,
) -> Run:
    """Run one seed in DIR, or several in DIR/seed-S with their mean and spread in DIR/summary.json.

    Seeds that are already finished are not run again, so an interrupted call goes on where it was.

    Args:
        command: its name.
        config: its options, `Seeded` and `Output` among them.
        one: runs one seed in a directory.
        draw: makes the figures over seeds.

    Returns:
        The finished run.

    Raises:
        BadRequest: a number of seeds below 1, or what `one` raises.
    """
    if count(config.seeds, "--seeds") == 1:
        return one(config, config.out)
    with begin(command, config) as run:
        parts = []
        for seed in range(config.seed, config.seed + config.seeds):
            path = run.part(f"seed-{seed}")
            done = Run(path)
            if done.finished:
                Run.open(path)  # refuses what was changed since
            else:
                own = replace(config, seed=seed, seeds=1, overwrite=False)  # type: ignore[type-var]
                done = one(own, path)
            parts.append(done.read())
        run.finish(_over_seeds(command, config.seed, parts), draw)
    return run


def _over_seeds(command: str, seed: int, parts: Sequence[Summary]) -> SeedsSummary:
    """The summary of several seeds."""
    verdict, labels = None, [part.verdict.label for part in parts if part.verdict is not None]
    if labels:
        label, reason = commonest(labels)
        verdict = VerdictRecord(label=label, reason=reason, per_seed=labels)
    kinds = [part.outcome.kind for part in parts]
    worst = min(kinds, key=WORST_FIRST.index)
    return SeedsSummary(
        command=command,
        seed=seed,
        threat=parts[0].threat,
        outcome=OutcomeRecord(kind=worst, reason=f"{len(parts)} seeds", per_seed=kinds),
        verdict=verdict,
        metrics=metrics_over(parts),
        n_seeds=len(parts),
    )


def metrics_over(parts: Sequence[Summary]) -> dict[str, Metric]:
    """Mean, spread and values of each metric; one that a seed lacks, as one that diverged does, is of the others.

    Args:
        parts: one summary per seed.

    Returns:
        Key -> metric over seeds, in alphabetical order.
    """
    keys: set[str] = set()
    for part in parts:
        keys |= set(part.metrics)
    found: dict[str, Metric] = {}
    for key in sorted(keys):
        values = [part.metrics[key].typical if key in part.metrics else None for part in parts]
        found[key] = Metric.over_seeds(values)
    return found


def lines_of(result: Summary) -> str:
    """The verdict and every metric of a summary, for the terminal.

    Args:
        result: of any command.

    Returns:
        Text of several lines.
    """
    lines = []
    if result.verdict is not None:
        lines += [f"{result.verdict.label}: {result.verdict.reason}", ""]
    width = max([34, *map(len, result.metrics)])
    lines += [f"  {key:{width}} {_in_words(metric)}" for key, metric in result.metrics.items()]
    return "\n".join(lines)


def _in_words(metric: Metric) -> str:
    if metric.per_seed is not UNSET:
        n = len(metric.per_seed)
        n_unknown = list(metric.per_seed).count(None)
        seeds = f"{n} seeds"
        if n_unknown:
            seeds = f"{n - n_unknown} of {n} seeds"
        return f"{_digits(metric.mean)}  sd {_digits(metric.sd)}  ({seeds})"
    if metric.interval and metric.n and metric.value is not None:
        low, high = metric.interval
        text = f"{metric.value:.4f}  [{low:.4f}, {high:.4f}]  n={metric.n}"
        return f"{text}  {metric.bound}" if metric.bound else text
    typical = plain(metric.typical)
    return f"{typical:.6g}" if isinstance(typical, float) else str(typical)


def _digits(value: float | msgspec.UnsetType | None) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "  n/a"


def say_remarks(data: "Dataset") -> None:
    """Print on stderr what whoever asked for the data should know of how they were read.

    Args:
        data: as loaded.
    """
    for remark in data.remarks:
        say(f"remark: {remark}")


def set_up(config: Computing) -> None:
    """Apply --threads to this process. Commands call it once; no library function touches global settings.

    Args:
        config: options of a command.

    Raises:
        BadRequest: fewer than one thread, or more than processors and than `MOST_THREADS`.
    """
    import torch

    if config.threads is not None:
        most = max(MOST_THREADS, os.cpu_count() or 1)
        torch.set_num_threads(count(config.threads, "--threads", high=most))
