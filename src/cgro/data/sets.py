"""Data sets as used: a task, a training part, a validation part cut from it by seed, and a fixed test part."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, bad, count, listed, number
from cgro.data.images import Images
from cgro.data.overlap import overlap_remark
from cgro.data.raw import Pixels, Raw, shown
from cgro.data.sources import kind_of, read
from cgro.data.storage import Storage, StreamChoice
from cgro.data.streamed import Streamed
from cgro.trust import path_of

N_TEST_WITHOUT_OFFICIAL = 0.2
"""Share held out for testing where a source has no official test part; the cut is the same for every seed."""
NOT_IN_TASK = -9
"""Stands for the label of an example whose class the task leaves out."""
LITTLE_OF_THE_RANGE = 0.1
"""Share of [0, 1] below which the scale of the pixels is doubted. A choice: bytes of 0 and 1 take 0.4% of it and those
of 4 bits 6%; photographs that are all darker than 25 of 255 are not to be expected."""
N_LOOKED_AT = 64
"""Images of a set that is streamed whose range is looked at."""
LONGEST_NUMBER = 18
"""Digits of a class name that is read as a number, as even and odd need it."""


@dataclass(frozen=True)
class Split:
    """Examples with their positions in the source.

    What takes examples batch by batch uses `batch`, which works for any number of them. `raw` and `x` are all images at
    once: of a set that is streamed they are read and decoded then, or refused where the memory does not hold them.

    Args:
        stored: (N, C, H, W) uint8 pixels, or float32 in [0, 1]; or images on a disk.
        y: (N,) int64 labels: 0 .. C-1, or -1 / +1 for a binary task.
        index: (N,) positions in the source's part (`train` or `test`), recorded with every result.
    """

    stored: Tensor | Streamed
    y: Tensor
    index: Tensor

    @property
    def raw(self) -> Tensor:
        """(N, C, H, W) as they are stored: uint8 pixels, or float32 in [0, 1]."""
        if isinstance(self.stored, Streamed):
            return self.stored.all()
        return self.stored

    @cached_property
    def x(self) -> Tensor:
        """(N, C, H, W) float32 in [0, 1]."""
        return _as_float(self.raw)

    @property
    def pixels(self) -> Tensor | None:
        """The integers k of x = k / 255, or None if the source has none."""
        return self.raw if self.dtype == torch.uint8 else None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)"""
        return tuple(self.stored.shape)

    @property
    def dtype(self) -> torch.dtype:
        """In which they are stored: uint8 or float32."""
        return self.stored.dtype

    @property
    def device(self) -> torch.device:
        """Where a batch of them lies."""
        return self.stored.device

    @property
    def streamed(self) -> bool:
        """Whether the images stay on a disk."""
        return isinstance(self.stored, Streamed)

    @property
    def rows_on(self) -> torch.device:
        """Where positions should lie that `batch` is given: images on a disk are found by positions on the CPU."""
        if self.streamed:
            return torch.device("cpu")
        return self.y.device

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some examples, as float32 in [0, 1], without converting the rest.

        Args:
            rows: (B,) int64 positions in this split.

        Returns:
            x, (B, C, H, W), and y, (B,).
        """
        if isinstance(self.stored, Streamed):
            return _as_float(self.stored.take(rows)), self.y[rows.to(self.y.device)]
        return _as_float(self.stored[rows]), self.y[rows]

    def expect(self, batches: Iterable[Tensor]) -> None:
        """Say which batches will be asked for next; of a set that is streamed they are then decoded ahead.

        Args:
            batches: positions of each, as `batch` takes them, on `rows_on`.
        """
        if isinstance(self.stored, Streamed):
            self.stored.expect(batches)

    def part(self, rows: Tensor | slice) -> "Split":
        """Some of the examples.

        Args:
            rows: positions in this split.

        Returns:
            They alone; of a slice they share memory with this split.
        """
        if isinstance(self.stored, Streamed):
            return Split(self.stored.part(rows), self.y[rows], self.index[rows])
        return Split(self.stored[rows], self.y[rows], self.index[rows])

    def head(self, n: int) -> "Split":
        """The first examples.

        Args:
            n: how many; all if there are fewer.

        Returns:
            The part of this split, sharing its memory.
        """
        return self.part(slice(n))

    def to(self, device: torch.device) -> "Split":
        """The same examples on a device.

        Args:
            device: where to.

        Returns:
            The split there, in the type in which it is stored.
        """
        return Split(self.stored.to(device), self.y.to(device), self.index.to(device))


def _as_float(raw: Tensor) -> Tensor:
    if raw.dtype == torch.uint8:
        return raw.float() / 255
    return raw


@dataclass(frozen=True)
class Dataset:
    """A classification task on a data set.

    Args:
        name: as asked for, of a path its last part.
        note: what a result on it must say.
        train: examples to train on.
        validation: examples cut from the training part by the seed; may be empty.
        test: examples to test on, the same for every seed.
        classes: names in label order.
        n_outputs: 1 for a binary task with (B,) scores and labels -1 / +1, else the number of classes.
        sha256: checksum of the source, in hexadecimal; its path says nothing on another machine.
        remarks: sentences for whoever asked for the data; commands print them once.
        on_disk: whether the source is read from its disk when images are asked for, and its checksum the shorter one.
    """

    name: str
    note: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    n_outputs: int
    sha256: str
    remarks: tuple[str, ...] = ()
    on_disk: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one input."""
        return self.train.shape[1:]

    def describe(self) -> dict[str, object]:
        """What a summary records.

        Returns:
            Name, note, task, sizes and checksum, plain values.
        """
        return {
            "name": self.name,
            "note": self.note,
            "classes": list(self.classes),
            "n_train": len(self.train),
            "n_validation": len(self.validation),
            "n_test": len(self.test),
            "sha256": self.sha256,
        }


def load(
    name: str,
    *,
    classes: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    validation: float = 0.0,
    seed: int = 0,
    download: bool = True,
    stream: StreamChoice = "auto",
    image_size: int | None = None,
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
        n_train: at most so many training examples; None for all.
        n_test: at most so many test examples; None for all.
        validation: share of the training part, in [0, 1).
        seed: of the cut.
        download: False takes from the hub only what is in its cache.
        stream: whether images of a folder or of parquet files are held in memory (`no`), read and decoded when they are
            asked for (`yes`), or the latter where the memory does not hold them (`auto`). It changes no result.
        image_size: pixels of a side to which images of any size are brought; None: all must have one size.

    Returns:
        The task: its three parts, names of the classes, a note and a checksum.

    Raises:
        BadRequest: an unknown name or class, a part that would be empty, a missing or damaged file, labels with gaps,
            images of mixed sizes, values outside [0, 1], no network.

    Example:
        >>> data = load("digits", n_train=60, n_test=20, validation=0.1)
        >>> tuple(data.train.x.shape), len(data.validation), len(data.test), data.n_outputs
        ((60, 1, 8, 8), 144, 20, 10)
        >>> sorted(set(load("digits", classes="3,8").train.y.tolist()))  # a task of two classes
        [-1, 1]
    """
    seed = count(seed, "seed", low=0)
    raw = read(name, download=download, storage=Storage(stream, image_size))
    groups, names = parse_classes(classes, raw.y, raw.classes)
    train_pool, test_pool = _pools(raw, _label_table(raw, groups))
    order = np.random.default_rng(seed).permutation(train_pool.index)
    n_validation = round(number(validation, "validation", low=0.0, high=0.99) * len(order))
    train = train_pool.split(_at_most(n_train, order[n_validation:], "n_train"))
    if len(train.y.unique()) < len(names):
        limited = n_train is not None and len(train) < len(order) - n_validation
        raise _without_some_classes(
            train, len(names), limited=limited, validated=n_validation > 0, cut=raw.test is None
        )
    test = test_pool.split(_at_most(n_test, test_pool.index, "n_test"))
    held_out = train_pool.split(order[:n_validation])
    path = path_of(name)
    return Dataset(
        name=name if path is None else shown(path.resolve().name),
        note=raw.note,
        train=train,
        validation=held_out,
        test=test,
        classes=names,
        n_outputs=1 if len(names) == 2 else len(names),
        sha256=raw.sha256,
        remarks=(
            *raw.remarks,
            *_remarks(name, {"": train, "test ": test}),
            *_overlaps(name, train, {"validation": held_out, "test": test}),
        ),
        on_disk=isinstance(raw.x, Images) and raw.x.on_disk,
    )


def _remarks(name: str, parts: Mapping[str, Split]) -> list[str]:
    """What is odd about the examples, though it may be meant: the first part whose scale is doubted is named."""
    for part, split in parts.items():
        white = 255 if split.dtype == torch.uint8 else 1
        few = split
        if split.streamed:
            few = split.head(N_LOOKED_AT)
        values = few.raw
        low, high = float(values.min()) / white, float(values.max()) / white
        if high - low < LITTLE_OF_THE_RANGE:
            name = shown(name)
            return [
                f"{name}: the {part}pixels are in [{low:.2g}, {high:.2g}], {high - low:.1%} of the range [0, 1]; "
                "were they of fewer bits (0 and 1, 0 to 16), or divided by 255 twice? Against a radius meant for "
                "[0, 1] no network can be robust"
            ]
    return []


def _overlaps(name: str, train: Split, parts: Mapping[str, Split]) -> list[str]:
    """Parts with images that are also training images. Those on a disk are not read for it.

    Of the four named sets none was found in which a test image is a training image, so they are spared the passes.
    """
    if train.streamed or kind_of(name) == "named":
        return []
    told: list[str] = []
    for part, split in parts.items():
        found = overlap_remark(part, split.raw, train.raw)
        if found is not None:
            told.append(f"{shown(name)}: {found}")
    return told


def parse_classes(
    classes: str | None, labels: np.ndarray, names: tuple[str, ...] | None = None
) -> tuple[list[list[int]], tuple[str, ...]]:
    """Which source labels make each class of a task.

    Args:
        classes: None for all; "even,odd"; or a list such as "3,8", of which the first is -1 if there are two. Classes
            that have names are listed by them; even and odd are those of classes that are numbers.
        labels: (N,) integer labels of the source.
        names: of the source's classes in label order; None: the labels themselves.

    Returns:
        The source labels of each class of the task, and the names of these classes.

    Raises:
        BadRequest: an unknown class, one that is listed twice, or fewer than two.

    Example:
        >>> parse_classes("3,8", np.arange(10)), parse_classes("odd,even", np.arange(4))
        (([[3], [8]], ('3', '8')), ([[1, 3], [0, 2]], ('odd', 'even')))
        >>> parse_classes("cat,dog", np.arange(3), ("ant", "cat", "dog"))
        ([[1], [2]], ('cat', 'dog'))
    """
    label_of: dict[str, int] = {}
    for label in np.unique(labels).tolist():
        label_of[names[label] if names else str(label)] = label
    if not classes:
        return [[label] for label in label_of.values()], tuple(label_of)
    chosen = tuple(name.strip() for name in str(classes).split(","))
    parity = _by_parity(label_of)
    groups: list[list[int]] = []
    empty: list[str] = []
    for name in chosen:
        group = [label_of[name]] if name in label_of else parity.get(name, [])
        groups.append(group)
        if not group:
            empty.append(name)
    if empty or len(set(chosen)) != len(chosen) or len(chosen) < 2:
        expected = f"two or more different ones of {listed(label_of, 20)}"
        if all(parity.values()):
            expected += ", or even,odd"
        got = repr(classes)
        if empty:
            got += f" (no examples of {', '.join(empty)})"
        raise bad("--classes", expected=expected, got=got)
    return groups, chosen


def _by_parity(label_of: Mapping[str, int]) -> dict[str, list[int]]:
    """The labels of the classes whose names are even and odd numbers."""
    groups: dict[str, list[int]] = {"even": [], "odd": []}
    for name, label in label_of.items():
        if name.isdecimal() and len(name) <= LONGEST_NUMBER:
            groups["odd" if int(name) % 2 else "even"].append(label)
    return groups


def _label_table(raw: Raw, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Source label -> label of the task, `NOT_IN_TASK` where it has none; -1 and +1 for two classes."""
    table = np.full(int(raw.y.max()) + 1, NOT_IN_TASK)
    for label, group in enumerate(groups):
        table[group] = 2 * label - 1 if len(groups) == 2 else label
    return table


@dataclass(frozen=True)
class _Pool:
    """Examples to choose from: a part of the source with the labels of the task, and the rows that belong to it."""

    x: Pixels
    y: np.ndarray
    index: np.ndarray

    def split(self, rows: np.ndarray) -> Split:
        """The examples in these rows of the source."""
        y = torch.from_numpy(self.y[rows].astype(np.int64))
        index = torch.from_numpy(rows)
        if isinstance(self.x, Images) and self.x.on_disk:
            return Split(Streamed(self.x, rows), y, index)
        return Split(torch.from_numpy(self.x[rows]), y, index)


def _pools(raw: Raw, table: np.ndarray) -> tuple[_Pool, _Pool]:
    """The training and the test part, restricted to the classes and relabeled; a missing test part is cut."""
    # Seed 0, whatever the seed of the task: every seed is tested on the same images.
    shuffle = np.random.default_rng(0).permutation
    if raw.test is None:
        order = shuffle(len(raw.y))
        n_test = round(N_TEST_WITHOUT_OFFICIAL * len(order))
        train_index = np.sort(order[n_test:])
        return _pool(raw.x, raw.y, train_index, table), _pool(raw.x, raw.y, order[:n_test], table)
    train_index = np.arange(len(raw.y))
    test_index = shuffle(len(raw.test.y))
    return _pool(raw.x, raw.y, train_index, table), _pool(raw.test.x, raw.test.y, test_index, table)


def _pool(x: Pixels, y: np.ndarray, index: np.ndarray, table: np.ndarray) -> _Pool:
    relabeled = table[y]
    return _Pool(x, relabeled, index[relabeled[index] != NOT_IN_TASK])


def _without_some_classes(train: Split, n_classes: int, *, limited: bool, validated: bool, cut: bool) -> BadRequest:
    """The error for a training part that lacks classes, by what took their examples from it."""
    expected = f"at least one example of each of {n_classes} classes"
    if limited:
        return bad("n_train", expected=expected, got=len(train), remedy="take more")
    got = f"{len(train)} examples of {len(train.y.unique())} classes"
    remedies: list[str] = []
    if validated:
        remedies.append("take a smaller validation part")
    if cut:
        remedies.append("give a test part (x_test and y_test), as without one a fifth of the examples is taken for it")
    return bad("training part", expected=expected, got=got, remedy="; ".join(remedies))


def _at_most(n: int | None, rows: np.ndarray, what: str) -> np.ndarray:
    if n is None:
        return rows
    return rows[: count(n, what, high=len(rows))]
