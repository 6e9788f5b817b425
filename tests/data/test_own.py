"""The user's own data: arrays, .npz, functions, class folders, parquet folders, the hub; and everything refused."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cgro.data import load
from cgro.data.own import from_arrays
from cgro.data.raw import Images
from cgro.data.sources import read

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 3, 6, 5), dtype=np.uint8)
LABELS = np.arange(12) % 3


def refused(words: str, name: str, **options: object) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)


def saved(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)
    return str(path)


# arrays and .npz


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
    assert load(other).source != data.source
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
    doubtful = RNG.integers(0, 256, (4, 3, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match='layout="NCHW"'):
        from_arrays({"x": doubtful, "y": LABELS[:4]}, "own")
    assert from_arrays({"x": doubtful, "y": LABELS[:4], "layout": "NHWC"}, "own").x.shape == (4, 3, 3, 8)
    with pytest.raises(ValueError, match="not both"):
        from_arrays({"x": np.zeros((4, 2, 8, 8)), "y": LABELS[:4]}, "own")


WRONG = {
    "no y": ({"y": None}, "got no y"),
    "half a test part": ({"x_test": PIXELS}, "got no y_test"),
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
    "nan": ({"x": np.where(PIXELS[0, 0, 0, 0] == PIXELS, np.nan, PIXELS / 255)}, r"got \[nan, nan\]"),
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
    refused(words, saved(tmp_path / "own.npz", **arrays))


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
    refused("own.npz: expected (an .npz of plain arrays|a file)", str(path))
    assert not fired.exists()


# functions


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
        refused(words, f"tests.data.test_own:{name}")


# class folders


def folder(
    root: Path, parts: tuple[str, ...] = ("train", "test"), kind: str = "png", names: tuple = ("ant", "bee", "cat")
) -> str:
    """PIXELS as files: image k in the folder of class k mod 3."""
    for part in parts:
        for k, image in enumerate(PIXELS):
            place = root / part / names[k % 3]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{k:02}.{kind}")
    return str(root)


def test_class_folders(tmp_path: Path) -> None:
    data = load(folder(tmp_path / "own"))
    (tmp_path / "own" / "train" / "ant" / ".hidden").write_text("")
    assert (data.name, data.note, data.classes, data.shape, len(data.train), len(data.test)) == (
        "own",
        "own",
        ("ant", "bee", "cat"),
        (3, 6, 5),
        12,
        12,
    )
    expected = torch.from_numpy(PIXELS[np.argsort(LABELS, kind="stable")])
    assert torch.equal(data.train.raw, expected[data.train.index])
    assert data.train.y.tolist() == np.sort(LABELS)[data.train.index].tolist()
    only = load(folder(tmp_path / "only", ("",), "bmp", ("10", "9", "1")))
    assert (only.classes, len(only.train), len(only.test)) == (("1", "9", "10"), 10, 2)
    assert load(str(tmp_path / "own"), classes="bee,ant").n_outputs == 1
    assert load(str(tmp_path / "only"), classes="odd,even").train.y.tolist().count(-1) >= 6
    moved = (tmp_path / "own").rename(tmp_path / "moved")
    assert load(str(moved)).source == data.source
    (moved / "train" / "ant" / "00.png").rename(moved / "train" / "ant" / "99.png")
    assert load(str(moved)).source != data.source
    validated = load(folder(tmp_path / "validated", ("train", "val")))
    assert validated.note == "validated (val part as test)"
    assert load(str(tmp_path / "validated"), n_train=8, n_test=1, seed=1).train.raw.shape == (8, 3, 6, 5)


def grey_png(path: Path, mode: str = "L", size: tuple = (5, 6)) -> None:
    Image.new(mode, size).save(path)


@pytest.mark.parametrize("fault", ["size", "test size", "damaged", "other file", "empty class", "no classes", "one class",
                                   "test classes", "other part", "nested", "missing", "sixteen bits"])  # fmt: skip
def test_wrong_folders_name_the_file(tmp_path: Path, fault: str) -> None:
    root = tmp_path / "own"
    folder(root)
    train, words = root / "train" / "bee", {}
    if fault == "size":
        grey_png(train / "50.png", "RGB", (5, 7))
        words = "bee/50.png: expected 6x5 as the first image, got 7x5"
    elif fault == "test size":
        for path in (root / "test").rglob("*.png"):
            grey_png(path, "RGB", (5, 7))
        words = r"test/.*png: expected 6x5"
    elif fault == "damaged":
        (train / "01.png").write_bytes((train / "01.png").read_bytes()[:60])
        words = r"bee/01.png: expected a PNG or JPEG .*damaged"
    elif fault == "other file":
        (train / "notes.txt").write_text("")
        words = r"notes.txt: expected a file \.png"
    elif fault == "empty class":
        (root / "train" / "dog").mkdir()
        words = "dog: expected at least one image, got an empty class folder"
    elif fault == "no classes":
        root, words = tmp_path / "nothing", "at least two class folders with images, got none"
        root.mkdir()
    elif fault == "one class":
        root, words = root / "one", "at least two class folders with images, got a"
        (root / "a").mkdir(parents=True)
    elif fault == "test classes":
        (root / "test" / "bee").rename(root / "test" / "bea")
        words = "test: expected the class folders of train/, got other ones: bea, bee"
    elif fault == "other part":
        (root / "extra").mkdir()
        words = "expected train/ and test/, or only class folders, got train, extra"
    elif fault == "nested":
        (train / "deeper").mkdir()
        words = "deeper: expected a file"
    elif fault == "sixteen bits":
        grey_png(train / "50.png", "I;16")
        words = "50.png: expected 8 bits a channel"
    else:
        root, words = tmp_path / "missing", "expected a folder of class folders, or an .npz, got none"
    refused(words, str(root))


def test_grey_and_colour(tmp_path: Path) -> None:
    def encoded(mode: str) -> bytes:
        grey_png(tmp_path / "image.png", mode)
        return (tmp_path / "image.png").read_bytes()

    grey, colour = encoded("L"), encoded("RGB")
    assert Images([colour, grey, encoded("RGBA"), encoded("P")], str).shape == (4, 3, 6, 5)
    assert Images([colour, grey, encoded("RGBA"), encoded("P")], str)[[1, 2, 3]].shape == (3, 3, 6, 5)
    assert Images([grey, encoded("1"), encoded("LA")], str)[[0, 1, 2]].shape == (3, 1, 6, 5)
    with pytest.raises(ValueError, match="1: expected a gray image"):
        Images([grey, colour], str)[[0, 1]]


def test_only_what_is_asked_for_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[0].transpose(1, 2, 0)).save(buffer, "PNG")
    images = Images([buffer.getvalue(), b"damaged"], "image {}".format)
    assert np.array_equal(images[[0, 0]][1], PIXELS[0])
    with pytest.raises(ValueError, match="image 1: expected a PNG"):
        images[[1]]


# parquet and the hub


def parquet(
    path: Path,
    *,
    column: str = "image",
    label: str = "label",
    names: tuple | None = ("ant", "bee", "cat"),
    rows: slice = slice(None),
) -> None:
    """PIXELS as a file in Hugging Face's layout."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded = []
    for image in PIXELS[rows]:
        buffer = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table({column: pa.array(encoded), label: pa.array(LABELS[rows])})
    if names:
        features = {label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_parquet_folders(tmp_path: Path) -> None:
    parquet(tmp_path / "own" / "data" / "train-00000-of-00002.parquet", rows=slice(7))
    parquet(tmp_path / "own" / "data" / "train-00001-of-00002-0a1b.parquet", rows=slice(7, 12))
    parquet(tmp_path / "own" / "data" / "validation-00000-of-00001.parquet")
    raw = read(str(tmp_path / "own"))
    assert np.array_equal(np.asarray(raw.x), PIXELS)
    assert (raw.classes, raw.y.tolist(), raw.note) == (
        ("ant", "bee", "cat"),
        LABELS.tolist(),
        "own (validation part as test)",
    )
    (tmp_path / "own" / "data" / "train-00000-of-00002.parquet").unlink()
    refused("train: expected 2 files, got 1", str(tmp_path / "own"))
    parquet(tmp_path / "plain" / "train.parquet", column="img", label="fine", names=None)
    raw = read(str(tmp_path / "plain"))
    assert (raw.classes, raw.test) == (None, None)
    parquet(tmp_path / "notrain" / "test.parquet")
    refused("train.parquet: expected a file, found none", str(tmp_path / "notrain"))


def in_cache(cache: Path, identifier: str, revision: str = "main", commit: str = "c" * 40) -> Path:
    """The folder of a snapshot in a cache of the hub as it lies on disk."""
    home = cache / f"datasets--{identifier.replace('/', '--')}"
    ref = home / "refs" / revision
    ref.parent.mkdir(parents=True)
    ref.write_text(commit)
    return home / "snapshots" / commit


def test_hub_ids_from_the_cache(no_network: Path) -> None:
    parquet(in_cache(no_network, "owner/own") / "data" / "train-00000-of-00001.parquet")
    data = load("owner/own")
    assert (data.name, data.note, data.classes, len(data.train)) == (
        "owner/own",
        "owner/own (Hugging Face) (no test part: a fifth of train)",
        ("ant", "bee", "cat"),
        10,
    )
    assert load("owner/own", download=False).source == data.source
    converted = in_cache(no_network, "owner/converted", "refs/convert/parquet")
    for config in ("fine", "coarse"):
        parquet(converted / config / "train" / "0000.parquet")
        parquet(converted / config / "test" / "0000.parquet")
    assert len(load("owner/converted:fine").test) == 12
    refused("one configuration, of coarse, fine, got several; write it behind the id", "owner/converted")
    refused("of coarse, fine, got medium", "owner/converted:medium")


def test_mnist_and_cifar10_from_the_cache_have_numbers_for_classes(
    no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CGRO_DATA", raising=False)
    folders = in_cache(no_network, "uoft-cs/cifar10") / "plain_text", in_cache(no_network, "ylecun/mnist") / "mnist"
    for name, note, place in (("cifar10", "CIFAR-10", folders[0]), ("mnist", "MNIST", folders[1])):
        parquet(place / "train-00000-of-00001.parquet", column="img")
        refused(f"{name}: expected a training and a test part", name)
        parquet(place / "test-00000-of-00001.parquet", column="img")
        data = load(name, classes="0,2")
        assert (data.note, data.classes, data.n_outputs) == (note, ("0", "2"), 1)


@pytest.mark.parametrize("download", [True, False])
def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch, download: bool) -> None:
    monkeypatch.delenv("CGRO_DATA", raising=False)
    got = "no network and nothing in the cache" if download else "nothing in the cache"
    refused(f"owner/own: expected a folder here, or a data set.*got {got}.*HF_HOME", "owner/own", download=download)
    refused(f"got {got}.*--data mnist5k", "mnist", download=download)
    refused(f"got {got}.*set CGRO_DATA", "cifar10", download=download)


def test_what_the_hub_answers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errors as its library raises them, without the network."""
    from unittest.mock import MagicMock

    import huggingface_hub
    from huggingface_hub import errors

    answer = MagicMock()
    for error, words in (
        (errors.RepositoryNotFoundError("404\nnot found", response=answer), "expected a folder here or an id that the Hugging Face hub has, got neither"),
        (errors.GatedRepoError("403", response=answer), "hf auth login"),
        (errors.RevisionNotFoundError("404", response=answer), "expected a data set with parquet files, got none there"),
        (errors.HfHubHTTPError("500\nserver", response=answer), "no network and nothing in the cache .HfHubHTTPError."),
        (OSError("a time-out"), "no network and nothing in the cache .OSError."),
    ):  # fmt: skip

        def answering(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", answering)
        refused(words, "owner/own")


@pytest.mark.parametrize(("fault", "words"), [("columns", "one image column.*got columns image, words"),
                                              ("not parquet", "expected a parquet file"), ("no images", "empty fields")])  # fmt: skip
def test_other_tables_are_refused(tmp_path: Path, fault: str, words: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "own" / "train.parquet"
    parquet(path)
    table = pq.read_table(path)
    if fault == "columns":
        pq.write_table(table.drop_columns(["label"]).append_column("words", pa.array(["a"] * 12)), path)
    elif fault == "not parquet":
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    else:
        empty = pa.array(
            [{"bytes": None, "path": "a.png"}] * 12, pa.struct({"bytes": pa.binary(), "path": pa.string()})
        )
        pq.write_table(pa.table({"image": empty, "label": table.column("label")}), path)
    refused(words, str(tmp_path / "own"))


def test_unknown_names_say_what_there_is() -> None:
    for name in ("minst", "", "mnist5k.csv", "a b/c"):
        refused("expected one of mnist5k, .*a folder of class folders, a file.npz", name)
