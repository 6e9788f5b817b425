"""Examples from loaders and Datasets: which ones, that nothing moves, and what is refused."""

import random
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cases import LinearScore, points, refused
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

from cgro.definitions import ThreatModel
from cgro.definitions.examples import (
    AUGMENTED,
    ITERATED,
    PASSES,
    is_collection,
    pair_or_sample,
    reads_once,
    take_examples,
)
from cgro.diagnosis import diagnose_model, lint, quick_lint

X, Y = points(30)
DATA = TensorDataset(X, Y)


class Folder(Dataset):
    """As torchvision's ImageFolder: sorted by class, labels are Python integers; or dictionaries, as of datasets."""

    def __init__(self, form: str = "tuple", noise: bool = False) -> None:
        order = Y.argsort(stable=True)
        self.x, self.y, self.form, self.noise = X[order], Y[order], form, noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> object:
        x = self.x[i]
        if self.noise:
            x = x + torch.rand(())
        if self.form == "tuple":
            return x, int(self.y[i])
        if self.form == "dict":
            return {"image": x.numpy(), "label": int(self.y[i]), "path": f"{i}.png"}
        return x, int(self.y[i]), i


class Plain:
    """No Dataset of torch: as `datasets.Dataset`, which has a length and items."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, i: int) -> dict:
        return {"pixel_values": X[i], "labels": Y[i]}


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(X, Y, strict=True)


def matches(part: object, n: int | None, seed: int | None, x: Tensor = X, y: Tensor = Y) -> list[int]:
    """The examples are those of their positions; which are returned."""
    sample = take_examples(part, n, seed=seed)
    assert torch.equal(sample.x, x[sample.index])
    assert torch.equal(sample.y, y[sample.index])
    return sample.index.tolist()


PERMUTED = np.random.default_rng(5).permutation(30)[:12].tolist()


@pytest.mark.parametrize("part", [
    (X, Y), [X.numpy(), Y.numpy()], {"x": X, "y": Y}, DATA, Plain(), DataLoader(DATA, batch_size=7),
    DataLoader(DATA, batch_size=7, shuffle=True, drop_last=True), DataLoader(DATA, sampler=DistributedSampler(DATA, 2, 1)),
    DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 4, False)),
    DataLoader(Plain(), batch_size=4), Subset(DATA, range(30)),
], ids=range(11))  # fmt: skip
def test_the_sample_is_the_same_in_every_form(part: object) -> None:
    assert matches(part, 12, 5) == PERMUTED
    assert matches(part, 12, 5) == PERMUTED
    assert matches(part, 4, None) == [0, 1, 2, 3]
    assert take_examples(part, 100).n_total == 30 == len(take_examples(part))


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_items_are_collated(form: str) -> None:
    folder = Folder(form)
    assert matches(folder, 12, 5, folder.x, folder.y) == PERMUTED
    loader = DataLoader(folder, batch_size=5, shuffle=True, collate_fn=lambda items: default_collate(items))
    assert matches(loader, 12, 5, folder.x, folder.y) == PERMUTED


def test_a_sampler_that_leaves_examples_out_is_followed() -> None:
    """As it cuts a validation part: none of the others may come in."""
    kept = [3, 4, 9, 17, 20, 21]
    for loader in (
        DataLoader(DATA, sampler=SubsetRandomSampler(kept), batch_size=2),
        DataLoader(DATA, batch_sampler=[[3, 4], [20, 17], [9, 21]]),
    ):
        assert sorted(matches(loader, None, 1)) == kept
        assert matches(loader, 4, None) == kept[:4]
        assert take_examples(loader).n_total == 6
    weighted = DataLoader(DATA, sampler=WeightedRandomSampler([1.0] * 5 + [0.0] * 25, 40))
    assert matches(weighted, None, None) == [0, 1, 2, 3, 4]
    # Few draws do not decide which examples there are: a run that is resumed would find others.
    rare = DataLoader(DATA, sampler=WeightedRandomSampler([1.0] * 20 + [0.0] * 10, 3))
    assert matches(rare, None, None) == list(range(20))


def test_a_stream_is_read_from_its_start() -> None:
    for part in (Stream(), DataLoader(Stream(), batch_size=7), DataLoader(DATA, batch_size=None)):
        sample = take_examples(part, 9, seed=3)
        assert sample.index.tolist() == list(range(9))
        assert torch.equal(sample.x, X[:9])
        assert sample.n_total is None
    assert len(take_examples(Stream())) == 30


@pytest.mark.parametrize("make", [
    lambda g: DataLoader(DATA, shuffle=True, generator=g), lambda g: DataLoader(Stream(), generator=g),
    lambda g: DataLoader(DATA, sampler=SubsetRandomSampler(range(9), generator=g)),
    lambda g: Folder(noise=True),
], ids=["shuffled", "stream", "subset", "augmented"])  # fmt: skip
def test_no_random_number_is_used_up(make) -> None:
    own = torch.Generator().manual_seed(1)
    part = make(own)
    torch.manual_seed(0)
    before = own.get_state(), torch.get_rng_state()
    take_examples(part, 8, seed=0)
    assert torch.equal(own.get_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


class Order(Sampler):
    """A sampler with a generator of its own that counts its epochs; over all, or over some."""

    def __init__(self, rows: list[int] | None = None, *, batch: int = 0, endless: bool = False) -> None:
        self.rows, self.batch, self.endless = rows or list(range(30)), batch, endless
        self.rng, self.torch = np.random.default_rng(0), torch.Generator().manual_seed(0)
        self.epoch = 0

    def __iter__(self) -> Iterator[object]:
        self.epoch += 1
        torch.randperm(3, generator=self.torch)
        again = True
        while again:
            again = self.endless
            order = self.rng.permutation(self.rows)
            if self.batch:
                yield from (order[k : k + self.batch].tolist() for k in range(0, len(order), self.batch))
            else:
                yield from order


class Noisy(Dataset):
    """Augments by generators of its own, one of them in a transform."""

    def __init__(self) -> None:
        self.transforms = [SimpleNamespace(rng=random.Random(0))]
        self.rng, self.torch = np.random.default_rng(0), torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return 30

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        noise = self.rng.uniform() + self.transforms[0].rng.random() + torch.rand((), generator=self.torch)
        return X[i] + noise, Y[i]


class NoisyStream(IterableDataset):
    """Draws its order when it is asked for an iterator, before anything is read."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.from_numpy(self.rng.permutation(30))
        return iter(list(zip(X[order], Y[order], strict=True)))


class Collator:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, items: list) -> object:
        x, y = default_collate(items)
        return x + self.rng.uniform(), y


@pytest.mark.parametrize("make", [
    lambda: DataLoader(DATA, 10, sampler=Order()), lambda: DataLoader(DATA, batch_sampler=Order(batch=10)),
    lambda: DataLoader(DATA, 10, sampler=Order([3, 9, 4])), lambda: DataLoader(DATA, 10, sampler=Order(endless=True)),
    lambda: DataLoader(DATA, batch_sampler=BatchSampler(Order(), 4, False)),
    lambda: DataLoader(Noisy(), 10, shuffle=True, generator=torch.Generator().manual_seed(2)),
    lambda: DataLoader(Subset(Noisy(), range(20))), lambda: Noisy(), lambda: DataLoader(NoisyStream(), 10),
    lambda: DataLoader(DATA, 10, collate_fn=Collator()),
], ids=range(10))  # fmt: skip
def test_what_a_loader_gives_next_does_not_depend_on_what_was_taken(make) -> None:
    """Planted: only what loader and sampler call `generator` was put back, and a watched training was another one."""
    part, untouched = make(), make()
    take_examples(part, 8, seed=0)
    assert not reads_once(part)
    for source in (part, untouched):
        torch.manual_seed(0)
        source.first = next(iter(source)) if isinstance(source, DataLoader) else source[0]
    assert torch.equal(part.first[0], untouched.first[0])
    assert torch.equal(part.first[1], untouched.first[1])


@pytest.mark.parametrize("batch", [0, 7])
def test_a_sampler_counts_no_epoch(batch: int) -> None:
    sampler = Order([3, 9, 4], batch=batch)
    loader = DataLoader(DATA, sampler=sampler)
    if batch:
        loader = DataLoader(DATA, batch_sampler=sampler)
    assert take_examples(loader).index.tolist() == [3, 4, 9]
    assert sampler.epoch == 0


def test_a_sampler_that_cannot_be_copied_is_iterated_and_that_is_said() -> None:
    sampler = Order([3, 9, 4])
    sampler.lock = threading.Lock()
    sample = take_examples(DataLoader(DATA, sampler=sampler))
    assert (sample.index.tolist(), sample.remarks, sampler.epoch) == ([3, 4, 9], (ITERATED,), 1)
    assert sampler.rng.random() == Order().rng.random()


@pytest.mark.parametrize("make", [
    lambda order: DataLoader(DATA, sampler=order), lambda order: DataLoader(DATA, batch_sampler=([i] for i in order)),
])  # fmt: skip
def test_a_sampler_of_one_reading_is_refused_before_anything_is_taken_from_it(make) -> None:
    loader = make(i for i in range(30))
    refused(lambda: take_examples(loader), "sampler: expected one that can be read more than once")
    assert len(list(loader)) == 30


@pytest.mark.parametrize("loader", [
    DataLoader(DATA, sampler=Order([1, 2], endless=True)), DataLoader(DATA, batch_sampler=Order([1, 2], batch=2, endless=True)),
    DataLoader(DATA, batch_sampler=BatchSampler(Order([1], endless=True), 4, False)),
], ids=range(3))  # fmt: skip
def test_a_sampler_without_an_end_is_refused(loader: DataLoader) -> None:
    refused(
        lambda: take_examples(loader), "sampler: expected one that ends, got 3,000 draws from 30 examples", "Dataset"
    )


class Repeating:
    """Begins its batch sampler anew for ever, as of loaders that keep their workers."""

    def __init__(self, sampler: BatchSampler) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[object]:
        while True:
            yield from iter(self.sampler)


def test_endless_samplers_that_draw_all_and_long_ones_that_end_are_read() -> None:
    repeating = Repeating(BatchSampler(RandomSampler(DATA), 4, drop_last=True))
    for loader in (
        DataLoader(DATA, sampler=Order(endless=True)),
        DataLoader(DATA, batch_sampler=repeating),
        DataLoader(DATA, batch_sampler=Order(batch=7, endless=True)),
    ):
        assert take_examples(loader).index.tolist() == list(range(30))
    several = DataLoader(DATA, sampler=[4, 9] * (30 * PASSES // 2))
    assert take_examples(several).index.tolist() == [4, 9]


def test_draws_that_are_no_positions_are_refused() -> None:
    refused(lambda: take_examples(DataLoader(DATA, sampler=[(3, 224)])), "sampler: expected positions", "tuple")


class NoLength(Dataset):
    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return X[i], Y[i]


@pytest.mark.parametrize(
    "part", [NoLength(), DataLoader(NoLength(), sampler=range(5)), DataLoader(NoLength(), sampler=Order())]
)
def test_a_dataset_without_a_length_is_refused(part: object) -> None:
    refused(lambda: take_examples(part), "examples: expected a Dataset with a length", "NoLength", "__len__")
    assert take_examples(Subset(NoLength(), range(5))).index.tolist() == [0, 1, 2, 3, 4]


def test_a_random_augmentation_is_noticed() -> None:
    assert take_examples(Folder(noise=True), 10).remarks == (AUGMENTED,)
    assert take_examples(Folder(), 10).remarks == ()


@pytest.mark.parametrize(("part", "words"), [
    (Folder("triple"), ("examples: expected (x, y)", "of 3")),
    (TensorDataset(X[:0], Y[:0]), ("at least one",)),
    ((X, Y[:5]), ("labels: expected 30",)),
    ((X[:0], Y[:0]), ("at least one",)),
    ((X, None), ("labels",)), ((list(X), Y), ("inputs: expected a torch tensor", "torch.as_tensor(values)")),
    ({"a": X}, ("the keys a",)), (None, ("None",)), ("cifar10", ("'cifar10'",)),
], ids=range(9))  # fmt: skip
def test_refusals(part: object, words: tuple[str, ...]) -> None:
    refused(lambda: take_examples(part), *words)


class Photos(Dataset):
    """Images as they lie on a disk."""

    def __init__(self, form: str) -> None:
        self.form = form

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> object:
        image = np.zeros((8, 8 + i % 2, 3), dtype=np.uint8)
        if self.form == "PIL":
            return Image.fromarray(image), i
        if self.form == "tensors":
            return torch.from_numpy(image), i
        if self.form == "dict":
            return {"image": image, "label": i}
        raise RuntimeError("disk full")


class PhotoStream(IterableDataset):
    def __init__(self, form: str) -> None:
        self.photos = Photos(form)

    def __iter__(self) -> Iterator[object]:
        return (self.photos[i] for i in range(6))


@pytest.mark.parametrize("kind", [Photos, PhotoStream, lambda form: DataLoader(Photos(form), batch_size=4)])
@pytest.mark.parametrize(("form", "words"), [
    ("PIL", ("PIL.Image.Image", "ToTensor")), ("tensors", ("equal size", "Resize")), ("dict", ("equal size", "Resize")),
])  # fmt: skip
def test_images_without_a_transform_are_refused_with_the_remedy(kind, form: str, words: tuple[str, ...]) -> None:
    refused(lambda: take_examples(kind(form)), "examples: expected tensors or arrays of one size", *words)
    with pytest.raises(RuntimeError, match="disk full"):
        take_examples(kind("broken"))


def test_sizes_that_differ_are_refused() -> None:
    class Mixed(Stream):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for n in (6, 5):
                yield torch.zeros(2, n), torch.zeros(2)

    refused(lambda: take_examples(DataLoader(Mixed(), batch_size=None)), "one size, (6,)", "(5,)")


def test_what_is_read_example_by_example() -> None:
    assert [is_collection(part) for part in (DATA, Plain(), DataLoader(DATA), Stream())] == [True] * 4
    assert [is_collection(part) for part in ((X, Y), {"x": X}, X, X.numpy(), "name", None)] == [False] * 6


def test_the_public_functions_of_diagnosis_take_them() -> None:
    """A loader gives what its arrays give, in the order of its sample."""
    model, threat = LinearScore().eval(), ThreatModel("inf", 0.02)
    loader = DataLoader(DATA, batch_size=4, shuffle=True)
    sample = take_examples(DATA, 30, seed=2)
    direct = diagnose_model(model, (sample.x, sample.y), (sample.x, sample.y), threat, n_lint=16, seed=2)
    found = diagnose_model(model, loader, Subset(DATA, range(30)), threat, n_lint=16, seed=2)
    assert found.to_dict() == direct.to_dict()
    assert lint(model, loader, None, threat, n=16, seed=2) == lint(
        model, sample.x[:16], sample.y[:16], threat, n=16, seed=2
    )
    fixed = take_examples(DATA, 16, seed=0)
    assert quick_lint(model, loader, None, threat, n=16) == quick_lint(model, fixed.x, fixed.y, threat, n=16)
    refused(lambda: pair_or_sample(X, None, 5, 0), "labels beside inputs")


@pytest.mark.parametrize("form", [
    lambda x, y: (x, int(y)), lambda x, y: (x, y), lambda x, y: (x.numpy(), y.numpy()),
    lambda x, y: {"image": x, "label": int(y)}, lambda x, y: (x[None], y[None]),
])  # fmt: skip
def test_examples_that_no_batch_was_made_of_may_have_any_label(form) -> None:
    class Single(IterableDataset):
        def __iter__(self) -> Iterator[object]:
            return iter([form(x, y) for x, y in zip(X, Y, strict=True)])

    sample = take_examples(DataLoader(Single(), batch_size=None), 12)
    assert torch.equal(sample.x, X[:12])
    assert torch.equal(sample.y, Y[:12].long())
