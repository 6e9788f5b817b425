"""The user's own data: arrays, .npz and functions; and everything refused."""

import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.samples import LABELS, PIXELS, load_refused, npy, refused_in_little_memory, saved

from cgro.data import load
from cgro.data.own import from_arrays

X, Y = np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 0, 1])


def test_npz_round_trip_and_what_is_recorded(tmp_path: Path) -> None:
    name = saved(
        tmp_path / "own.npz", x=PIXELS, y=LABELS, x_test=PIXELS[:6], y_test=LABELS[:6], classes=["a", "b", "c"]
    )
    data = load(name)
    assert (data.shape, data.n_outputs, data.classes, len(data.train), len(data.test)) == (
        (3, 6, 5),
        3,
        ("a", "b", "c"),
        12,
        6,
    )
    assert torch.equal(data.train.raw, torch.from_numpy(PIXELS)[data.train.index])
    assert data.train.raw.dtype == torch.uint8
    assert data.describe()["name"] == data.describe()["note"] == "own.npz"
    assert str(tmp_path) not in json.dumps(data.describe())
    other = saved(tmp_path / "other.npz", x=PIXELS, y=LABELS[::-1])
    assert load(other).sha256 != data.sha256
    assert len(load(other).test) == 2
    two = load(name, classes="c,a")
    assert (two.n_outputs, sorted(set(two.train.y.tolist()))) == (1, [-1, 1])
    assert set(LABELS[two.train.index[two.train.y == -1]].tolist()) == {2}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32(dtype: type) -> None:
    raw = from_arrays({"x": (PIXELS / 255).astype(dtype), "y": LABELS}, "own")
    assert raw.x.dtype == np.float32
    np.testing.assert_allclose(raw.x, PIXELS / 255, atol=1e-3)


def test_layouts_are_explicit_or_beyond_doubt() -> None:
    last = PIXELS.transpose(0, 2, 3, 1)
    for found in (
        {"x": PIXELS},
        {"x": last},
        {"x": last, "layout": "NHWC"},
        {"x": PIXELS, "layout": "NCHW"},
        {"x": torch.from_numpy(PIXELS)},
    ):
        raw = from_arrays({**found, "y": LABELS}, "own")
        assert np.array_equal(raw.x, PIXELS)
        assert raw.x.flags.c_contiguous
    assert from_arrays({"x": PIXELS[:, 0], "y": LABELS}, "own").x.shape == (12, 1, 6, 5)
    doubtful = np.random.default_rng(1).integers(0, 256, (4, 3, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"layout: expected none beside gray images \(N, H, W\), got 'NCHW'"):
        from_arrays({"x": PIXELS[:, 0], "y": LABELS, "layout": "NCHW"}, "own")
    with pytest.raises(ValueError, match='layout="NCHW"'):
        from_arrays({"x": doubtful, "y": LABELS[:4]}, "own")
    assert from_arrays({"x": doubtful, "y": LABELS[:4], "layout": "NHWC"}, "own").x.shape == (4, 3, 3, 8)
    with pytest.raises(ValueError, match="not both"):
        from_arrays({"x": np.zeros((4, 2, 8, 8)), "y": LABELS[:4]}, "own")


def test_the_names_of_keras(tmp_path: Path) -> None:
    other = PIXELS[::-1]
    path = saved(tmp_path / "mnist.npz", x_train=PIXELS, y_train=LABELS, x_test=other, y_test=LABELS)
    data = load(str(path))
    assert torch.equal(data.train.raw, torch.from_numpy(PIXELS)[data.train.index])
    assert torch.equal(data.test.raw, torch.from_numpy(other.copy())[data.test.index])
    assert np.array_equal(from_arrays({"x_train": PIXELS, "y": LABELS}, "own").x, PIXELS)


WRONG = {
    "no y": ({"y": None}, "got no y"),
    "half a test part": ({"x_test": PIXELS}, "got no y_test"),
    "two names of one": ({"x_train": PIXELS}, "got x_train"),
    "unknown key": ({"xtest": PIXELS}, "got xtest"),
    "gap": ({"y": np.array([0, 1, 3] * 4)}, "0 .. 3 without gaps, got no example of 2"),
    "negative": ({"y": np.array([-1, 1, 1] * 4)}, "expected 0 .. 1, got -1 .. 1"),
    "one class": ({"y": np.zeros(12, int)}, "no example of 1"),
    "named class without examples": ({"classes": ["a", "b", "c", "d"]}, "no example of d"),
    "more labels than names": ({"classes": ["a", "b"]}, "expected 0 .. 1, got 0 .. 2"),
    "equal names": ({"classes": ["a", "b", "a"]}, "different names"),
    "float labels": ({"y": LABELS / 1.0}, "one integer an example"),
    "one-hot labels": ({"y": np.eye(3, dtype=int)[LABELS]}, "one integer an example"),
    "too few labels": ({"y": LABELS[:11]}, "12 images, 11 labels"),
    "out of range": ({"x": PIXELS / 128.0}, r"expected values in \[0, 1\], got \[0"),
    "normalized": ({"x": PIXELS / 255.0 - 0.5}, "belongs inside the network"),
    "nan": ({"x": np.where(PIXELS[0, 0, 0, 0] == PIXELS, np.nan, PIXELS / 255)}, r"not finite, the first in image 0"),
    "integers": ({"x": PIXELS.astype(int)}, "x.astype"),
    "vectors": ({"x": PIXELS.reshape(12, -1)}, "reshape vectors"),
    "other size in test": ({"x_test": PIXELS[:, :, :5], "y_test": LABELS}, r"shape \(3, 6, 5\) as in training"),
    "other type in test": ({"x_test": PIXELS / 255, "y_test": LABELS}, "expected uint8 as x"),
    "unknown label in test": ({"x_test": PIXELS, "y_test": LABELS + 1}, "test labels: expected 0 .. 2, got 3"),
    "empty": ({"x": PIXELS[:0], "y": LABELS[:0]}, "at least one"),
    "empty test": ({"x_test": PIXELS[:0], "y_test": LABELS[:0]}, "test part"),
    "layout": ({"layout": "CHWN"}, "NCHW or NHWC"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_arrays_are_one_clear_line(tmp_path: Path, fault: str) -> None:
    change, words = WRONG[fault]
    arrays = {k: v for k, v in ({"x": PIXELS, "y": LABELS} | change).items() if v is not None}
    load_refused(words, saved(tmp_path / "own.npz", **arrays))


@pytest.mark.parametrize("fault", ["pickled", "plain pickle", "truncated", "html", "npy", "missing"])
def test_files_that_are_no_npz_of_plain_arrays(tmp_path: Path, fault: str) -> None:
    path, fired = tmp_path / "own.npz", tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return Path.touch, (fired,)

    if fault == "pickled":
        np.savez(path, x=np.array([Payload()], dtype=object), y=LABELS)
    elif fault == "plain pickle":
        path.write_bytes(pickle.dumps(Payload()))
    elif fault == "truncated":
        saved(path, x=PIXELS, y=LABELS)
        path.write_bytes(path.read_bytes()[:300])
    elif fault == "html":
        path.write_bytes(b"<html>not found</html>")
    elif fault == "npy":
        np.save(path.with_suffix(".npy"), PIXELS)
        path.with_suffix(".npy").rename(path)
    load_refused("own.npz: expected (an .npz of plain arrays|a file)", str(path))
    assert not fired.exists()


def pair() -> tuple:
    return PIXELS, LABELS


def four() -> tuple:
    return torch.from_numpy(PIXELS) / 255, torch.from_numpy(LABELS), torch.from_numpy(PIXELS[:3]) / 255, LABELS[:3]


def mapping() -> dict:
    return {"x": PIXELS, "y": LABELS, "classes": ("a", "b", "c")}


def number() -> int:
    return 3


def failing() -> tuple:
    raise RuntimeError("the disk is\nnot there")


def test_functions() -> None:
    two, tensors, named = (load(f"tests.data.test_own:{n}") for n in ("pair", "four", "mapping"))
    assert torch.equal(two.train.raw, torch.from_numpy(PIXELS)[two.train.index])
    assert (len(two.test), len(tensors.test), named.classes) == (2, 3, ("a", "b", "c"))
    assert tensors.train.raw.dtype == torch.float32
    assert two.describe()["sha256"] == named.describe()["sha256"] != tensors.describe()["sha256"]
    assert two.note == "tests.data.test_own:pair"
    for name, words in (
        ("number", "expected .x, y.*got int"),
        ("failing", "RuntimeError: the disk is not there"),
        ("nothing", "importable"),
    ):
        load_refused(words, f"tests.data.test_own:{name}")


@pytest.mark.parametrize(
    ("members", "words"),
    [({"x": npy((10**9, 1000, 1000), "|u1", bytes(100))}, "holds"), ({"x": npy((1,), "|O", pickle.dumps([print]))}, "unpickled"),
     ({"x": npy((10**12,), "<U0")}, "no bytes"), ({"x": b""}, "damaged"), ({"x": npy("(" * 9000, "|u1")}, "damaged"),
     ({"x": npy((2, 4, 4), "|u1", bytes(31))}, "damaged")],
)  # fmt: skip
def test_npz(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    refused_in_little_memory(lambda: load(str(path)), words)


def test_npz_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"x": 1}))
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, words in (("pipe", "named pipe"), ("zero", "device"), ("pickle", "damaged"), ("empty", "damaged")):
        refused_in_little_memory(lambda name=name: load(str(tmp_path / f"{name}.npz")), words)


@pytest.mark.parametrize(
    ("found", "words"),
    [({"x": [[1], [2, 3]], "y": Y}, "an array"), ({"x": X, "y": object()}, "one integer"), ({"x": None, "y": Y}, "shape"),
     ({"x": X, "y": Y, "classes": 5}, "a list of names"), ({"x": X, "y": Y, "classes": "ab"}, "a list of names"),
     ({"x": X, "y": Y, 3: 1, "z": 2}, "only x, y"), ({"x": X.astype(complex), "y": Y}, "floating point"),
     ({"x": X, "y": Y.astype("M8[s]")}, "one integer"), ({"x": np.zeros((4, 0, 2, 2)), "y": Y, "layout": "NCHW"}, "pixel"),
     ({"x": X, "y": np.array([0, 1, 2**64 - 1, 1], np.uint64)}, "labels"),
     ({"x": X, "y": Y, "classes": ["a", "\x1b[31m"]}, "control"), ({"x": X, "y": Y, "classes": ["a", "\ud800"]}, "control"),
     ({"x": X, "y": Y, "layout": "x" * 10_000_000}, "layout: expected none")],
)  # fmt: skip
def test_what_a_function_returns(found: dict, words: str) -> None:
    text = refused_in_little_memory(lambda: from_arrays(found, "own").checked("own"))
    assert any(word in text for word in words.split("|")) or "shape" in text, text


@pytest.mark.parametrize(("y", "advice", "expected"), [
    (np.eye(3)[LABELS], "y.argmax(1)", LABELS), (np.eye(3, dtype=int)[LABELS], "y.argmax(1)", LABELS),
    (LABELS[:, None], "y[:, 0]", LABELS), (LABELS > 0, "y.astype('int64')", LABELS > 0),
    (LABELS.astype("float32"), "y.astype('int64')", LABELS),
    (np.array(["cat", "dog", "eel"])[LABELS], "numpy.unique(y, return_inverse=True)", LABELS),
], ids=["one-hot", "one-hot integers", "a column", "bool", "whole floats", "names"])  # fmt: skip
def test_the_advice_on_labels_is_followed_as_it_stands(y: np.ndarray, advice: str, expected: np.ndarray) -> None:
    with pytest.raises(ValueError, match="y: expected one integer an example") as caught:
        from_arrays({"x": PIXELS, "y": y}, "own")
    assert advice in str(caught.value)
    mended = eval(advice, {"y": y, "numpy": np})
    raw = from_arrays({"x": PIXELS, "y": mended[1] if isinstance(mended, tuple) else mended}, "own")
    assert raw.y.tolist() == expected.astype(int).tolist()


@pytest.mark.parametrize("y", [LABELS + 0.5, np.zeros((12, 2, 2), int), np.array(7), np.where(LABELS, np.nan, 1.0)])
def test_other_labels_are_refused_without_advice_that_would_not_fit(y: np.ndarray) -> None:
    with pytest.raises(ValueError, match="y: expected one integer an example") as caught:
        from_arrays({"x": PIXELS, "y": y}, "own")
    assert not re.search("argmax|astype|unique", str(caught.value))


MASK = np.zeros(PIXELS.shape, bool)
MASK[3, 0, 0, :2] = True


@pytest.mark.parametrize(("change", "words"), [
    ({"x": np.ma.masked_array(PIXELS, MASK)}, "own: x: expected an array without masked values, got 2 masked"),
    ({"x": np.ma.masked_array(PIXELS / 255, MASK)}, "own: x: .*got 2 masked; leave .*x.filled"),
    ({"y": np.ma.masked_array(LABELS, LABELS == 1)}, "own: y: expected an array without masked values"),
    ({"x_test": np.ma.masked_array(PIXELS, MASK), "y_test": LABELS}, "own: x_test: .*masked"),
])  # fmt: skip
def test_masked_values_are_refused(change: dict, words: str) -> None:
    """Planted: what lies behind the mask was read, with the checksum of data without one."""
    with pytest.raises(ValueError, match=words):
        from_arrays({"x": PIXELS, "y": LABELS} | change, "own")


@pytest.mark.parametrize("mask", [np.ma.nomask, np.zeros(PIXELS.shape, bool)])
def test_an_array_that_masks_nothing_is_an_array(mask: object) -> None:
    plain = from_arrays({"x": PIXELS, "y": LABELS}, "own")
    assert from_arrays({"x": np.ma.masked_array(PIXELS, mask), "y": LABELS}, "own").sha256 == plain.sha256


@pytest.mark.parametrize(
    ("x", "type_"),
    [
        (PIXELS.astype("uint16") * 257, "float32"),
        (PIXELS.astype("int64"), "uint8"),
        (PIXELS > 128, "float32"),
        ((PIXELS > 128).astype("int32"), "float32"),
        ((PIXELS.astype("int16") - 128).astype("int8"), "float32"),
    ],
    ids=["uint16", "int64 of bytes", "bool", "int32 of 0 and 1", "signed"],
)
def test_the_advice_on_a_type_loses_no_value(tmp_path: Path, x: np.ndarray, type_: str) -> None:
    """What the message says is run as it stands, on images that use the whole range of their type."""
    x.reshape(-1)[:2] = x.min(), x.max()
    with pytest.raises(ValueError, match="expected uint8, or floating point") as caught:
        load(saved(tmp_path / "own.npz", x=x, y=LABELS))
    advice = re.search(r"\(*\bx\b.*astype\('\w+'\)", str(caught.value).split("; ", 1)[1])
    assert advice is not None
    converted = eval(advice[0], {"x": x})
    assert converted.dtype == type_
    assert len(np.unique(converted)) == len(np.unique(x))
    data = load(saved(tmp_path / "mended.npz", x=converted, y=LABELS))
    assert float(data.train.x.max()) > 0.9
    assert not data.remarks


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.where(np.arange(12)[:, None, None, None] == 7, np.inf, 0.5) * np.ones((12, 3, 6, 5)), "first in image 7"),
        (PIXELS / 127.5 - 1, "x \\+ 1"),
        (PIXELS / 255 * (1 + 3e-6), "clip"),
        (PIXELS / 255 * (1 + 1e-12), r"values in \[0, 1\], got \[.*, 1\.0*1\]; rounding .*clip"),
        (PIXELS / 1.0, "value of white, 255"),
    ],
    ids=["infinite", "normalized", "rounded", "in the last bits", "bytes as floats"],
)
def test_the_advice_on_a_range_fits_it(tmp_path: Path, x: np.ndarray, words: str) -> None:
    load_refused(words, saved(tmp_path / "own.npz", x=x, y=LABELS))
