"""Data sets that have a name: real files, damaged ones, and what their entries say."""

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.data.samples import idx, refused_in_little_memory

from cgro._check import BadRequest
from cgro.data import SOURCES, Source, load, named
from cgro.data.raw import Raw


def test_digits_are_exact_sixteenths() -> None:
    x = load("digits").train.x
    assert x.shape[1:] == (1, 8, 8)
    assert torch.equal(x * 16, (x * 16).round())


def test_a_table_of_whole_numbers_is_read_as_python_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    numbers = np.random.default_rng(0).integers(0, 256, (7, 5))
    text = "\n".join(",".join(map(str, row)) for row in numbers.tolist()).encode()
    path.write_bytes(gzip.compress(text))
    table, content = named._table(path, (7, 5))
    assert np.array_equal(table, numbers)
    assert content == text


@pytest.mark.parametrize(
    "text", ["", " \n", "1,2\n3", "1,2\n3,4\n5,6", "1,2\n3,x", "1,2\n3,4.5", "#1,2\n3,4", "1;2\n3;4", "é"]
)
def test_a_damaged_table_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(BadRequest, match="expected 2 rows of 2 whole numbers, got .*install it again"):
        named._table(path, (2, 2))


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


def cifar10_files(folder: Path, kind: str) -> np.ndarray:
    """CIFAR-10 in miniature, in Hugging Face's layout."""
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
    pixels = cifar10_files(tmp_path, kind)
    raw = named.cifar10()
    assert (raw.note, raw.x.shape, raw.y.tolist()) == (note, (20, 3, 32, 32), [k % 10 for k in range(20)])
    assert np.array_equal(raw.x, pixels.transpose(0, 3, 1, 2)) == (kind == "PNG")


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize("kind", ["none", "a file", "an option"])
def test_a_variable_that_names_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    """Planted: with a typing error in it the hub was asked instead, without a word."""
    (tmp_path / "a file").write_text("")
    folder = "--trust" if kind == "an option" else str(tmp_path / kind)
    monkeypatch.setenv("CGRO_DATA", folder)
    with pytest.raises(BadRequest, match="CGRO_DATA: expected a folder, got .*mend the variable, or unset it"):
        load(name)
    assert len(load("digits").train)  # which needs none


def test_cifar10_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGRO_DATA", raising=False)
    with pytest.raises(ValueError, match="CGRO_DATA"):
        load("cifar10")
    monkeypatch.setenv("CGRO_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(ValueError, match=r"found none; set CGRO_DATA"):
        load("cifar10")
    (tmp_path / "cifar10").rmdir()
    cifar10_files(tmp_path, "PNG")
    path = tmp_path / "cifar10" / "test.parquet"
    aside = path.rename(tmp_path / "aside")
    with pytest.raises(ValueError, match=r"found none for test .*set CGRO_DATA"):
        load("cifar10")
    aside.rename(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="fetch it again") as caught:
        load("cifar10")
    assert "\n" not in str(caught.value)


def tiny_mnist(root: Path, **changed: bytes) -> Path:
    (root / "mnist").mkdir(parents=True)
    for part in ("train", "t10k"):
        files = {"images-idx3": struct.pack(">HBB3I", 0, 8, 3, 20, 2, 2) + bytes(80),
                 "labels-idx1": struct.pack(">HBBI", 0, 8, 1, 20) + bytes([0, 1] * 10)}  # fmt: skip
        for kind, content in files.items():
            content = changed.get(f"{part}_{kind[:6]}", gzip.compress(content))
            (root / "mnist" / f"{part}-{kind}-ubyte.gz").write_bytes(content)
    return root


def bomb(n_bytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(struct.pack(">HBB3I", 0, 8, 3, n_bytes // 1024, 32, 32))
    return head + b"".join(packer.compress(bytes(1 << 20)) for _ in range(n_bytes >> 20)) + packer.flush()


@pytest.mark.parametrize("content", [bomb(600 << 20), bomb(10 << 20)[:-9], gzip.compress(b"") * 20_000])
def test_gzip_bombs_and_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setenv("CGRO_DATA", str(tiny_mnist(tmp_path, train_images=content)))
    refused_in_little_memory(lambda: load("mnist"), "train-images")


def test_idx_files_of_other_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = gzip.compress(struct.pack(">HBBI", 0, 8, 1, 20) + bytes(20))
    monkeypatch.setenv("CGRO_DATA", str(tiny_mnist(tmp_path, train_images=flat)))
    refused_in_little_memory(lambda: load("mnist"), "3 axes")
    monkeypatch.setenv("CGRO_DATA", str(tiny_mnist(tmp_path / "good")))
    assert len(load("mnist").train) == 20


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_an_entry_says_what_its_reader_gives(name: str) -> None:
    """Of the two sets that need no download; those of MNIST and CIFAR-10 are in their publications."""
    source, raw = SOURCES[name], SOURCES[name].read()
    assert (raw.x.shape, raw.test) == ((source.n_train, *source.shape), None)
    assert sorted(set(raw.y.tolist())) == list(range(source.n_classes))
    assert source.n_test is None


def test_the_statistics_are_those_of_the_images() -> None:
    """5,000 of MNIST's images have nearly its mean and deviation."""
    statistics, x = SOURCES["mnist"].statistics, load("mnist5k").train.x
    assert statistics is not None
    assert float(x.mean()) == pytest.approx(statistics.mean[0], rel=0.02)
    assert float(x.std()) == pytest.approx(statistics.std[0], rel=0.02)
    for source in SOURCES.values():
        if source.statistics is not None:
            assert len(source.statistics.mean) == len(source.statistics.std) == source.shape[0]


def test_an_entry_is_all_that_a_named_set_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.arange(40, dtype=np.uint8).reshape(10, 1, 2, 2), np.arange(10) % 2
    asked = []

    def tiny(*, download: bool = True) -> Raw:
        asked.append(download)
        return Raw(x, y, None, "nowhere", "0" * 64, "ten images")

    monkeypatch.setitem(SOURCES, "tiny", Source(tiny, title="Tiny", shape=(1, 2, 2), n_classes=2, n_train=10))
    data = load("tiny", download=False)
    assert (data.note, data.shape, len(data.train), len(data.test), asked) == ("ten images", (1, 2, 2), 8, 2, [False])
    with pytest.raises(ValueError, match=r"cifar10, tiny, or"):
        load("tinny")
