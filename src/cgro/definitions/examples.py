"""Examples from whatever holds them: arrays, a DataLoader, a Dataset. A fixed sample; nothing of the caller's moves.

A DataLoader is not iterated where its Dataset can be indexed: an iteration would draw its examples in another order at
every call, and advance its generator.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

from cgro._check import bad, count
from cgro.definitions.inputs import as_examples, as_inputs, as_labels, describe, pair_of
from cgro.definitions.random_state import generators_in, preserve_random_state

CHUNK = 256
"""Examples that are read together. A choice."""
READ_TWICE = 8
"""Examples that are read a second time: a random crop or flip shows in one of them with 99.6%. A choice."""
AUGMENTED = (
    "reading an example twice gave two different inputs, so the Dataset augments at random; one copy of each example is"
    " used, always the same: for errors on the images themselves give the Dataset without its augmentation"
)
ITERATED = (
    "its sampler could not be copied, so it was iterated itself, once: generators of random numbers are as they were,"
    " what else it counts or remembers moved on"
)
PASSES = 100
"""A sampler that draws so many times as many examples as the Dataset has, and has not drawn all, is taken for endless.
A choice: one that repeats each image a few times, or until all were drawn by chance, ends far below."""
Collate = Callable[[list[object]], object]


class Indexable(Protocol):
    """A Dataset whose examples have numbers."""

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def __getitem__(self, index: int, /) -> object:
        """One example."""
        ...


@dataclass(frozen=True)
class Sample:
    """Examples that were taken from a set.

    Attributes:
        x: (n, *S) inputs.
        y: (n,) labels.
        index: (n,) int64, their positions in the set; of a stream, the order in which they came.
        n_total: examples of the set; None for a stream, which was not read to its end.
        remarks: what whoever gave the set should know.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    n_total: int | None
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)


def is_collection(part: object) -> bool:
    """Whether a set is read example by example: a DataLoader, or a Dataset of torch or of the package datasets.

    Args:
        part: any set of examples.

    Returns:
        False for arrays, pairs, dictionaries and objects with x and y.
    """
    if isinstance(part, DataLoader | Dataset):
        return True
    if isinstance(part, Sequence | Tensor | np.ndarray | dict | str) or (hasattr(part, "x") and hasattr(part, "y")):
        return False
    return hasattr(part, "__getitem__") and hasattr(part, "__len__")


def reads_once(part: object) -> bool:
    """Whether a stream has only one reading in it, so that whoever takes examples takes them from the next reader.

    Args:
        part: any set of examples.

    Returns:
        True for an IterableDataset, or the DataLoader of one, that gives the same iterator every time.

    Example:
        >>> class Once(IterableDataset):
        ...     def __init__(self): self.rows = iter([(torch.zeros(1), 0)])
        ...     def __iter__(self): return self.rows
        >>> reads_once(DataLoader(Once())), reads_once((torch.zeros(3, 1), torch.zeros(3)))
        (True, False)
    """
    source = part.dataset if isinstance(part, DataLoader) else part
    if not isinstance(source, IterableDataset):
        return False
    with preserve_random_state(generators=generators_in(source)):
        return iter(source) is iter(source)


def take_examples(part: object, n: int | None = None, *, seed: int | None = None) -> Sample:
    """Take examples from a set; the same ones at every call.

    Args:
        part: a DataLoader, a Dataset that yields (x, y) or dictionaries with such keys, or what `as_examples` takes.
            A DataLoader gives the examples of its sampler, and its `collate_fn` makes the batches.
        n: at most so many; None for all.
        seed: None takes the first ones; a number those at the front of a shuffled order, as `cgro.data.load` has it.
            An IterableDataset is a stream, of which the first ones are taken in any case.

    Returns:
        The examples with their positions in the set. Random generators are as they were before: the global ones, and
        those that loader, samplers and Dataset hold (`generators_in`).

    Raises:
        BadRequest: no examples, images of different sizes, labels that do not match (see `as_examples`); a Dataset
            without a length, a sampler without an end or of one reading.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> data = TensorDataset(torch.arange(10.0)[:, None], torch.arange(10))
        >>> sample = take_examples(DataLoader(data, batch_size=4, shuffle=True), 3, seed=0)
        >>> sample.index.tolist() == sample.y.tolist() == np.random.default_rng(0).permutation(10)[:3].tolist()
        True
    """
    if n is not None:
        count(n, "n")
    if not is_collection(part):
        return _of_arrays(part, n, seed)
    with preserve_random_state(generators=generators_in(part)):
        return _of_collection(part, n, seed)


def pair_or_sample(x: object, y: Tensor | None, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs and labels of a function that takes both apart, or one set instead of them.

    Args:
        x: inputs; a DataLoader or a Dataset where `y` is None.
        y: labels.
        n: examples taken from a DataLoader or a Dataset, at most.
        seed: of that sample.

    Returns:
        Both, as `as_inputs` and `as_labels` give them.

    Raises:
        BadRequest: labels are missing; see `take_examples`.
    """
    if y is None:
        if not is_collection(x):
            raise bad("labels", expected="labels beside inputs", got="None")
        sample = take_examples(x, n, seed=seed)
        return sample.x, sample.y
    inputs = as_inputs(x)  # type: ignore[arg-type]  # refused there if it is no array
    return inputs, as_labels(y, inputs.device)


def _of_arrays(part: object, n: int | None, seed: int | None) -> Sample:
    given_x, given_y = pair_of(part)
    n_total = _length(given_x, "inputs")
    if n_total != _length(given_y, "labels"):
        raise bad("labels", expected=f"{n_total}, one per example", got=_length(given_y, "labels"))
    rows = _rows(n_total, n, seed)
    known = getattr(part, "index", None)
    index = torch.from_numpy(rows)
    if isinstance(known, Tensor):
        index = known[index].cpu()
    x = as_inputs(_some(given_x, rows))
    return Sample(x, as_labels(_some(given_y, rows), x.device), index, n_total)


def _length(values: object, what: str) -> int:
    if not isinstance(values, Tensor | np.ndarray):
        remedy = "convert them, as in torch.as_tensor(values)"
        raise bad(what, expected="a torch tensor", got=describe(values), remedy=remedy)
    if not values.ndim or not len(values):
        raise bad("examples", expected="at least one", got=0)
    return len(values)


def _rows(n_total: int, n: int | None, seed: int | None) -> np.ndarray:
    """(n,) int64 positions: the first ones, or those at the front of a shuffled order."""
    order = np.arange(n_total)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(n_total)
    return order[:n]


def _some(values: object, rows: np.ndarray) -> Tensor | np.ndarray:
    if isinstance(values, np.ndarray):
        return values[rows]
    assert isinstance(values, Tensor), "`_length` has seen it"
    return values[torch.from_numpy(rows).to(values.device)]


def _of_collection(part: object, n: int | None, seed: int | None) -> Sample:
    source: object = part
    remarks: tuple[str, ...] = ()
    collate: Collate = default_collate
    if isinstance(part, DataLoader):
        source = part.dataset
        if isinstance(source, IterableDataset) or part.batch_sampler is None:
            return _of_stream(part, n)
        collate = part.collate_fn
    elif isinstance(part, IterableDataset):
        return _of_stream(DataLoader(part, batch_size=CHUNK), n)
    data = _indexable(source)
    positions = np.arange(len(data))
    if isinstance(part, DataLoader):
        positions, remarks = _positions(part, data)
    if not len(positions):
        raise bad("examples", expected="at least one", got=0)
    rows = positions[_rows(len(positions), n, seed)]
    x, y = _joined(_read(data, rows, collate))
    again, _ = _joined(_read(data, rows[:READ_TWICE], collate))
    if not torch.equal(again, x[: len(again)]):
        remarks = (*remarks, AUGMENTED)
    return Sample(x, y, torch.from_numpy(rows), len(positions), remarks)


def _indexable(data: object) -> Indexable:
    if not hasattr(data, "__len__"):  # the Dataset of torch has none of its own
        remedy = "give it __len__, or make it an IterableDataset if it is a stream"
        raise bad("examples", expected="a Dataset with a length", got=describe(data), remedy=remedy)
    return data  # type: ignore[return-value]  # whoever gives one that cannot be indexed reads its error


def _positions(loader: DataLoader, data: Indexable) -> tuple[np.ndarray, tuple[str, ...]]:
    """The positions of a loader's examples in its Dataset, increasing, and what to tell about them.

    Those of another sampler than the usual ones are asked for: it may leave some out, as a SubsetRandomSampler does
    that cuts a validation part. A WeightedRandomSampler may draw all of positive weight. A DistributedSampler has those
    of one process; all of them together have all.
    """
    batches: object = loader.batch_sampler
    sampler = getattr(batches, "sampler", None)
    while isinstance(sampler, BatchSampler):  # loaders that keep their workers put another one around it
        sampler = sampler.sampler
    if isinstance(sampler, SequentialSampler | RandomSampler | DistributedSampler):
        return np.arange(len(data)), ()
    if isinstance(sampler, WeightedRandomSampler):  # it draws some of them, others at every call
        return np.flatnonzero(sampler.weights.cpu().numpy()), ()
    if sampler is not None:
        draws, remarks = _copied(sampler, data)
    else:  # a batch sampler of another kind
        asked, remarks = _copied(batches, data)
        draws = itertools.chain.from_iterable(asked)  # type: ignore[arg-type]
    return _drawn(draws, len(data)), remarks


def _copied(sampler: object, data: Indexable) -> tuple[Iterable[object], tuple[str, ...]]:
    """A copy of a sampler, to be iterated in its place; itself, and that said, where it has none, as with a lock.

    Data and generators are shared with it: they may be large, and the generators are put back.
    """
    shared = (data, getattr(sampler, "data_source", None), getattr(sampler, "dataset", None), *generators_in(sampler))
    known: Iterable[object] = sampler  # type: ignore[assignment]  # the DataLoader has asked for an iterable
    try:
        return copy.deepcopy(known, {id(value): value for value in shared}), ()
    except Exception:  # whatever the parts of a sampler of others raise
        if iter(known) is not known:
            return known, (ITERATED,)
    remedy = "give the Dataset, or a sampler that begins anew with every iter()"
    raise bad("sampler", expected="one that can be read more than once", got=describe(sampler), remedy=remedy)


def _drawn(draws: Iterable[object], n: int) -> np.ndarray:
    """The positions that a sampler draws of n, increasing; once all n were drawn it is read no further."""
    found: set[int] = set()
    remedy = "give the Dataset, or the Subset of it that is trained on"
    for k, drawn in enumerate(draws):
        if k >= PASSES * n:
            raise bad("sampler", expected="one that ends", got=f"{k:,} draws from {n:,} examples", remedy=remedy)
        try:
            found.add(int(drawn))  # type: ignore[call-overload]  # refused here if it is none
        except (TypeError, ValueError):
            raise bad("sampler", expected="positions in the Dataset", got=describe(drawn), remedy=remedy) from None
        if len(found) == n:
            break
    return np.array(sorted(found), dtype=np.int64)


def _read(data: Indexable, rows: np.ndarray, collate: Collate) -> Iterator[object]:
    for first in range(0, len(rows), CHUNK):
        yield collate([data[int(i)] for i in rows[first : first + CHUNK]])


def _joined(batches: Iterable[object], n: int | None = None) -> tuple[Tensor, Tensor]:
    """The examples of batches, up to the n-th."""
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    so_far = 0
    for batch in _collated(batches):
        x, y = as_examples(_as_batch(batch))
        if len(x) != len(y):
            raise bad("labels", expected=f"{len(x)}, one per example", got=len(y))
        if inputs and x.shape[1:] != inputs[0].shape[1:]:
            raise bad("inputs", expected=f"examples of one size, {tuple(inputs[0].shape[1:])}", got=tuple(x.shape[1:]))
        inputs.append(x)
        labels.append(y)
        so_far += len(x)
        if n is not None and so_far >= n:
            break
    if not so_far:
        raise bad("examples", expected="at least one", got=0)
    return torch.cat(inputs)[:n], torch.cat(labels)[:n]


def _collated(batches: Iterable[object]) -> Iterator[object]:
    """Batches as they are made; says what to do where the examples are no tensors, or of several sizes."""
    try:
        yield from batches
    except (TypeError, RuntimeError) as error:
        text = str(error)
        if "default_collate: batch must contain" not in text and "equal size" not in text:
            raise  # of the Dataset itself
        remedy = "give the Dataset a transform, such as ToTensor for images, and Resize where their sizes differ"
        raise bad("examples", expected="tensors or arrays of one size", got=text, remedy=remedy) from None


def _as_batch(batch: object) -> tuple[object, object]:
    """Inputs and labels; of one example alone, as a loader with batch_size=None gives it, a batch of it."""
    x, y = pair_of(batch)
    if isinstance(y, int):
        y = torch.as_tensor(y)
    if isinstance(y, Tensor | np.ndarray) and not y.ndim:
        return as_inputs(x)[None], y.reshape(1)  # type: ignore[arg-type]  # it refuses what is no array
    return x, y


def _of_stream(batches: DataLoader, n: int | None) -> Sample:
    x, y = _joined(batches, n)
    return Sample(x, y, torch.arange(len(x), device="cpu"), None)
