"""The list of what slices make, in its order: item -> network, data, recipe, evaluations, seeds.

What is done is what is committed under results/gpu; nothing else says so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cgro._check import bad
from cgro.experiments import evaluations, figure3, figure4, memory, networks
from cgro.jobs.plan import Job, Scale, unique
from cgro.jobs.store import Store

TABLE = "table/table.json"
"""Below results/SCALE: the result of item a."""
RESERVE = 150.0
"""Seconds after a training for its evaluations, flatness over its epochs and files. A choice, as the issue asks."""
SHORT_RESERVE = 90.0
"""The same where no flatness is measured. A choice."""
SIDE_BY_SIDE = 3
"""Trainings of LeNets at a time: one alone leaves the device idle between its small kernels."""


@dataclass(frozen=True)
class Item:
    """One slice.

    Args:
        name: such as b-0; its letter is that of the list.
        words: what it is.
        jobs: whose results are wanted; those of a training come after it. None for the table.
        reserve: seconds that are left after the trainings.
        at_once: jobs at a time.
    """

    name: str
    words: str
    jobs: tuple[Job, ...]
    reserve: float = RESERVE
    at_once: int = 1

    @property
    def trainings(self) -> list[Job]:
        """Those of its jobs that train against an attack: they decide on the epochs."""
        return [job for job in self.jobs if job.command == "train" and not job.like]

    @property
    def needs(self) -> list[str]:
        """Names of trainings of other items, whose weights it reads."""
        own = {job.name for job in self.jobs}
        found: list[str] = []
        for job in self.jobs:
            found += sorted(job.reads - own)
        return list(dict.fromkeys(found))

    def is_done(self, store: Store) -> bool:
        """Whether its results are stored.

        Args:
            store: of committed results.

        Returns:
            True if all are.

        Raises:
            BadRequest: one is damaged.
        """
        if not self.jobs:
            return (store.root / TABLE).exists()
        return not self.open_jobs(store)

    def open_jobs(self, store: Store) -> list[Job]:
        """Its jobs without a stored result.

        Args:
            store: of committed results.

        Returns:
            Them, in their order.

        Raises:
            BadRequest: a stored result is damaged.
        """
        found = []
        for job in self.jobs:
            run = store.found(job)
            if run is None:
                found.append(job)
            else:
                run.read()  # a damaged one counts neither as done nor as open: it is refused
        return found


def items(scale: Scale) -> list[Item]:
    """The whole list, a to e; f, the scale `paper`, has no item: see README.md beside this file.

    Args:
        scale: gpu; smoke for a dry run.

    Returns:
        Items in their order.
    """
    found = [Item("a", "the table of speeds", ())]
    for robust, clean in zip(networks.widest(scale), networks.standard(networks.widest(scale)), strict=True):
        found += _figure1(scale, robust, clean)
    for remedy in networks.REMEDIES:
        for job in networks.remedied(scale, remedy):
            found.append(_trained(scale, f"c-{remedy}-{_seed(job)}", f"Figure 1 with {remedy}", job))
    found += _widths(scale)
    for width in networks.MNIST_WIDTHS[scale]:
        for start in ("", "-warm"):
            found.append(_lenets(scale, width, start))
    return found


def _figure1(scale: Scale, robust: Job, clean: Job) -> list[Item]:
    """The training with all that reads its kept checkpoints, and in a second call what reads the last one."""
    seed = _seed(robust)
    first: list[Job] = [robust, *evaluations.evaluated_twice(scale, robust)]
    first += [job for job in figure4.measured(scale) if robust.name in job.reads]
    first.append(evaluations.selected_evaluated(scale, robust))
    second = [clean]
    for job in (*figure3.measured(scale)["cifar10"], *memory.measured(scale)["cifar10"]):
        if robust.name in job.reads:
            second.append(job)
    return [
        Item(f"b-{seed}", f"Figure 1, seed {seed}", tuple(first)),
        Item(f"b-{seed}-memory", f"flatness and memory of Figure 1's network, seed {seed}", tuple(second)),
    ]


def _widths(scale: Scale) -> list[Item]:
    """Table 1: every network with seed 0 before any with seed 1."""
    families: list[tuple[str, str, list[Job]]] = []
    for width in networks.CIFAR_WIDTHS[scale]:
        if width != networks.FIGURES_WIDTH[scale]:
            families.append((f"x{width}", f"PreActResNet-18 of width {width}", networks.cifar(scale, width)))
    for width in networks.WRN_WIDTHS[scale]:
        families.append((f"wrn{width}", f"WRN-34-{width}", networks.wrn(scale, width)))
    found = []
    for seed in networks.SEEDS[scale]:
        for short, words, trained in families:
            for job in trained:
                if _seed(job) == seed:
                    found.append(_trained(scale, f"d-{short}-{seed}", f"Table 1, {words}", job))
    return found


def _lenets(scale: Scale, width: int, start: str) -> Item:
    jobs: list[Job] = []
    for job in networks.mnist(scale, width, start):
        jobs += [job, *evaluations.evaluated_twice(scale, job)]
    words = f"Table 1, LeNet x{width}{start.replace('-', ', ')}, all seeds side by side"
    return Item(f"e-x{width}{start}", words, tuple(jobs), SHORT_RESERVE, SIDE_BY_SIDE)


def _trained(scale: Scale, name: str, words: str, job: Job) -> Item:
    jobs = (job, *evaluations.evaluated_twice(scale, job), evaluations.selected_evaluated(scale, job))
    return Item(name, f"{words}, seed {_seed(job)}", jobs, SHORT_RESERVE)


def _seed(job: Job) -> int:
    return networks.configuration(job).seed


def jobs_of(found: Sequence[Item]) -> list[Job]:
    """All jobs of items.

    Args:
        found: the list.

    Returns:
        Each once.
    """
    jobs: list[Job] = []
    for item in found:
        jobs += item.jobs
    return unique(jobs)


def folder_of(weights: Path, job: str) -> Path:
    """Where the weights of a training lie between two slices.

    Args:
        weights: the carried folder.
        job: name of the training.

    Returns:
        A folder below it.
    """
    return weights / re.sub("/", "--", job)


def chosen(found: Sequence[Item], store: Store, weights: Path, name: str | None) -> Item:
    """The item that is asked for, or the first open one whose weights are here.

    Args:
        found: the list.
        store: of committed results.
        weights: the carried folder.
        name: of the item; None for the next.

    Returns:
        It.

    Raises:
        BadRequest: no such item, it is done, its weights are not here, all is done, or a stored result is damaged.
    """
    if name is not None:
        return _named(found, store, weights, name)
    waiting = []
    for item in found:
        if not item.is_done(store):
            lacking = _lacking(item, store, weights)
            if not lacking:
                return item
            waiting.append(item.name)
    if waiting:
        got = f"only items that wait for weights: {', '.join(waiting)}"
        raise bad("the list", expected="an open item", got=got, remedy="carry weights/, or make their networks again")
    raise bad("the list", expected="an open item", got="none: all results are committed")


def _named(found: Sequence[Item], store: Store, weights: Path, name: str) -> Item:
    for item in found:
        if item.name == name:
            if item.is_done(store):
                raise bad("--item", expected="an open item", got=f"{name}, whose results are in {store.root}")
            lacking = _lacking(item, store, weights)
            if lacking:
                remedy = f"carry them in {weights}, as the slice that trained it left them"
                raise bad("--item", expected=f"weights of {', '.join(lacking)}", got="none", remedy=remedy)
            return item
    names = ", ".join(item.name for item in found)
    raise bad("--item", expected=f"one of {names}", got=repr(name))


def _lacking(item: Item, store: Store, weights: Path) -> list[str]:
    """Trainings whose weights an item reads and that are not here; one of its own that is stored is not made again."""
    needed = list(item.needs)
    for job in item.jobs:
        if job.command == "train" and store.found(job) is not None:
            needed.append(job.name)
    return [name for name in needed if not folder_of(weights, name).is_dir()]
