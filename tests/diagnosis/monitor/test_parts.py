"""The examples of a monitor, and the record by which a later process knows them."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.cases import refused
from tests.diagnosis.monitor.cases import TEST, THREAT, TRAIN
from torch.utils.data import DataLoader, IterableDataset

from cgro._check import BadRequest
from cgro.data import load
from cgro.definitions import PGD, ThreatModel
from cgro.diagnosis.monitor.parts import UNDONE, Parts, parts_of
from cgro.diagnosis.monitor.settings import Settings
from cgro.writing import sha256


def made(n: int = 1000, seed: int = 0, normalize=None, **parts: object) -> Parts:
    given = {"train": TRAIN, "test": TEST, **parts}
    return parts_of(given, Settings(THREAT, n=n, seed=seed, normalize=normalize))


def test_the_test_part_is_the_same_for_every_seed() -> None:
    one, other = made(20, seed=1).samples, made(20, seed=2).samples
    assert torch.equal(one["test"].index, other["test"].index)
    assert not torch.equal(one["train"].index, other["train"].index)


def test_a_split_is_in_its_order_already_and_keeps_the_positions_of_its_source() -> None:
    data = load("digits", n_train=100, n_test=50)
    found = parts_of({"train": data.train, "test": data.test}, Settings(THREAT, n=30)).samples
    for name, split in (("train", data.train), ("test", data.test)):
        assert torch.equal(found[name].index, split.index[:30])
        assert torch.equal(found[name].x, split.x[:30])
        assert found[name].n_total == len(split)


def test_the_record_tells_other_examples_apart() -> None:
    record = made().record()
    assert record == made().record()
    assert record["validation"] == []
    changed = TEST[0].clone()
    changed[0, 0, 0, 0] += 1e-6
    for other in (made(seed=1), made(n=20), made(test=(changed, TEST[1])), made(test=(TEST[0], TEST[1].flip(0)))):
        assert other.record() != record


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_images_of_any_precision_have_a_digest(dtype: torch.dtype) -> None:
    """Planted: bfloat16, which NumPy does not have, ended in a TypeError."""
    part = (TEST[0].to(dtype), TEST[1])
    found = made(train=(TRAIN[0].to(dtype), TRAIN[1]), test=part)
    assert found.samples["test"].x.dtype == dtype
    assert found.record() == made(train=(TRAIN[0].to(dtype), TRAIN[1]), test=part).record()
    assert found.digest() != made(train=(TRAIN[0].to(dtype), TRAIN[1]), test=(1 - part[0], TEST[1])).digest()
    if dtype != torch.bfloat16:
        contents = [tensor.numpy().tobytes() for sample in found.samples.values() for tensor in (sample.x, sample.y)]
        assert found.digest() == sha256(*contents), "runs that are there go on"


@pytest.mark.parametrize(("x", "words"), [
    ((TEST[0] * 65535).to(torch.uint16), "divide images in 0..65535 by 65535"),
    ((TEST[0] * 65535).int(), "divide images in 0..65535 by 65535"),
    ((TEST[0] * 255).to(torch.uint8), "divide images in 0..255 by 255, as torchvision's ToTensor does"),
])  # fmt: skip
def test_images_of_integers_are_refused_with_the_divisor_of_their_bits(x: torch.Tensor, words: str) -> None:
    refused(lambda: made(test=(x, TEST[1])), "test part: inputs: expected floating point in [0, 1]", words)


def test_images_that_were_normalized_are_undone_within_rounding() -> None:
    x = TEST[0]
    found = made(test=((x - 0.3).half() / 0.2, TEST[1]), normalize=((0.3,), (0.2,)))
    assert found.remarks == (f"test part: {UNDONE}",)
    back = found.samples["test"]
    assert float((back.x - x[back.index]).abs().max()) < 1e-3
    assert 0 <= float(back.x.min()) <= float(back.x.max()) <= 1


def test_test_images_that_are_training_images_are_said() -> None:
    """The loop gave its training data twice: other images are drawn of each part, and some are the same."""
    x, y = torch.rand(400, 1, 2, 2), torch.arange(400) % 2
    (said,) = made(100, seed=1, train=(x, y), test=(x, y)).remarks
    assert int(said.split()[0]) == pytest.approx(25, abs=15)
    assert "of 100 test images are also training images" in said
    assert made(100, train=(x[:200], y[:200]), test=(x[200:], y[200:])).remarks == ()


@pytest.mark.parametrize(
    ("normalize", "part"),
    [(((0.3, 0.3), (0.2, 0.2)), "train part"), (((0.3,), (4.0,)), "test part")],  # fits no part, and one alone
)
def test_another_normalization_than_that_of_the_data_is_refused(normalize, part: str) -> None:
    refused(lambda: made(test=((TEST[0] - 0.3) / 0.2, TEST[1]), normalize=normalize), part)


@pytest.mark.parametrize(
    ("words", "settings", "labels"),
    [
        ("labels: expected integers, or -1 and \\+1", {}, TEST[1].float()),
        ("labels: expected integers, or -1 and \\+1", {}, TEST[1].double() * 0.5),
        ("radius: expected at most", {"threat": ThreatModel(2, 1e6)}, TEST[1]),
        ("normalize: expected 1 numbers", {"normalize": ((0.3, 0.3), (0.2, 0.2))}, TEST[1]),
    ],
)
def test_what_no_epoch_could_be_evaluated_with_is_refused_before_the_training(words, settings, labels) -> None:
    given = {"train": TRAIN, "test": (TEST[0], labels)}
    with pytest.raises(BadRequest, match=words):
        parts_of(given, Settings(**{"threat": THREAT} | settings))


class Rows(IterableDataset):
    """A stream that begins anew at every reading, or gives one iterator to all."""

    def __init__(self, *, once: bool) -> None:
        self.one = iter(list(zip(*TRAIN, strict=True))) if once else None

    def __iter__(self) -> Iterator[object]:
        return self.one or iter(list(zip(*TRAIN, strict=True)))


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: DataLoader(data, batch_size=10)])
def test_a_stream_of_one_reading_is_refused_before_anything_is_taken_from_it(wrap) -> None:
    """Planted: the sample was taken from it, and the loop trained without those examples."""
    once = Rows(once=True)
    with pytest.raises(BadRequest, match="train part: examples: expected a set that can be read more than once"):
        made(20, train=wrap(once))
    assert len(list(once)) == len(TRAIN[0]), "all are left"
    assert len(made(20, train=wrap(Rows(once=False))).samples["train"]) == 20


def test_signs_of_any_type_are_labels_of_scores() -> None:
    signs = torch.where(TEST[1] > 0, 1.0, -1.0)
    assert made(test=(TEST[0], signs)).samples["test"].y.dtype == torch.float32


def test_settings_are_stored_as_the_numbers_that_they_are_taken_for() -> None:
    settings = Settings(THREAT, n=np.int64(20), seed=np.uint8(3), keep=2.0)
    assert [(type(value), value) for value in (settings.n, settings.seed, settings.keep)] == [
        (int, 20), (int, 3), (int, 2),
    ]  # fmt: skip
    with pytest.raises(
        BadRequest, match="attack: expected the name of an attack, such as pgd10, got a value of type PGD"
    ):
        Settings(THREAT, attack=PGD(THREAT, n_steps=3))
