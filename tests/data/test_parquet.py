"""Folders of parquet files in Hugging Face's layout."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.samples import LABELS, PIXELS, load_refused, parquet_file, png, refused_in_little_memory

from cgro.data import load, parquet
from cgro.data.sources import read
from cgro.reading import room


def test_parquet_folders(tmp_path: Path) -> None:
    parquet_file(tmp_path / "own" / "data" / "train-00000-of-00002.parquet", rows=slice(7))
    parquet_file(tmp_path / "own" / "data" / "train-00001-of-00002-0a1b.parquet", rows=slice(7, 12))
    parquet_file(tmp_path / "own" / "data" / "validation-00000-of-00001.parquet")
    raw = read(str(tmp_path / "own"))
    assert np.array_equal(np.asarray(raw.x), PIXELS)
    assert (raw.classes, raw.y.tolist(), raw.note) == (
        ("ant", "bee", "cat"),
        LABELS.tolist(),
        "own (validation part as test)",
    )
    (tmp_path / "own" / "data" / "train-00000-of-00002.parquet").unlink()
    load_refused("train: expected 2 files, got 1", str(tmp_path / "own"))
    parquet_file(tmp_path / "plain" / "train.parquet", column="img", label="fine", names=None)
    raw = read(str(tmp_path / "plain"))
    assert (raw.classes, raw.test) == (None, None)
    parquet_file(tmp_path / "notrain" / "test.parquet")
    load_refused("train.parquet: expected a file, found none", str(tmp_path / "notrain"))


@pytest.mark.parametrize(("fault", "words"), [("columns", "one image column.*got columns image, words"),
                                              ("not parquet", "expected a parquet file"), ("no images", "empty fields")])  # fmt: skip
def test_other_tables_are_refused(tmp_path: Path, fault: str, words: str) -> None:
    path = tmp_path / "own" / "train.parquet"
    parquet_file(path)
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
    load_refused(words, str(tmp_path / "own"))


def written(root: Path, image: pa.Array, labels: list, **options: object) -> Path:
    root.mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": image, "label": labels}), root / "train.parquet", **options)
    return root


def structs(values: list, kind: pa.DataType) -> pa.Array:
    return pa.array([{"bytes": v, "path": None} for v in values], pa.struct([("bytes", kind), ("path", pa.string())]))


def test_parquet_that_expands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (room, parquet):
        monkeypatch.setattr(module, "ALWAYS_ROOM", 16 << 20)
    zeros = structs([bytes(10 << 20)], pa.binary())
    plain = written(tmp_path / "plain", pa.concat_arrays([zeros] * 2), [0, 1], compression="zstd", use_dictionary=False)
    refused_in_little_memory(lambda: load(str(plain)), "bytes of the file")
    same = structs([bytes(1 << 20)] * 40, pa.binary())  # one value of a dictionary, 40 times
    small = written(tmp_path / "dictionary", same, [0, 1] * 20, compression="zstd", dictionary_pagesize_limit=1 << 30)
    del zeros, same
    assert (small / "train.parquet").stat().st_size < 10_000
    refused_in_little_memory(lambda: load(str(small)), "bytes of the file")


@pytest.mark.parametrize(
    ("values", "kind", "labels", "words"),
    [(["text"] * 4, pa.string(), [0, 1, 0, 1], "image column"), ([5] * 4, pa.int64(), [0, 1, 0, 1], "image column"),
     ([], pa.binary(), pa.array([], pa.int64()), "at least one"), ([b"x", None], pa.binary(), [0, 1], "empty fields"),
     ([b"x"] * 2, pa.binary(), [0, None], "empty fields"), ([b""] * 2, pa.binary(), [0, 1], "damaged")],
)  # fmt: skip
def test_parquet_of_other_columns(tmp_path: Path, values: list, kind: pa.DataType, labels: list, words: str) -> None:
    refused_in_little_memory(lambda: load(str(written(tmp_path / "set", structs(values, kind), labels))), words)


def test_parquet_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").mkdir()
    refused_in_little_memory(lambda: load(str(tmp_path)), "a folder")
    os.mkfifo(tmp_path / "test.parquet")
    (tmp_path / "train.parquet").rmdir()
    (tmp_path / "train.parquet").write_bytes(b"PAR1" * 5)
    refused_in_little_memory(lambda: load(str(tmp_path)), "a parquet file")


def test_class_names_of_a_schema_that_are_none(tmp_path: Path) -> None:
    for k, text in enumerate((b"[" * 100_000, b"[]", b'{"info": {"features": {"label": {"names": 5}}}}')):
        schema = pa.schema(
            [("image", pa.struct([("bytes", pa.binary())])), ("label", pa.int64())], {b"huggingface": text}
        )
        rows = {"image": [{"bytes": png()}] * 4, "label": [0, 1, 0, 1]}
        (tmp_path / str(k)).mkdir()
        pq.write_table(pa.table(rows, schema=schema), tmp_path / str(k) / "train.parquet")
        assert load(str(tmp_path / str(k))).classes == ("0", "1")
