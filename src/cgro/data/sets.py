"""Data sets as used: a task, a training part, a validation part cut from it by seed, and a fixed test part."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cgro._check import bad, count, number
from cgro.data.raw import Pixels, Raw, listed, shown
from cgro.data.sources import read
from cgro.trust import path_of

N_TEST_WITHOUT_OFFICIAL = 0.2
"""Share held out for testing where a source has no official test part; the cut is the same for every seed."""


@dataclass(frozen=True)
class Split:
    """Examples with their positions in the source.

    Args:
        raw: (N, C, H, W) uint8 pixels, or float32 in [0, 1].
        y: (N,) int64 labels: 0 .. C-1, or -1 / +1 for a binary task.
        index: (N,) positions in the source's part (`train` or `test`), recorded with every result.
    """

    raw: Tensor
    y: Tensor
    index: Tensor

    @cached_property
    def x(self) -> Tensor:
        """(N, C, H, W) float32 in [0, 1]."""
        return self.raw.float() / 255 if self.pixels is not None else self.raw

    @property
    def pixels(self) -> Tensor | None:
        """The integers k of x = k / 255, or None if the source has none."""
        return self.raw if self.raw.dtype == torch.uint8 else None

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(x, y) of some examples, as float32 in [0, 1], without converting the rest."""
        raw = self.raw[rows]
        return (raw.float() / 255 if raw.dtype == torch.uint8 else raw), self.y[rows]

    def head(self, n: int) -> "Split":
        """The first n examples (all if there are fewer)."""
        return Split(self.raw[:n], self.y[:n], self.index[:n])

    def to(self, device: torch.device) -> "Split":
        """The same examples on a device."""
        return Split(self.raw.to(device), self.y.to(device), self.index.to(device))


@dataclass(frozen=True)
class Dataset:
    """A classification task on a data set.

    Args:
        name: as asked for, of a path its last part. note: what a result on it must say. classes: names in label order.
        n_outputs: 1 for a binary task with (B,) scores and labels -1 / +1, else the number of classes.
        source: its checksum; not its path, which says nothing on another machine.
    """

    name: str
    note: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    n_outputs: int
    source: dict[str, str]

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one input."""
        return tuple(self.train.raw.shape[1:])

    def describe(self) -> dict[str, object]:
        """What a summary records: the source, the task, sizes and checksum."""
        sizes = {"n_train": len(self.train), "n_validation": len(self.validation), "n_test": len(self.test)}
        return {"name": self.name, "note": self.note, "classes": list(self.classes), **sizes, **self.source}


def parse_classes(
    classes: str | None, labels: np.ndarray, names: tuple[str, ...] | None = None
) -> tuple[list[list[int]], tuple[str, ...]]:
    """Which source labels make each class: all, "even,odd", or a list such as "3,8" (first listed = -1 if two).

    Classes that have names are listed by them; even and odd are those of classes that are numbers.

    >>> parse_classes("3,8", np.arange(10)), parse_classes("odd,even", np.arange(4))
    (([[3], [8]], ('3', '8')), ([[1, 3], [0, 2]], ('odd', 'even')))
    >>> parse_classes("cat,dog", np.arange(3), ("ant", "cat", "dog"))
    ([[1], [2]], ('cat', 'dog'))
    """
    labelled = {names[k] if names else str(k): k for k in sorted(set(labels.tolist()))}
    if not classes:
        return [[k] for k in labelled.values()], tuple(labelled)
    chosen = tuple(name.strip() for name in str(classes).split(","))
    numbers = {int(name): k for name, k in labelled.items() if name.isdecimal() and len(name) < 19}
    parity = {word: [k for n, k in numbers.items() if n % 2 == r] for r, word in enumerate(("even", "odd"))}
    groups = [[labelled[name]] if name in labelled else parity.get(name, []) for name in chosen]
    empty = [name for name, group in zip(chosen, groups, strict=True) if not group]
    if empty or len(set(chosen)) != len(chosen) or len(chosen) < 2:
        got = f"{classes!r}" + (f" (no examples of {', '.join(empty)})" if empty else "")
        parities = ", or even,odd" if parity["even"] and parity["odd"] else ""
        raise bad("--classes", expected=f"two or more different ones of {listed(labelled, 20)}{parities}", got=got)
    return groups, chosen


def _as_task(raw: Raw, classes: str | None) -> tuple[list[tuple[Pixels, np.ndarray, np.ndarray]], tuple[str, ...]]:
    """The train and test parts (x, y, index), restricted to the classes and relabeled; a missing test part is cut."""
    groups, names = parse_classes(classes, raw.y, raw.classes)
    table = np.full(int(raw.y.max()) + 1, -9)
    for label, group in enumerate(groups):
        table[group] = 2 * label - 1 if len(groups) == 2 else label
    if raw.test is None:
        order = np.random.default_rng(0).permutation(len(raw.y))
        n_test = round(N_TEST_WITHOUT_OFFICIAL * len(order))
        cuts = [(raw.x, raw.y, np.sort(order[n_test:])), (raw.x, raw.y, order[:n_test])]
    else:
        cuts = [
            (raw.x, raw.y, np.arange(len(raw.y))),
            (*raw.test, np.random.default_rng(0).permutation(len(raw.test[1]))),
        ]
    parts = []
    for x, y, index in cuts:
        index = index[table[y[index]] != -9]
        parts.append((x, table[y], index))
    return parts, names


def _split(x: Pixels, y: np.ndarray, index: np.ndarray) -> Split:
    return Split(torch.from_numpy(x[index]), torch.from_numpy(y[index].astype(np.int64)), torch.from_numpy(index))


def load(
    name: str,
    *,
    classes: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    validation: float = 0.0,
    seed: int = 0,
    download: bool = True,
) -> Dataset:
    """Load a data set as a task.

    The name is the caller's: what it names is read, imported or fetched. A name that came with a run of others goes
    through `cgro.commands.train.settings_of` first.

    The seed shuffles the training part, from which first the validation part and then the training part are taken.
    The test part is the same for every seed: the official one (or a fixed fifth), in a fixed shuffled order.

    Args:
        name: `mnist5k`, `digits`, `mnist`, `cifar10`, an id of the Hugging Face hub, the path of a folder or of an
            .npz, or `package.module:function`; see `cgro.data.sources.read`.
        classes: None for all; "3,8" (or names, where the classes have them) or "even,odd" for a binary task with
            labels -1 (first listed) and +1.
        n_train, n_test: at most so many examples; None for all.
        validation: share of the training part, in [0, 1).
        seed: of the cut.
        download: False takes from the hub only what is in its cache.

    Returns:
        The task: its three parts, names of the classes, a note and a checksum.

    Raises:
        BadRequest: an unknown name or class, a part that would be empty, a missing or damaged file, labels with gaps,
            images of mixed sizes, values outside [0, 1], no network.
    """
    raw = read(name, download=download)
    ((x, y, pool), (x_test, y_test, test)), names = _as_task(raw, classes)
    order = np.random.default_rng(seed).permutation(pool)
    n_validation = round(number(validation, "validation", low=0.0, high=0.99) * len(order))
    rest = order[n_validation:]
    rest = rest if n_train is None else rest[: count(n_train, "n_train", high=len(rest))]
    test = test if n_test is None else test[: count(n_test, "n_test", high=len(test))]
    train = _split(x, y, rest)
    if len(train.y.unique()) < len(names):
        raise bad("n_train", expected=f"at least one example of each of {len(names)} classes", got=len(train))
    source, path = {"sha256": raw.sha256}, path_of(name)
    return Dataset(
        shown(path.resolve().name) if path else name, raw.note, train, _split(x, y, order[:n_validation]), _split(x_test, y_test, test),
        names, 1 if len(names) == 2 else len(names), source,
    )  # fmt: skip
