"""A second data set: which places it takes, its labels, what is refused, and how it is named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.cases import (
    ATTACK,
    Calls,
    compute_of,
    gradients,
    interrupt,
    run_of,
    same_weights,
    small,
    toy,
    toy_data,
    toy_step,
    train,
)
from torch import nn

from cgro.cli import main
from cgro.commands import train as command
from cgro.data import Dataset, Split, load
from cgro.runs import Run, read_json
from cgro.training import Adversarial, Extra, Recipe, Step
from cgro.training.extensions.extra import image_digests
from cgro.training.given import weights_digest
from cgro.trust import Untrusted


def second(n: int = 20, seed: int = 9) -> Dataset:
    """Images of the shape and classes of `toy_data`, and others than those."""
    data = toy_data()
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return replace(data, name="second", train=Split(x, torch.arange(n) % 3, torch.arange(n)), sha256="abc")


def like(shape: tuple[int, ...]) -> Dataset:
    """Data of another shape, for `toy_step`."""
    x = torch.rand(8, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    split = Split(x, torch.arange(8) % 3, torch.arange(8))
    return replace(toy_data(), train=split, test=split.head(0), validation=split.head(0))


def seen_by(extra: Extra, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
    found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def compute() -> torch.Tensor:
        found.append((step.x.clone(), step.y.clone()))
        return step.x.sum()

    extra.around(step, compute)
    extra.around(step, compute)  # asked again, it is the same batch
    assert torch.equal(found[0][0], found[1][0])
    return found[0]


@pytest.mark.parametrize(("ratio", "n"), [(0.0, 0), (0.5, 3), (0.7, 4), (1.0, 6)])
def test_the_first_places_are_taken_and_the_batch_is_put_back(ratio: float, n: int) -> None:
    images = like((1, 2, 2))
    own = replace(images, train=images.train.head(4))
    other = replace(images, train=Split(1 - images.train.raw[4:], images.train.y[4:], torch.arange(4)))
    extra = Extra(other, ratio=ratio)
    extra.prepare(toy(), Recipe(), own)
    step = toy_step(toy())
    x, y = step.x, step.y
    mixed, labels = seen_by(extra, step)
    assert step.x is x
    assert step.y is y
    assert torch.equal(mixed[n:], x[n:])
    assert torch.equal(labels[n:], y[n:])
    where = (mixed[:n, None].flatten(2) == other.train.raw[None].flatten(2)).all(2)
    assert where.any(1).all()
    assert torch.equal(labels[:n], other.train.y[where.int().argmax(1)])


def test_the_gradient_is_that_of_the_mixed_batch() -> None:
    images = like((1, 2, 2))
    extra = Extra(replace(images, train=Split(1 - images.train.raw, images.train.y, torch.arange(8))), ratio=0.5)
    extra.prepare(toy(), Recipe(), images)
    model, twin = toy(), toy()
    step, other = toy_step(model), toy_step(twin)
    extra.around(step, compute_of(step, Adversarial(ATTACK)))
    other.x, other.y = extra.mixed(other)
    compute_of(other, Adversarial(ATTACK))()
    for ours, theirs in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_labels_are_the_predictions_of_the_network() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    data = second()
    unnamed = replace(data, classes=("x",))
    extra = Extra(unnamed, network)
    extra.prepare(small(), Recipe(), toy_data())
    step = toy_step(toy())
    step.x = torch.rand(6, 1, 4, 4)
    x, y = seen_by(extra, step)
    assert torch.equal(y[:3], network(x[:3]).argmax(1))
    assert extra.given() == {"data": "abc", "labels": weights_digest(network)}


def test_each_option_has_an_effect_and_a_killed_training_goes_on(digits: Dataset, tmp_path: Path) -> None:
    flipped = replace(digits, train=Split(digits.train.raw.flip(3), digits.train.y, digits.train.index))
    recipe, models = Recipe(epochs=2, lr=0.01, batch_size=20, augment="crop1-flip"), []
    network = small(5)
    for options in ({}, {"ratio": 0.7}, {"n": 20}, {"labels": network}):
        model = small()
        train(model, digits, recipe, evaluation=None, extensions=[Extra(flipped, **options)])
        models.append(model)
    plain = small()
    train(plain, digits, recipe, evaluation=None)
    for k, model in enumerate([*models, plain]):
        assert all(not same_weights(model, other) for other in models[:k])
    run, again = run_of(tmp_path / "r"), small()
    train(small(), digits, recipe, evaluation=None, extensions=[Extra(flipped), Calls(4, interrupt)], run=run)
    train(again, digits, recipe, evaluation=None, extensions=[Extra(flipped), Calls()], run=run)
    assert same_weights(again, models[0])


def test_what_does_not_fit_is_refused(capsys: pytest.CaptureFixture) -> None:
    data = toy_data()
    distinct = replace(data, test=Split(data.test.raw + 0, data.test.y, data.test.index))
    other_shape = replace(second(), train=Split(torch.rand(4, 3, 4, 4), torch.arange(4) % 3, torch.arange(4)))
    for extra, words in (
        (Extra(), "extra: expected a second data set, got none; name it, extra:data=NAME"),
        (Extra(other_shape), r"extra: expected images of shape \(1, 4, 4\), got \(3, 4, 4\)"),
        (Extra(replace(second(), classes=("a", "b", "d"))), "extra: expected the classes a, b, c, got a, b, d"),
        (Extra(distinct), "12 of its test images among them"),
        (Extra(second(), nn.Sequential(nn.Flatten(), nn.Linear(16, 4))), "a network with 3 outputs, got 4"),
    ):
        with pytest.raises(ValueError, match=words):
            extra.prepare(small(), Recipe(), data)
    for options in ({"ratio": 1.5}, {"n": -1}, {"labels": 3}):
        with pytest.raises(ValueError, match="extra: "):
            Extra(second(), **options)
    alone = replace(data, test=data.test.head(0))
    Extra(data).prepare(small(), Recipe(), alone)
    assert "12 of the 12 training images are in the second data set as well" in capsys.readouterr().err


def test_digests_see_bytes_and_fractions_alike() -> None:
    raw = torch.randint(0, 256, (5, 1, 4, 4)).to(torch.uint8)
    split = Split(raw, torch.zeros(5, dtype=torch.int64), torch.arange(5))
    assert image_digests(split) == image_digests(replace(split, stored=raw.float() / 255))
    assert image_digests(split) != image_digests(replace(split, stored=raw.flip(3)))


SMALL = ("--data", "digits", "--n-train", "60", "--n-test", "40", "--epochs", "1", "--model", "mlp", "--width", "8",
         "--attack", "pgd2", "--eval-attack", "pgd2", "--final-n", "40")  # fmt: skip


def test_by_name_with_labels_of_a_run_and_without_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    digits = load("digits")
    x = digits.train.x[:200].flip(2).numpy()
    np.savez("flipped.npz", x=x, y=digits.train.y[:200].numpy(), x_test=x[:20], y_test=np.arange(20) % 10)
    assert main(["train", *SMALL, "--out", "teacher"]) == 0
    words = ("--extension", "extra:data=flipped.npz,labels=teacher,ratio=0.3", "--out", "run")
    assert main(["train", *SMALL, *words]) == 0
    found = read_json(tmp_path / "run" / "given.json")
    assert isinstance(found, dict)
    assert {*found} == {"extra: data", "extra: labels"}
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(Untrusted, match=r"flipped\.npz|extra"):
        command.run(command.Config(resume="run"))
    command.run(command.Config(resume="run", trust=True))
    assert Run.open("run").finished
