"""Which calls of commands a reproduction needs, and in which order. Nothing is read or written here.

A job is named once and shared: Figures 1, 3 and 4 read the same trained networks, and each is trained once.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from cgro._check import BadRequest
from cgro.runs import Run

Scale = Literal["smoke", "cpu", "gpu", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
HERE = "@/"
"""At the head of a setting: the folder of runs, so that one job can name what another made."""
DURATIONS = (
    (90.0, 1.0, "{:.0f} s"),
    (5400.0, 60.0, "{:.0f} min"),
    (2 * 86400.0, 3600.0, "{:.1f} h"),
    (2 * 3.15e7, 86400.0, "{:.1f} days"),
)
"""Seconds below which a unit is used, its seconds, and how it is written."""
YEAR = 3.1536e7
"""Seconds."""


class Command(Protocol):
    """A module of `cgro.commands`."""

    Config: type[Any]
    """Its options: a dataclass."""

    def run(self, config: Any) -> Run:
        """Carry the command out.

        Args:
            config: its options.

        Returns:
            The finished run.
        """
        ...


@dataclass(frozen=True)
class Job:
    """One call of a command.

    Args:
        name: its folder below DIR/runs; seeds of one network are NAME/seed-S.
        command: of `cgro.commands`.
        settings: of its `Config`, without where results go.
        seconds: on two cores, measured or guessed; only for the time left.
        free: settings that a finished result may have otherwise, such as the epochs that fitted into a slice of a GPU;
            those of `settings` are taken where nothing is decided yet. See `Workspace.settled`.
        like: name of the job whose free settings it takes; "" for its own.
    """

    name: str
    command: str
    settings: Mapping[str, object]
    seconds: float = 10.0
    free: tuple[str, ...] = ()
    like: str = ""

    @property
    def fixed(self) -> dict[str, object]:
        """The settings without those that are free.

        >>> Job("net/seed-0", "train", {"width": 4, "epochs": 60}, free=("epochs",)).fixed
        {'width': 4}
        """
        return {name: value for name, value in self.settings.items() if name not in self.free}

    @property
    def reads(self) -> frozenset[str]:
        """Names of the jobs whose runs its settings name.

        >>> sorted(Job("a", "evaluate", {"target": "@/net/seed-0/checkpoints/last.safetensors"}).reads)
        ['net/seed-0']
        """
        return frozenset(_named_in(self.settings.values()))

    def filled_in(self, runs: Path) -> dict[str, object]:
        """Its settings with the folder of runs written out.

        Args:
            runs: where jobs are.

        Returns:
            Setting -> value, as the command gets it.
        """

        def fill(value: object) -> object:
            if isinstance(value, list | tuple):
                return [fill(v) for v in value]
            if str(value).startswith(HERE):
                return str(runs / str(value).removeprefix(HERE))
            return value

        return {name: fill(value) for name, value in self.settings.items()}

    def module(self) -> Command:
        """The command's module.

        Returns:
            It, imported.

        Raises:
            BadRequest: this version has no such command.
        """
        return module_of(self.command, self.name)

    def config(self, **more: object) -> Any:
        """The command's options that its settings stand for.

        Args:
            more: further options, such as the device.

        Returns:
            A `Config` of the command.
        """
        return self.module().Config(**self.settings, **more)


def module_of(command: str, job: str) -> Command:
    """The module of a command.

    Args:
        command: as on the command line.
        job: that asks for it, for the message.

    Returns:
        The module, imported.

    Raises:
        BadRequest: this version has no such command.
    """
    try:
        return cast(Command, importlib.import_module(f"cgro.commands.{command.replace('-', '_')}"))
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("cgro.commands"):
            raise
        raise BadRequest(f"{job}: this cgro has no command {command}; update it") from None


def _named_in(values: Iterable[object]) -> Iterator[str]:
    """The jobs that settings name: @/NAME, or a file of its checkpoints."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _named_in(value)
        elif str(value).startswith(HERE):
            yield str(value).removeprefix(HERE).partition("/checkpoints/")[0]


def known_options(command: Command) -> set[str]:
    """Names of a command's options.

    Args:
        command: its module.

    Returns:
        The fields of its `Config`.
    """
    return {f.name for f in fields(command.Config)}


def unique(jobs: Iterable[Job]) -> list[Job]:
    """Each job once, in order of first mention.

    Args:
        jobs: of several artifacts.

    Returns:
        The same without repetitions.

    Raises:
        AssertionError: two different jobs have one name.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        assert found.setdefault(job.name, job) == job, f"two different jobs named {job.name}"
    return list(found.values())


def missing(
    asked: Iterable[Job], planned: Sequence[Job], is_found: Callable[[Job], bool], is_here: Callable[[Job], bool]
) -> list[Job]:
    """Which jobs are to be made, each after the networks that it reads.

    A result may lie in the store, where networks are not: a network that is read again is trained again.

    Args:
        asked: jobs whose results are wanted.
        planned: all jobs of the call, those among them that are read.
        is_found: whether a job's result is here or in the store.
        is_here: whether its whole run is here.

    Returns:
        What is to be made, in an order in which it can be made.
    """
    found: list[Job] = []
    for job in asked:
        if not is_found(job):
            needed = [other for other in planned if other.name in job.reads and not is_here(other)]
            found += [*needed, job]
    return unique(found)


class Order:
    """Hands out jobs whose needs are met, the earlier ones of a list first.

    Example:
        >>> net, other = Job("net", "train", {}), Job("other", "train", {})
        >>> order = Order([Job("a", "evaluate", {"target": "@/net"}), net, other])
        >>> [job.name for job in order.ready()]
        ['net', 'other']
        >>> order.take(net), order.done(net), [job.name for job in order.ready()]
        (None, None, ['a', 'other'])
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        """Begin with no job done.

        Args:
            jobs: in the order in which they are to be begun where their needs allow it.
        """
        self._jobs = {job.name: job for job in jobs}
        self._places = {name: place for place, name in enumerate(self._jobs)}
        self._sorter = TopologicalSorter({job.name: job.reads & self._jobs.keys() for job in jobs})
        self._sorter.prepare()
        self._ready: list[str] = []

    @property
    def is_active(self) -> bool:
        """Whether a job is not done yet."""
        return self._sorter.is_active()

    def ready(self) -> list[Job]:
        """Jobs that can be begun now and have not been taken.

        Returns:
            Those, in the order of the list.
        """
        self._ready = sorted([*self._ready, *self._sorter.get_ready()], key=self._places.__getitem__)
        return [self._jobs[name] for name in self._ready]

    def take(self, job: Job) -> None:
        """Begin a job: it is not ready any more.

        Args:
            job: one of those that are ready.
        """
        self._ready.remove(job.name)

    def done(self, job: Job) -> None:
        """End a job: those that read it may follow.

        Args:
            job: one that was taken.
        """
        self._sorter.done(job.name)


def duration(seconds: float) -> str:
    """A length of time for people.

    Args:
        seconds: not negative.

    Returns:
        A number with its unit.

    Example:
        >>> [duration(s) for s in (40, 600, 9000, 4e5, 1e8)]
        ['40 s', '10 min', '2.5 h', '4.6 days', '3.2 years']
    """
    for limit, unit, pattern in DURATIONS:
        if seconds < limit:
            return pattern.format(seconds / unit)
    return f"{seconds / YEAR:.1f} years"
