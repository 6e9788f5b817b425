"""Tasks: classes, cuts by seed, and bad requests."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cgro.data import load, named
from cgro.data.own import from_arrays
from cgro.data.sets import parse_classes


def test_mnist5k_is_real_and_cut_the_same_for_every_seed() -> None:
    a, b = load("mnist5k", validation=0.1), load("mnist5k", validation=0.1, seed=1)
    assert (len(a.train), len(a.validation), len(a.test), a.shape, a.n_outputs) == (3600, 400, 1000, (1, 28, 28), 10)
    assert torch.equal(a.test.index, b.test.index)
    assert not torch.equal(a.train.index, b.train.index)
    parts = [set(s.index.tolist()) for s in (a.train, a.validation, a.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 5000
    assert a.train.pixels is not None
    assert torch.equal(a.train.x, a.train.pixels.float() / 255)
    assert float(a.train.x.max()) == 1.0
    rows = torch.tensor([5, 3])
    assert torch.equal(a.train.batch(rows)[0], a.train.x[rows])


def test_binary_tasks_have_signs_in_listed_order() -> None:
    raw = named.mnist5k()
    for classes, minus in (("3,8", [3]), ("8,3", [8]), ("even,odd", [0, 2, 4, 6, 8]), ("odd,even", [1, 3, 5, 7, 9])):
        data = load("mnist5k", classes=classes)
        assert data.n_outputs == 1
        assert sorted(set(raw.y[data.train.index[data.train.y == -1]].tolist())) == minus
    three = load("mnist5k", classes="7,1,4")
    assert three.n_outputs == 3
    assert set(raw.y[three.test.index[three.test.y == 0]].tolist()) == {7}


@pytest.mark.parametrize("arguments", [{"classes": "3"}, {"classes": "3,3"}, {"classes": "3,x"}, {"classes": "3,12"},
                                       {"n_train": 0}, {"n_train": 10**6}, {"validation": 1.5}, {"n_train": 3}])  # fmt: skip
def test_bad_requests(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        load("mnist5k", **arguments)


@pytest.mark.parametrize(("parts", "options", "words"), [
    ({}, {}, "training part: expected at least one example of each of 50 classes, got 40 examples of 40 classes; give a test part"),
    ({"test": True}, {"validation": 0.2}, "training part: .* got 40 examples of 40 classes; take a smaller validation part"),
    ({"test": True}, {"n_train": 30}, "n_train: expected at least one example of each of 50 classes, got 30; take more"),
    ({}, {"n_train": 40}, "training part: .*; give a test part"),
    ({}, {"validation": 0.2}, "training part: .* 32 classes; take a smaller validation part; give a test part"),
], ids=range(5))  # fmt: skip
def test_classes_without_training_examples_are_told_of_by_what_took_them(
    monkeypatch: pytest.MonkeyPatch, parts: dict, options: dict, words: str
) -> None:
    """Planted: n_train was blamed where none was given, and no way out was said."""
    arrays = {"x": np.random.default_rng(0).integers(0, 256, (50, 4, 4), dtype=np.uint8), "y": np.arange(50)}
    if parts:
        arrays |= {"x_test": arrays["x"][:5], "y_test": arrays["y"][:5]}
    monkeypatch.setattr("cgro.data.sets.read", lambda *_, **__: from_arrays(arrays, "own"))
    with pytest.raises(ValueError, match=words):
        load("own.npz", **options)
    if parts:
        assert len(load("own.npz").train) == 50


def test_class_names_that_are_long_numbers() -> None:
    names = ("9" * 5_000, "8")
    assert parse_classes("8," + "9" * 5_000, np.arange(2), names)[0] == [[1], [0]]


@pytest.mark.parametrize(
    ("x", "share"),
    [
        (np.arange(40, dtype=np.uint8).reshape(-1, 1, 1) % 3 > 0, 1 / 255),
        (np.linspace(0, 1 / 255, 40, dtype=np.float32).reshape(-1, 1, 1), 1 / 255),
        (np.linspace(0.5, 0.51, 40, dtype=np.float32).reshape(-1, 1, 1), 0.01),
        (np.arange(40, dtype=np.uint8).reshape(-1, 1, 1) % 17, 16 / 255),
        (np.linspace(0, 16 / 255, 40, dtype=np.float32).reshape(-1, 1, 1), 16 / 255),
        (np.linspace(0.4, 0.6, 40, dtype=np.float32).reshape(-1, 1, 1), None),
    ],
    ids=[
        "bytes of 0 and 1",
        "divided twice",
        "nearly constant",
        "bytes of 4 bits",
        "of 4 bits by 255",
        "of low contrast",
    ],
)
def test_little_of_the_range_of_the_pixels_is_said(tmp_path: Path, x: np.ndarray, share: float | None) -> None:
    if x.dtype == bool:
        x = x.astype(np.uint8)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(40) // 2 % 2)
    remarks = load(str(tmp_path / "own.npz"), classes="0,1").remarks
    if share is None:
        assert remarks == ()
    else:
        used = float(remarks[0].split("%")[0].split()[-1]) / 100
        assert used == pytest.approx(share, rel=0.3)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (lambda x: (x * 255).astype("uint8"), None),
        (lambda x: (x * 2).astype("uint8"), "the test pixels are in [0, 0.0039]"),
        (lambda x: (x * 17).astype("uint8"), "the test pixels are in [0, 0.0"),
        (lambda x: np.full(x.shape, 130, np.uint8), "0.0% of the range"),
    ],
)
def test_the_scale_of_the_test_part_is_looked_at_too(tmp_path: Path, test, words: str | None) -> None:
    """Planted: only the training part was, and test images that were divided by 255 twice made every test error."""
    x = np.random.default_rng(0).random((60, 1, 4, 4))
    y = np.arange(60) % 3
    np.savez(tmp_path / "own.npz", x=(x * 255).astype("uint8"), y=y, x_test=test(1 - x), y_test=y)
    remarks = load(str(tmp_path / "own.npz")).remarks
    assert len(remarks) == (words is not None)
    if words is not None:
        assert words in remarks[0]
