"""Data sets: real files, tasks, cuts by seed, and damaged input."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from cgro.data import load, sources


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
    raw = sources.mnist5k()
    for classes, minus in (("3,8", [3]), ("8,3", [8]), ("even,odd", [0, 2, 4, 6, 8]), ("odd,even", [1, 3, 5, 7, 9])):
        data = load("mnist5k", classes=classes)
        assert data.n_outputs == 1
        assert sorted(set(raw.y[data.train.index[data.train.y == -1]].tolist())) == minus
    three = load("mnist5k", classes="7,1,4")
    assert three.n_outputs == 3
    assert set(raw.y[three.test.index[three.test.y == 0]].tolist()) == {7}


def test_digits_are_exact_sixteenths() -> None:
    x = load("digits").train.x
    assert x.shape[1:] == (1, 8, 8)
    assert torch.equal(x * 16, (x * 16).round())


@pytest.mark.parametrize("arguments", [{"classes": "3"}, {"classes": "3,3"}, {"classes": "3,x"}, {"classes": "3,12"},
                                       {"n_train": 0}, {"n_train": 10**6}, {"validation": 1.5}, {"n_train": 3}])  # fmt: skip
def test_bad_requests(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        load("mnist5k", **arguments)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match="mnist5k"):
        load("minst")


def idx(values: np.ndarray) -> bytes:
    return (
        b"\0\0\x08"
        + bytes([values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.astype(np.uint8).tobytes()
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "mnist").mkdir()
    for part, n in (("train", 40), ("t10k", 20)):
        for kind, values in (("images-idx3", rng.integers(0, 256, (n, 28, 28))), ("labels-idx1", np.arange(n) % 10)):
            (tmp_path / "mnist" / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    monkeypatch.setenv("CGRO_DATA", str(tmp_path))
    return tmp_path / "mnist"


def test_idx_files_round_trip(folder: Path) -> None:
    data = load("mnist", n_train=40)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (40, 28, 28))
    assert np.array_equal(data.train.pixels[:, 0].numpy(), truth[data.train.index.numpy()])
    assert len(data.test) == 20


@pytest.mark.parametrize("fault", ["truncated", "not gzip", "wrong magic", "short", "missing", "labels"])
def test_damaged_files_are_one_clear_line(folder: Path, fault: str) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    if fault == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif fault == "not gzip":
        path.write_bytes(b"<html>not found</html>")
    elif fault == "wrong magic":
        path.write_bytes(gzip.compress(b"\x89PNG" + b"0" * 100))
    elif fault == "short":
        path.write_bytes(gzip.compress(gzip.decompress(content)[:-7]))
    elif fault == "labels":
        (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(3))))
    else:
        path.unlink()
    with pytest.raises(ValueError, match="expected|damaged|found none") as caught:
        load("mnist")
    assert "\n" not in str(caught.value)


def test_without_a_folder_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGRO_DATA", raising=False)
    with pytest.raises(ValueError, match="--data mnist5k"):
        load("mnist")


def parquet(folder: Path, kind: str) -> np.ndarray:
    """CIFAR-10 in miniature, in Hugging Face's layout."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    (folder / "cifar10").mkdir()
    for part in ("train", "test"):
        rows = []
        for image in pixels:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, kind)
            rows.append({"bytes": buffer.getvalue(), "path": None})
        table = pa.table({"img": pa.array(rows), "label": pa.array([k % 10 for k in range(20)])})
        pq.write_table(table, folder / "cifar10" / f"{part}.parquet")
    return pixels


@pytest.mark.parametrize(("kind", "note"), [("PNG", "CIFAR-10"), ("JPEG", "CIFAR-10 (JPEG mirror)")])
def test_cifar10_from_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, note: str) -> None:
    monkeypatch.setenv("CGRO_DATA", str(tmp_path))
    pixels = parquet(tmp_path, kind)
    raw = sources.cifar10()
    assert (raw.note, raw.x.shape, raw.y.tolist()) == (note, (20, 3, 32, 32), [k % 10 for k in range(20)])
    assert np.array_equal(raw.x, pixels.transpose(0, 3, 1, 2)) == (kind == "PNG")


def test_cifar10_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGRO_DATA", raising=False)
    with pytest.raises(ValueError, match="CGRO_DATA"):
        load("cifar10")
    monkeypatch.setenv("CGRO_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(ValueError, match=r"found none; set CGRO_DATA"):
        load("cifar10")
    (tmp_path / "cifar10").rmdir()
    parquet(tmp_path, "PNG")
    path = tmp_path / "cifar10" / "test.parquet"
    aside = path.rename(tmp_path / "aside")
    with pytest.raises(ValueError, match=r"found none for test .*set CGRO_DATA"):
        load("cifar10")
    aside.rename(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="fetch it again") as caught:
        load("cifar10")
    assert "\n" not in str(caught.value)
