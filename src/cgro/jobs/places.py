"""Where runs are carried out: in this process, in worker processes, as jobs of Slurm, on any executor of the caller."""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from cgro._check import bad, count, one_of
from cgro.commands._options import EXECUTORS, Spreading
from cgro.jobs.execute import Carry, carry_out_here
from cgro.jobs.slurm import IN_QUEUE, parse_options, slurm_jobs
from cgro.jobs.workers import at_once

LOGS = "slurm"
"""Folder of what jobs said, in the directory of a sweep."""


@dataclass(frozen=True)
class Place:
    """How many runs are carried out at a time, and by what.

    Args:
        executor: of the caller's; None for the one that `name` says.
        name: local or slurm.
        at_once: runs that are handed over at a time.
        threads: of each run; None for its own default.
        options: of sbatch.
    """

    executor: Executor | None
    name: str
    at_once: int
    threads: int | None
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Spreading, threads: int | None, executor: Executor | None = None) -> "Place":
        """The place that options say.

        Args:
            config: options of a command.
            threads: that were asked for: of this machine where runs are local, else of each run.
            executor: of the caller's.

        Returns:
            The place; nothing is started.

        Raises:
            BadRequest: no such executor; options for Slurm without it.
        """
        name = one_of(config.executor, "--executor", EXECUTORS)
        options = parse_options(config.slurm_options)
        if options and name != "slurm":
            raise bad("--slurm-options", expected="--executor slurm beside it", got=name)
        n = None if config.workers is None else count(config.workers, "--workers")
        if executor is not None:
            return cls(executor, name, n or (os.cpu_count() or 1), threads)
        if name == "slurm":
            cpus = options.get("cpus-per-task")
            threads = threads or (1 if cpus is None else int(cpus))
            return cls(None, name, n or IN_QUEUE, threads, {"cpus-per-task": str(threads), **options})
        n = n or 1
        if n > 1:
            threads = max(1, (threads or os.cpu_count() or 1) // n)
        return cls(None, name, n, threads)

    @property
    def is_here(self) -> bool:
        """Whether runs are carried out one after the other in this process."""
        return self.executor is None and self.name == "local" and self.at_once == 1

    @property
    def is_elsewhere(self) -> bool:
        """Whether runs do not share the cores of this machine."""
        return self.executor is not None or self.name != "local"

    @contextlib.contextmanager
    def opened(self, folder: Path) -> Iterator[tuple[Executor, Carry]]:
        """What carries runs out, for as long as the block lasts.

        Args:
            folder: directory of the sweep; takes the logs of Slurm's jobs.

        Yields:
            An executor, and what it is given to do; see `cgro.jobs.execute`.

        Raises:
            BadRequest: Slurm's commands are missing.
        """
        if self.executor is not None:
            yield self.executor, carry_out_here
        elif self.name == "slurm":
            with slurm_jobs(self.at_once, folder / LOGS, self.options) as (executor, jobs):
                yield executor, jobs
        else:
            with at_once(self.at_once) as (executor, carry):
                yield executor, carry
